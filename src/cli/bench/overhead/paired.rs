//! What pairs of figures say, and how sure that is.

use serde::Serialize;

use crate::cli::bench::stats::median;

/// The normal distribution is farther from its middle than so many standard deviations once in twenty times.
const DEVIATIONS: f64 = 1.96;

/// With something, and without it.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    /// Without: the median.
    without: f64,
    /// With it, as a share of that without: pair by pair.
    ratios: Vec<f64>,
    /// What they come to, as a share that came or went.
    pub(super) change: f64,
    /// Where the true change is, with 95 % confidence; nothing where there are too few pairs to say so.
    interval: Option<[f64; 2]>,
}

/// Whether a goal is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// With 95 % confidence.
    Met,
    /// Nor that.
    Open,
    /// With 95 % confidence.
    Missed,
}

impl Verdict {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Open => "open",
            Self::Missed => "missed",
        }
    }
}

impl Compared {
    /// Of pairs: without, and with.
    pub(super) fn new(pairs: &[(f64, f64)]) -> Self {
        let ratios: Vec<_> = pairs.iter().map(|(without, with)| with / without).collect();
        let without: Vec<_> = pairs.iter().map(|(without, _)| *without).collect();
        let logs: Vec<_> = ratios.iter().map(|ratio| ratio.ln()).collect();
        let means = means(&logs);
        let change = median(&means).unwrap_or(0.0).exp_m1();
        let interval = outside(ratios.len()).map(|left| {
            let ends = [means[left], means[means.len() - 1 - left]];
            ends.map(f64::exp_m1)
        });
        Self { without: median(&without).unwrap_or(0.0), ratios, change, interval }
    }

    /// Whether no more than `most` is lost.
    pub(super) fn verdict(&self, most: f64) -> Verdict {
        match self.interval {
            Some([low, _]) if low > -most => Verdict::Met,
            Some([_, high]) if high < -most => Verdict::Missed,
            _ => Verdict::Open,
        }
    }

    /// What was without, how much more or less it is with, and the interval of that.
    pub(super) fn told(&self, unit: &str) -> [String; 3] {
        let percent = |share: f64| format!("{:+.1} %", share * 100.0);
        let range = |[low, high]: [f64; 2]| format!("{} to {}", percent(low), percent(high));
        let range = self.interval.map_or_else(|| "too few pairs".to_owned(), range);
        [format!("{:.0}{unit}", self.without), percent(self.change), range]
    }
}

/// The means of each two values and of each with itself, in order. Their median is Hodges' and Lehmann's estimate: few
/// wild values move it no more than they move a median, and without those it is as sure as a mean.
fn means(values: &[f64]) -> Vec<f64> {
    let from = |first: usize| values[first..].iter().map(move |other| f64::midpoint(values[first], *other));
    let mut means: Vec<_> = (0..values.len()).flat_map(from).collect();
    means.sort_by(f64::total_cmp);
    means
}

/// So many of the means of so many values are left out at each end, and the truth is between the others with 95 %
/// confidence: Wilcoxon's signed ranks, in their normal approximation, rounded to the safe side. It takes for granted
/// that one pair does not depend on another and that chance moves them as far up as down.
fn outside(count: usize) -> Option<usize> {
    let count = count as f64;
    let (middle, variance) =
        (count * (count + 1.0) / 4.0, count * (count + 1.0) * (2.0 * count + 1.0) / 24.0);
    let rank = DEVIATIONS.mul_add(-variance.sqrt(), middle).floor();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and below the count of means"
    )]
    (rank >= 1.0).then(|| rank as usize - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(shares: &[f64]) -> Compared {
        Compared::new(&shares.iter().map(|share| (200.0, 200.0 * (1.0 + share))).collect::<Vec<_>>())
    }

    #[test]
    fn each_two_have_a_mean() {
        assert_eq!(means(&[4.0, 0.0, 2.0]), [0.0, 1.0, 2.0, 2.0, 3.0, 4.0]);
        assert!(means(&[]).is_empty());
    }

    #[test]
    fn ends_are_those_of_the_tables_of_signed_ranks_or_one_farther_out() {
        // The tables say: 5 values have none; 6 the first; 10 the ninth; 20 the 53rd; 30 the 138th; 100 the 1955th.
        let ranks = [0, 5, 6, 10, 20, 30, 100].map(|count| outside(count).map(|outside| outside + 1));
        assert_eq!(ranks, [None, None, Some(1), Some(8), Some(52), Some(137), Some(1_954)]);
    }

    #[test]
    fn a_wild_pair_moves_little() {
        let mut shares = [0.01; 30];
        (shares[3], shares[20]) = (-0.9, 40.0);
        let compared = compared(&shares);
        assert!((compared.change - 0.01).abs() < 1e-9, "{compared:?}");
        assert!(compared.interval.is_some_and(|ends| ends.iter().all(|end| (end - 0.01).abs() < 1e-9)));
    }

    #[test]
    fn a_goal_is_met_where_the_bad_end_meets_it() {
        // Losses of 0 to 2 percent beside this, evenly spread: what is lost is one more, plus or minus a third.
        let lost = |least: f64| -> Vec<_> { (0..=20).map(|n| -least - f64::from(n) / 1_000.0).collect() };
        let verdict = |least| compared(&lost(least)).verdict(0.03);
        assert_eq!(verdict(0.016), Verdict::Met);
        assert_eq!(verdict(0.018), Verdict::Open);
        assert_eq!(verdict(0.022), Verdict::Open);
        assert_eq!(verdict(0.024), Verdict::Missed);
        assert_eq!(compared(&[0.0; 5]).verdict(0.03), Verdict::Open);
    }

    #[test]
    fn a_change_is_told_with_its_ends() {
        let told = compared(&[-0.06, -0.05, -0.04, -0.03, -0.02, -0.01]).told("/s");
        assert_eq!(told, ["200/s", "-3.5 %", "-6.0 % to -1.0 %"]);
        assert_eq!(compared(&[-0.02, -0.01, 0.02]).told(" us"), ["200 us", "-0.5 %", "too few pairs"]);
    }
}
