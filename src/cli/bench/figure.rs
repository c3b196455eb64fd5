//! The numbers that come out of a step: one map of figures a repetition, and their medians.

use std::collections::BTreeMap;

use super::stats::{Distribution, jain, median};
use super::step::{Step, Workload};
use super::trace::{Trace, Window};

/// What a time is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Request,
    Write,
    Acquire,
    Release,
    /// From the call of release to the return of the next owner's acquire.
    Gap,
    /// An acquire that meets others.
    Wait,
}

/// What an operation uses: a pair, a hand-over, a request, a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cost {
    /// Messages that the clients send and receive.
    ClientMessages,
    /// Messages that the NATS servers receive from clients, coordinators and each other.
    ServerReceived,
    /// Messages that the NATS servers send them.
    ServerSent,
    /// Records that JetStream stores.
    Writes,
    /// Microseconds of a processor in the clients.
    ClientCpu,
    /// The same in the coordinator.
    CoordinatorCpu,
    /// The same in the NATS servers.
    ServerCpu,
}

/// One number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Figure {
    PerSecond,
    /// Microseconds, as the next three.
    P50(Part),
    P99(Part),
    Max(Part),
    Mean(Part),
    /// The longest wait, divided by the mean.
    LongestOverMean,
    /// Jain's index over what each owner got.
    Jain,
    Per(Cost),
}

pub(super) type Figures = BTreeMap<Figure, f64>;

/// One repetition of a step.
#[derive(Debug, Clone)]
pub(super) struct Repetition {
    pub(super) figures: Figures,
    pub(super) distributions: BTreeMap<Part, Distribution>,
}

/// All repetitions of a step.
#[derive(Debug, Clone)]
pub(super) struct Summary {
    pub(super) step: Step,
    pub(super) figures: BTreeMap<Figure, Spread>,
    pub(super) distributions: BTreeMap<Part, Distribution>,
}

/// A figure over all repetitions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

/// What the owners' traces say.
pub(super) fn repetition(step: Step, traces: &[Trace], window: Window) -> Repetition {
    let acquires = || traces.iter().flat_map(|trace| &trace.acquires);
    let mut distributions = BTreeMap::new();
    let mut take = |part, spans| distributions.insert(part, Distribution::of(spans));
    match step {
        Step::Request => take(Part::Request, window.spans(acquires())),
        Step::Write => take(Part::Write, window.spans(acquires())),
        Step::Workload(Workload::W1Detached) => take(Part::Acquire, window.spans(acquires())),
        Step::Workload(Workload::W1 | Workload::W2) => {
            take(Part::Acquire, window.spans(acquires()));
            take(Part::Release, window.spans(traces.iter().flat_map(|trace| &trace.releases)))
        }
        Step::Workload(Workload::W3 | Workload::W4) => {
            take(Part::Gap, window.spans(traces.iter().flat_map(|trace| &trace.gaps)));
            take(Part::Wait, window.spans(acquires()))
        }
    };
    let counts: Vec<u64> = traces.iter().map(|trace| window.count(&trace.acquires)).collect();
    let per_second = counts.iter().sum::<u64>() as f64 / window.seconds();
    let mut figures = Figures::from([(Figure::PerSecond, per_second)]);
    for (part, distribution) in distributions.iter().filter(|(_, distribution)| !distribution.is_empty()) {
        figures.insert(Figure::P50(*part), distribution.quantile(0.5));
        figures.insert(Figure::P99(*part), distribution.quantile(0.99));
        figures.insert(Figure::Max(*part), distribution.max());
        figures.insert(Figure::Mean(*part), distribution.mean());
    }
    if let Some(waits) = distributions.get(&Part::Wait).filter(|waits| !waits.is_empty()) {
        figures.insert(Figure::LongestOverMean, waits.max() / waits.mean());
        figures.extend(jain(&counts).map(|jain| (Figure::Jain, jain)));
    }
    Repetition { figures, distributions }
}

impl Summary {
    /// The medians.
    pub(super) fn of(step: Step, repetitions: &[Repetition]) -> Self {
        let mut values: BTreeMap<Figure, Vec<f64>> = BTreeMap::new();
        let mut distributions: BTreeMap<Part, Distribution> = BTreeMap::new();
        for repetition in repetitions {
            for (figure, value) in &repetition.figures {
                values.entry(*figure).or_default().push(*value);
            }
            for (part, distribution) in &repetition.distributions {
                distributions.entry(*part).or_insert_with(Distribution::new).add(distribution);
            }
        }
        let spread = |values: Vec<f64>| {
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            median(&values).map(|median| Spread { median, least, most })
        };
        let figures =
            values.into_iter().filter_map(|(figure, values)| Some((figure, spread(values)?))).collect();
        Self { step, figures, distributions }
    }

    pub(super) fn median(&self, figure: Figure) -> Option<f64> {
        self.figures.get(&figure).map(|spread| spread.median)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::trace::Lap;
    use super::*;

    fn lap(ended_ms: u64, took_us: u64) -> Lap {
        Lap { ended: Duration::from_millis(ended_ms), took: Duration::from_micros(took_us) }
    }

    fn near(found: Option<&f64>, wanted: f64) -> bool {
        found.is_some_and(|found| (found / wanted - 1.0).abs() < 0.001)
    }

    #[test]
    fn waits_and_shares_tell_of_fairness() {
        let long = Trace { acquires: vec![lap(500, 100), lap(600, 300)], ..Trace::default() };
        let short = Trace { acquires: vec![lap(700, 200), lap(100, 9_000)], ..Trace::default() };
        let step = Step::Workload(Workload::W3);
        let Repetition { figures, distributions } =
            repetition(step, &[long, short], Window::of(Duration::from_secs(1)));
        assert!(near(figures.get(&Figure::PerSecond), 3.0), "the one at 100 ms warmed it up: {figures:?}");
        assert!(near(figures.get(&Figure::LongestOverMean), 1.5), "{figures:?}");
        assert!(near(figures.get(&Figure::Jain), 0.9), "{figures:?}");
        assert!(distributions[&Part::Gap].is_empty() && !figures.contains_key(&Figure::P50(Part::Gap)));
    }

    #[test]
    fn a_summary_has_the_medians_of_what_there_is() {
        let with = |pairs: f64, cost: Option<f64>| Repetition {
            figures: [(Figure::PerSecond, Some(pairs)), (Figure::Per(Cost::Writes), cost)]
                .into_iter()
                .filter_map(|(figure, value)| Some((figure, value?)))
                .collect(),
            distributions: BTreeMap::new(),
        };
        let step = Step::Workload(Workload::W1);
        let summary = Summary::of(step, &[with(10.0, None), with(30.0, Some(2.0)), with(20.0, None)]);
        let spread = Spread { median: 20.0, least: 10.0, most: 30.0 };
        assert_eq!(summary.figures[&Figure::PerSecond], spread);
        assert_eq!(summary.median(Figure::Per(Cost::Writes)), Some(2.0));
        assert_eq!(summary.median(Figure::Jain), None);
    }
}
