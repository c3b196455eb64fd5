//! What was seen, and what it comes to.

use std::time::Duration;

/// What counts: not the first fifth, in which things warm up.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    from: Duration,
    pub to: Duration,
}

impl Window {
    pub fn of(span: Duration) -> Self {
        let from = span / 5;
        Self { from, to: from + span }
    }

    pub fn has(self, at: Duration) -> bool {
        self.from < at && at <= self.to
    }
}

/// One run of one workload.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    pub acquires: Vec<Duration>,
    pub releases: Vec<Duration>,
    /// From the call of release to the return of the next owner's acquire.
    pub gaps: Vec<Duration>,
    /// What each owner got.
    pub shares: Vec<u64>,
}

/// What a sample comes to; times in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    pub per_second: f64,
    pub acquire_p50: f64,
    pub gap_p50: f64,
    pub longest_over_mean: f64,
    pub jain: f64,
}

impl Sample {
    pub fn of_one_owner() -> Self {
        Self { shares: vec![0], ..Self::default() }
    }

    pub fn count(&mut self, acquire: Duration) {
        self.acquires.push(acquire);
        self.shares[0] += 1;
    }

    pub fn add(&mut self, other: Self) {
        self.acquires.extend(other.acquires);
        self.releases.extend(other.releases);
        self.gaps.extend(other.gaps);
        self.shares.extend(other.shares);
    }

    pub fn figures(&self, span: Duration) -> Figures {
        let waits: Vec<f64> = self.acquires.iter().map(micros).collect();
        let gaps: Vec<f64> = self.gaps.iter().map(micros).collect();
        let mean = waits.iter().sum::<f64>() / waits.len() as f64;
        Figures {
            per_second: self.acquires.len() as f64 / span.as_secs_f64(),
            acquire_p50: median(&waits),
            gap_p50: median(&gaps),
            longest_over_mean: waits.iter().copied().fold(f64::NAN, f64::max) / mean,
            jain: jain(&self.shares),
        }
    }
}

impl Figures {
    /// The median of each figure.
    pub fn medians(all: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(&all.iter().map(figure).collect::<Vec<_>>());
        Self {
            per_second: of(|figures| figures.per_second),
            acquire_p50: of(|figures| figures.acquire_p50),
            gap_p50: of(|figures| figures.gap_p50),
            longest_over_mean: of(|figures| figures.longest_over_mean),
            jain: of(|figures| figures.jain),
        }
    }
}

fn micros(span: &Duration) -> f64 {
    span.as_secs_f64() * 1e6
}

/// The value in the middle, the lower of two; no number of nothing.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

fn jain(shares: &[u64]) -> f64 {
    let sum: f64 = shares.iter().map(|share| *share as f64).sum();
    let squares: f64 = shares.iter().map(|share| (*share as f64).powi(2)).sum();
    sum * sum / (shares.len() as f64 * squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_comes_to_its_figures() {
        let ms = Duration::from_millis;
        let one = Sample { acquires: vec![ms(1), ms(3)], shares: vec![2], ..Sample::default() };
        let mut whole =
            Sample { acquires: vec![ms(2)], shares: vec![1], gaps: vec![ms(1)], ..Sample::default() };
        whole.add(one);
        let figures = whole.figures(ms(500));
        assert_eq!((figures.per_second, figures.acquire_p50, figures.gap_p50), (6.0, 2e3, 1e3));
        assert_eq!((figures.longest_over_mean, figures.jain), (1.5, 0.9));
    }
}
