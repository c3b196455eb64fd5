//! The ratios that count, and what they are meant to be.

use super::figure::{Figure, Part, Summary};
use super::step::{Step, Workload};

const W1: Step = Step::Workload(Workload::W1);
const W1D: Step = Step::Workload(Workload::W1Detached);
const W2: Step = Step::Workload(Workload::W2);
const W3: Step = Step::Workload(Workload::W3);
const W4: Step = Step::Workload(Workload::W4);

/// What a ratio should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

/// One figure as a multiple of others of the same run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ratio {
    pub(super) name: &'static str,
    pub(super) value: f64,
    pub(super) goal: Option<Goal>,
}

impl Goal {
    pub(super) fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

/// All that can be said of what was run.
pub(super) fn ratios(summaries: &[Summary]) -> Vec<Ratio> {
    let get =
        |step: Step, figure: Figure| summaries.iter().find(|summary| summary.step == step)?.median(figure);
    let platform = || {
        let request = get(Step::Request, Figure::P50(Part::Request))?;
        Some(request + get(Step::Write, Figure::P50(Part::Write))?)
    };
    // An acquire is a request and a write, a release a request.
    let pair = || Some(platform()? + get(Step::Request, Figure::P50(Part::Request))?);
    let over = |one: Option<f64>, other: Option<f64>| Some(one? / other?);
    let all = [
        (
            "W1 acquire p50 / (L1 + L2)",
            over(get(W1, Figure::P50(Part::Acquire)), platform()),
            Some(Goal::AtMost(1.1)),
        ),
        (
            "W1 release p50 / L1",
            over(get(W1, Figure::P50(Part::Release)), get(Step::Request, Figure::P50(Part::Request))),
            None,
        ),
        (
            "W1 pairs / those of L1 + L2 + L1",
            pair().zip(get(W1, Figure::PerSecond)).map(|(pair, pairs)| pair * pairs / 1e6),
            None,
        ),
        ("W1d pairs / W1 pairs", over(get(W1D, Figure::PerSecond), get(W1, Figure::PerSecond)), None),
        ("W2 pairs / W1 pairs", over(get(W2, Figure::PerSecond), get(W1, Figure::PerSecond)), None),
        (
            "W3 gap p50 / (L1 + L2)",
            over(get(W3, Figure::P50(Part::Gap)), platform()),
            Some(Goal::AtMost(1.05)),
        ),
        (
            "W4 hand-overs / W3 hand-overs",
            over(get(W4, Figure::PerSecond), get(W3, Figure::PerSecond)),
            Some(Goal::AtLeast(0.9)),
        ),
        ("W3 longest wait / mean wait", get(W3, Figure::LongestOverMean), Some(Goal::AtMost(3.0))),
        ("W4 longest wait / mean wait", get(W4, Figure::LongestOverMean), Some(Goal::AtMost(1.5))),
        ("W3 Jain index", get(W3, Figure::Jain), Some(Goal::AtLeast(0.99))),
        ("W4 Jain index", get(W4, Figure::Jain), Some(Goal::AtLeast(0.99))),
    ];
    all.into_iter().filter_map(|(name, value, goal)| Some(Ratio { name, value: value?, goal })).collect()
}

#[cfg(test)]
mod tests {
    use super::super::figure::{Figures, Repetition};
    use super::*;

    fn summary<const N: usize>(step: Step, figures: [(Figure, f64); N]) -> Summary {
        let repetition = Repetition { figures: Figures::from(figures), distributions: Default::default() };
        Summary::of(step, &[repetition])
    }

    #[test]
    fn ratios_are_of_what_was_run() {
        let summaries = [
            summary(Step::Request, [(Figure::P50(Part::Request), 100.0)]),
            summary(Step::Write, [(Figure::P50(Part::Write), 60.0)]),
            summary(W1, [(Figure::P50(Part::Acquire), 200.0), (Figure::PerSecond, 2_500.0)]),
            summary(W3, [(Figure::P50(Part::Gap), 160.0), (Figure::Jain, 0.5)]),
        ];
        let ratios = ratios(&summaries);
        let found: Vec<_> = ratios.iter().map(|ratio| (ratio.name, ratio.value)).collect();
        assert_eq!(
            found,
            [
                ("W1 acquire p50 / (L1 + L2)", 1.25),
                ("W1 pairs / those of L1 + L2 + L1", 0.65),
                ("W3 gap p50 / (L1 + L2)", 1.0),
                ("W3 Jain index", 0.5)
            ]
        );
        let met = ratios.iter().filter_map(|ratio| Some(ratio.goal?.is_met_by(ratio.value)));
        assert_eq!(met.collect::<Vec<_>>(), [false, true, false]);
    }
}
