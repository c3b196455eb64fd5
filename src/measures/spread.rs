//! How lengths of time are spread, in constant memory: mean and maximum exact, percentiles within 1 %.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::wire::stats::Spread as Figures;

/// Two significant digits are buckets of at most 1/128 of their value.
const DIGITS: u8 = 2;
/// Two days: longer than any wait or lease.
const MICROS_MAX: u64 = 2 * 24 * 3_600 * 1_000_000;
/// So many lengths are kept as they came: a name that comes a few times costs no histogram. What is counted often is
/// noted down, and seldom goes into its histogram, all at once and in order of length. The histograms of a few dozen
/// busy names are as large as a processor's cache, and would displace from it what serving requests needs.
const FEW: usize = 128;

/// A collection of lengths of time.
#[derive(Debug, Default)]
pub(super) struct Spread {
    /// The latest, in nanoseconds.
    few: Vec<u64>,
    /// All others.
    many: Option<Box<Many>>,
}

#[derive(Debug, Clone)]
struct Many {
    sums: Plain,
    /// In microseconds.
    histogram: Histogram<u32>,
}

/// What is exact of any number of lengths.
#[derive(Debug, Clone, Copy, Default)]
struct Plain {
    count: u64,
    sum: Duration,
    max: Duration,
}

impl Spread {
    pub(super) fn add(&mut self, span: Duration) {
        if self.few.len() == FEW {
            self.few.sort_unstable();
            self.many.get_or_insert_with(|| Box::new(Many::new())).add(&self.few);
            self.few.clear();
        }
        self.few.push(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn count(&self) -> u64 {
        self.sums().count
    }

    pub(super) fn sum(&self) -> Duration {
        self.sums().sum
    }

    fn sums(&self) -> Plain {
        let mut sums = self.many.as_ref().map(|many| many.sums).unwrap_or_default();
        sums.add(&self.few);
        sums
    }

    /// The lengths that these shares of all are not longer than; none where there is none.
    pub(super) fn quantiles<const N: usize>(&self, shares: [f64; N]) -> Option<[Duration; N]> {
        let Some(many) = &self.many else {
            let mut sorted = self.few.clone();
            sorted.sort_unstable();
            let last = sorted.len().checked_sub(1)?;
            return Some(
                shares.map(|share| Duration::from_nanos(sorted[rank(share, sorted.len()).min(last)])),
            );
        };
        let mut all = many.clone();
        all.add(&self.few);
        // The end of the last bucket may lie behind the longest.
        let value = |share| Duration::from_micros(all.histogram.value_at_quantile(share)).min(all.sums.max);
        Some(shares.map(value))
    }

    /// How many are not longer than this, within 1 % of the length.
    pub(super) fn at_most(&self, span: Duration) -> u64 {
        let few = self.few.iter().filter(|nanos| Duration::from_nanos(**nanos) <= span).count() as u64;
        let micros = micros(span.as_micros());
        few + self.many.as_ref().map_or(0, |many| many.histogram.count_between(0, micros))
    }

    pub(super) fn figures(&self) -> Option<Figures> {
        let Plain { count, sum, max } = self.sums();
        let mean = sum.as_nanos().checked_div(count.into())?;
        let mean = Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX));
        let [p50, p99] = self.quantiles([0.5, 0.99])?;
        Some(Figures { mean, p50, p99, max })
    }
}

impl Many {
    fn new() -> Self {
        let histogram = match Histogram::new(DIGITS) {
            Ok(histogram) => histogram,
            Err(error) => unreachable!("two digits are allowed: {error}"),
        };
        Self { sums: Plain::default(), histogram }
    }

    fn add(&mut self, nanos: &[u64]) {
        self.sums.add(nanos);
        for nanos in nanos {
            // It grows up to the largest length there is, and fails only where that does not fit into memory.
            let _ = self.histogram.record(micros((nanos / 1_000).into()));
        }
    }
}

impl Plain {
    fn add(&mut self, nanos: &[u64]) {
        self.count += nanos.len() as u64;
        for span in nanos.iter().copied().map(Duration::from_nanos) {
            self.sum = self.sum.saturating_add(span);
            self.max = self.max.max(span);
        }
    }
}

fn micros(micros: u128) -> u64 {
    u64::try_from(micros).map_or(MICROS_MAX, |micros| micros.min(MICROS_MAX))
}

/// The index of the nearest rank.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a few samples")]
fn rank(share: f64, len: usize) -> usize {
    ((share * len as f64).ceil() as usize).saturating_sub(1)
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
        let histogram = &all.many.as_ref().unwrap().histogram;
        assert!(histogram.distinct_values() * 4 < 20_000, "{} values", histogram.distinct_values());
        assert_eq!(all.at_most(Duration::MAX), 100_001);
        assert!(all.few.len() <= FEW);
        assert_eq!(spread([1, 5, 9]).at_most(Duration::from_micros(5)), 2);
    }
}
