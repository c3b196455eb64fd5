//! How lengths of time are spread, in constant memory: mean and maximum exact, percentiles within 1 %.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::wire::stats::Spread as Figures;

/// Two significant digits are buckets of at most 1/128 of their value.
const DIGITS: u8 = 2;
/// Two days: longer than any wait or lease.
const MICROS_MAX: u64 = 2 * 24 * 3_600 * 1_000_000;
/// So many lengths are kept as they came: a name that comes a few times costs no histogram, and one that comes often
/// touches its histogram once for all of them, which is what costs most.
const FEW: usize = 24;

/// A collection of lengths of time.
#[derive(Debug, Default)]
pub(super) struct Spread {
    count: u64,
    sum: Duration,
    max: Duration,
    /// The latest, in microseconds, in order of arrival.
    few: Vec<u64>,
    /// All others.
    many: Option<Box<Histogram<u32>>>,
}

impl Spread {
    pub(super) fn add(&mut self, span: Duration) {
        self.count += 1;
        self.sum = self.sum.saturating_add(span);
        self.max = self.max.max(span);
        if self.few.len() == FEW {
            let many = self.many.get_or_insert_with(|| Box::new(histogram()));
            self.few.drain(..).for_each(|micros| put(many, micros));
        }
        self.few.push(micros(span));
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    pub(super) const fn sum(&self) -> Duration {
        self.sum
    }

    /// The lengths that these shares of all are not longer than; none where there is none.
    pub(super) fn quantiles<const N: usize>(&self, shares: [f64; N]) -> Option<[Duration; N]> {
        let found = match &self.many {
            None => {
                let mut sorted = self.few.clone();
                sorted.sort_unstable();
                let last = sorted.len().checked_sub(1)?;
                shares.map(|share| sorted[rank(share, sorted.len()).min(last)])
            }
            Some(many) => {
                let mut all = many.clone();
                self.few.iter().for_each(|micros| put(&mut all, *micros));
                shares.map(|share| all.value_at_quantile(share))
            }
        };
        // The end of the last bucket may lie behind the longest.
        Some(found.map(|micros| Duration::from_micros(micros).min(self.max)))
    }

    /// How many are not longer than this, within 1 % of the length.
    pub(super) fn at_most(&self, span: Duration) -> u64 {
        let micros = micros(span);
        let few = self.few.iter().filter(|given| **given <= micros).count() as u64;
        few + self.many.as_ref().map_or(0, |many| many.count_between(0, micros))
    }

    pub(super) fn figures(&self) -> Option<Figures> {
        let mean = self.sum.as_nanos().checked_div(self.count.into())?;
        let mean = Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX));
        let [p50, p99] = self.quantiles([0.5, 0.99])?;
        Some(Figures { mean, p50, p99, max: self.max })
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(MICROS_MAX).min(MICROS_MAX)
}

/// The index of the nearest rank.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a few samples")]
fn rank(share: f64, len: usize) -> usize {
    ((share * len as f64).ceil() as usize).saturating_sub(1)
}

fn histogram() -> Histogram<u32> {
    match Histogram::new(DIGITS) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("two digits are allowed: {error}"),
    }
}

fn put(histogram: &mut Histogram<u32>, micros: u64) {
    // It grows up to the largest length there is, and fails only where that does not fit into memory.
    let _ = histogram.record(micros);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(micros: impl IntoIterator<Item = u64>) -> Spread {
        let mut spread = Spread::default();
        micros.into_iter().for_each(|micros| spread.add(Duration::from_micros(micros)));
        spread
    }

    fn close(given: Duration, wanted: u64) -> bool {
        given.as_micros().abs_diff(wanted.into()) * 100 <= wanted.into()
    }

    #[test]
    fn few_are_exact() {
        assert!(Spread::default().figures().is_none());
        let figures = spread([40, 10, 30, 20]).figures().unwrap();
        let micros = |span: Duration| span.as_micros();
        assert_eq!([figures.mean, figures.p50, figures.p99, figures.max].map(micros), [25, 20, 40, 40]);
    }

    #[test]
    fn many_are_within_one_percent_whatever_their_size() {
        for scale in [1, 7, 1_000, 123_456, 8_640_000] {
            let figures = spread((1..=10_000).rev().map(|n| n * scale)).figures().unwrap();
            assert!(close(figures.p50, 5_000 * scale) && close(figures.p99, 9_900 * scale), "{figures:?}");
            assert_eq!(figures.max, Duration::from_micros(10_000 * scale));
            assert_eq!(figures.mean, Duration::from_nanos(5_000_500 * scale));
        }
    }

    #[test]
    fn lengths_without_end_take_no_memory() {
        let mut all = spread([u64::MAX / 2]);
        (0..100_000).for_each(|n| all.add(Duration::from_millis(n * n)));
        let histogram = all.many.as_ref().unwrap();
        assert!(histogram.distinct_values() * 4 < 20_000, "{} values", histogram.distinct_values());
        assert_eq!(all.at_most(Duration::MAX), 100_001);
        assert!(all.few.len() <= FEW);
        assert_eq!(spread([1, 5, 9]).at_most(Duration::from_micros(5)), 2);
    }
}
