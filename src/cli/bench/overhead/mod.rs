//! What figures, `serve --http` and events cost: three coordinators on one server. One does without figures and events,
//! one without figures, and one does all and is looked at.
//!
//! A busy machine drifts within seconds by more than what is to be found. So a round, which makes a pair of each two,
//! is cut into slices of some fifty milliseconds, and the coordinators take them in turn, in each of their six orders
//! alike: what drifts meets all of them, and nobody has the same one before him each time.
//!
//! Beside the rates it compares the processor time of the coordinator and the server: a busy machine changes that less.

mod look;
mod paired;
mod side;

use std::time::Duration;

use serde::Serialize;

use self::paired::{Compared, Verdict};
use self::side::{Side, Taken};
use super::site::{Demand, Site, free_address};
use super::step::{Step, Workload};
use super::trace::Window;
use crate::cli::error::{CommandError, Kind};
use crate::cli::output::Output;

/// What is run.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Pairs {
    pub(in crate::cli) workloads: Vec<Workload>,
    pub(in crate::cli) count: usize,
    /// How long each coordinator is under load in a round.
    pub(in crate::cli) span: Duration,
}

/// What one of the parts costs in one workload.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Overhead {
    workload: &'static str,
    part: &'static str,
    /// Locks that were granted, a second.
    rate: Compared,
    /// Whether it costs no more of the rate than it may; nothing where there is no such goal.
    goal: Option<Verdict>,
    /// Microseconds of the coordinator and the server for each; nothing where the system does not tell.
    processor_us: Option<Compared>,
}

/// A coordinator that does more than the one before it.
struct Part {
    name: &'static str,
    /// How much of the rate it may cost.
    goal: Option<f64>,
}

/// What the second and the third do that the one before does not.
const PARTS: [Part; 2] =
    [Part { name: "events", goal: None }, Part { name: "figures, http", goal: Some(0.03) }];

/// The turns of the coordinators in a round.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1], [2, 0, 1], [1, 0, 2]];

/// How long a slice is, or a bit more: short, because slices of a second differ from each other as much as these do.
const SLICE: Duration = Duration::from_millis(50);

/// The coordinators, the one that does least first.
struct Sides([Side; 3]);

/// Measures; `progress` is told of each round before it begins.
pub(in crate::cli) async fn measure(
    pairs: &Pairs,
    progress: impl FnMut(Workload),
) -> Result<Vec<Overhead>, CommandError> {
    let site = Site::servers(Demand { sync: false, replicas: 1 }).await?;
    match race(&site, pairs, progress).await {
        Ok(found) => {
            site.stop().await;
            Ok(found)
        }
        Err(error) => Err(site.explain(error).await),
    }
}

async fn race(
    site: &Site,
    pairs: &Pairs,
    mut progress: impl FnMut(Workload),
) -> Result<Vec<Overhead>, CommandError> {
    let sides = Sides::start(site).await?;
    let mut found = Vec::new();
    for workload in &pairs.workloads {
        let mut rounds = Vec::new();
        for number in 0..pairs.count {
            progress(*workload);
            rounds.push(sides.round(site, number, *workload, pairs.span).await?);
        }
        found.extend((0..PARTS.len()).map(|number| Overhead::new(*workload, number, &rounds)));
    }
    for side in sides.0 {
        side.stop().await;
    }
    Ok(found)
}

impl Sides {
    async fn start(site: &Site) -> Result<Self, CommandError> {
        let http = free_address()?;
        Ok(Self([
            Side::start(site, "bare", &["--without", "figures,events"], None).await?,
            Side::start(site, "uncounted", &["--without", "figures"], None).await?,
            Side::start(site, "whole", &["--http", &http.to_string()], Some(http)).await?,
        ]))
    }

    /// Each in each slice; in one of them, another each round, it is looked at.
    async fn round(
        &self,
        site: &Site,
        number: usize,
        workload: Workload,
        span: Duration,
    ) -> Result<[Taken; 3], CommandError> {
        let mut all = [Taken::default(); 3];
        let slices = slices(span);
        let window = Window::of(span / slices);
        for (slice, order) in (0..slices).zip(ORDERS.into_iter().cycle()) {
            let looked_at = slice as usize == number % slices as usize;
            for which in order {
                all[which] += self.0[which].slice(site, workload, window, looked_at).await?;
            }
        }
        if all.iter().any(|taken| taken.counted == 0) {
            let message = format!("{}: nothing has ended within the time", Step::Workload(workload).name());
            return Err(CommandError::new(Kind::NoAnswer, message).hint("give it longer: --seconds 10"));
        }
        Ok(all)
    }
}

/// Into how many a round is cut: each order is taken as often.
fn slices(span: Duration) -> u32 {
    let all_orders = SLICE * ORDERS.len() as u32;
    let times = (span.as_millis() / all_orders.as_millis()).clamp(1, 1_000) as u32;
    times * ORDERS.len() as u32
}

impl Overhead {
    fn new(workload: Workload, number: usize, rounds: &[[Taken; 3]]) -> Self {
        let pairs = |of: fn(&Taken) -> Option<f64>| -> Option<Vec<_>> {
            rounds.iter().map(|all| of(&all[number]).zip(of(&all[number + 1]))).collect()
        };
        let rate = Compared::new(&pairs(|taken| Some(taken.per_second())).unwrap_or_default());
        let Part { name, goal } = PARTS[number];
        Self {
            workload: Step::Workload(workload).name(),
            part: name,
            goal: goal.map(|most| rate.verdict(most)),
            rate,
            processor_us: pairs(Taken::processor_us).map(|pairs| Compared::new(&pairs)),
        }
    }
}

/// A table of all of them.
pub(in crate::cli) fn print(found: &[Overhead], output: Output) -> Result<(), CommandError> {
    let rows = found.iter().map(|overhead| {
        let [rate, change, range] = overhead.rate.told("/s");
        let verdict = overhead.goal.map_or("", Verdict::as_str).to_owned();
        let [busy, more, busy_range] =
            overhead.processor_us.as_ref().map_or_else(Default::default, |busy| busy.told(" us"));
        let [workload, part] = [overhead.workload, overhead.part].map(str::to_owned);
        [workload, part, rate, change, range, verdict, busy, more, busy_range]
    });
    let header =
        ["workload", "part", "without", "with", "95 % sure", "goal", "processor", "with", "95 % sure"];
    output.table(header, rows)
}

/// The same for programs.
pub(in crate::cli) fn json(found: &[Overhead]) -> Vec<u8> {
    serde_json::to_vec(found).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_order_is_taken_once() {
        let mut orders = ORDERS.to_vec();
        orders.sort_unstable();
        orders.dedup();
        assert_eq!(orders.len(), 6);
        for mut order in orders {
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2]);
        }
    }

    #[test]
    fn a_round_is_cut_into_short_slices() {
        let slices = |ms| slices(Duration::from_millis(ms));
        assert_eq!([slices(100), slices(300), slices(1_000), slices(10_000)], [6, 6, 18, 198]);
    }

    #[test]
    fn a_part_is_what_is_done_beside_the_one_before() {
        let taken = |counted, busy| Taken { counted, all: 100, seconds: 1.0, busy };
        let rounds = vec![[taken(100, Some(1_000)), taken(80, Some(1_200)), taken(60, None)]; 7];
        let [events, figures] = [0, 1].map(|number| Overhead::new(Workload::W2, number, &rounds));
        assert_eq!((events.part, (events.rate.change * 1e3).round()), ("events", -200.0));
        assert_eq!(events.processor_us.map(|busy| (busy.change * 1e3).round()), Some(200.0));
        assert_eq!(((figures.rate.change * 1e3).round(), figures.goal), (-250.0, Some(Verdict::Missed)));
        assert!(events.goal.is_none() && figures.processor_us.is_none());
    }
}
