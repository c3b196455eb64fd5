//! Plain statistics.

use std::time::Duration;

use hdrhistogram::Histogram;

/// How exact a distribution is: three digits.
const DIGITS: u8 = 3;

/// How long things took.
#[derive(Debug, Clone)]
pub(super) struct Distribution(Histogram<u64>);

impl Distribution {
    /// Of nothing so far.
    pub(super) fn new() -> Self {
        // Only the count of digits could be wrong.
        let histogram = Histogram::new(DIGITS).unwrap_or_else(|_| unreachable!("{DIGITS} digits"));
        Self(histogram)
    }

    pub(super) fn of(spans: impl IntoIterator<Item = Duration>) -> Self {
        let mut distribution = Self::new();
        for span in spans {
            distribution.0 += u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        }
        distribution
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In microseconds, as everything here.
    pub(super) fn quantile(&self, quantile: f64) -> f64 {
        micros(self.0.value_at_quantile(quantile))
    }

    pub(super) fn max(&self) -> f64 {
        micros(self.0.max())
    }

    pub(super) fn mean(&self) -> f64 {
        self.0.mean() / 1e3
    }

    /// How the times rise towards the rarest: one in so many is longer than so many microseconds.
    pub(super) fn curve(&self) -> Vec<(f64, f64)> {
        let rarities = (0..).map(|step| 10_f64.powf(f64::from(step) / 20.0));
        let seen = rarities.take_while(|rarity| *rarity <= self.0.len() as f64);
        seen.map(|rarity| (rarity, self.quantile(1.0 - 1.0 / rarity))).collect()
    }
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

/// The value in the middle, or the mean of the two there; nothing of nothing.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    match sorted.len() % 2 {
        1 => Some(upper),
        _ => Some(f64::midpoint(sorted[middle - 1], upper)),
    }
}

/// Jain's index of fairness: 1 where all got as much, 1/n where one got everything.
pub(super) fn jain(counts: &[u64]) -> Option<f64> {
    let sum: f64 = counts.iter().map(|count| *count as f64).sum();
    let squares: f64 = counts.iter().map(|count| (*count as f64).powi(2)).sum();
    (squares > 0.0).then(|| sum * sum / (counts.len() as f64 * squares))
}

/// How far the last value is from the first, as a share of the first.
pub(super) fn drift(values: &[f64]) -> Option<f64> {
    let (first, last) = (values.first()?, values.last()?);
    (*first > 0.0).then(|| last / first - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!((median(&[7.0]), median(&[])), (Some(7.0), None));
    }

    #[test]
    fn fairness_is_between_one_and_a_share() {
        assert_eq!(jain(&[5, 5, 5, 5]), Some(1.0));
        assert_eq!(jain(&[8, 0, 0, 0]), Some(0.25));
        assert_eq!(jain(&[1, 2, 3]), Some(36.0 / 42.0));
        assert_eq!((jain(&[]), jain(&[0, 0])), (None, None));
    }

    #[test]
    fn drift_goes_both_ways() {
        assert_eq!(drift(&[100.0, 300.0, 110.0]).map(|drift| (drift * 1e3).round()), Some(100.0));
        assert_eq!(drift(&[100.0, 75.0]), Some(-0.25));
        assert_eq!(drift(&[]), None);
    }

    #[test]
    fn a_distribution_has_three_digits() {
        let mut distribution = Distribution::of((1..=1_000).map(Duration::from_micros));
        let near = |value: f64, wanted: f64| (value / wanted - 1.0).abs() < 0.001;
        assert!(near(distribution.quantile(0.5), 500.0) && near(distribution.quantile(0.99), 990.0));
        assert!(near(distribution.max(), 1_000.0) && near(distribution.mean(), 500.5));
        distribution.add(&Distribution::of([Duration::from_secs(2)]));
        assert!(near(distribution.max(), 2e6), "{}", distribution.max());
        assert!(Distribution::new().is_empty() && !distribution.is_empty());
    }

    #[test]
    fn a_curve_ends_where_nothing_rarer_was_seen() {
        let curve = Distribution::of((1..=100).map(Duration::from_micros)).curve();
        let (first, last) = (curve[0], curve[curve.len() - 1]);
        assert!(first.0 == 1.0 && (99.0..=100.1).contains(&last.0), "{curve:?}");
        assert!((98.9..=100.1).contains(&last.1) && curve.is_sorted_by(|a, b| a.1 <= b.1), "{curve:?}");
        assert!(Distribution::new().curve().is_empty());
    }
}
