//! What a run has shown, for programs: one JSON object.

use serde::Serialize;

use super::figure::{Cost, Figure, Part, Spread, Summary};
use super::goals::{Goal, Ratio, ratios};
use super::measure::{Measured, Measurement};
use super::plot::{Axis, Line, Plot};
use super::stats::{Distribution, drift};

/// A bare request may take so much more or less at the end than at the beginning.
pub(super) const DRIFT_MAX: f64 = 0.10;

/// What a run has shown.
#[derive(Debug)]
pub(in crate::cli) struct Report {
    pub(super) natslock: String,
    pub(super) nats_server: String,
    pub(super) measurement: Measurement,
    /// False for what `--nats` names: whether it syncs and replicates is not known.
    pub(super) private: bool,
    pub(super) summaries: Vec<Summary>,
    pub(super) ratios: Vec<Ratio>,
    /// By how much the time of a bare request has changed from the first measurement to the last.
    pub(super) drift: Option<f64>,
}

impl Report {
    pub(in crate::cli) fn new(measurement: Measurement, private: bool, measured: Measured) -> Self {
        Self {
            natslock: measured.info.version,
            nats_server: measured.info.server_version,
            measurement,
            private,
            ratios: ratios(&measured.summaries),
            summaries: measured.summaries,
            drift: drift(&measured.requests),
        }
    }

    /// True where the machine was not the same all the time.
    pub(super) fn has_drifted(&self) -> bool {
        self.drift.is_some_and(|drift| drift.abs() > DRIFT_MAX)
    }

    /// What an acknowledged write has survived.
    pub(super) const fn storage(&self) -> &'static str {
        match (self.private, self.measurement.demand.sync) {
            (false, _) => "as the servers are configured",
            (true, false) => "page cache",
            (true, true) => "fsync",
        }
    }

    /// How long things took, as a chart: from the usual to the rare.
    pub(in crate::cli) fn svg(&self) -> String {
        let parts = |summary: &Summary| {
            let step = summary.step.name();
            let line = move |(part, distribution): (&Part, &Distribution)| Line {
                name: format!("{step} {}", part.name()),
                points: distribution.curve(),
            };
            summary.distributions.iter().map(line).collect::<Vec<_>>()
        };
        let plot = Plot {
            title: format!(
                "natslock {}, nats-server {}, {}",
                self.natslock,
                self.nats_server,
                self.storage()
            ),
            x: Axis { label: "share of operations that took less", tick: share },
            y: Axis { label: "us", tick: |micros| format!("{micros}") },
            lines: self.summaries.iter().flat_map(parts).collect(),
        };
        plot.svg()
    }

    pub(in crate::cli) fn json(&self) -> Vec<u8> {
        let whole = Whole {
            natslock: &self.natslock,
            nats_server: &self.nats_server,
            storage: self.storage(),
            replicas: self.private.then_some(self.measurement.demand.replicas),
            repetitions: self.measurement.repetitions,
            seconds: self.measurement.span.as_secs_f64(),
            drift: self.drift,
            drifted: self.has_drifted(),
            steps: self.summaries.iter().map(step).collect(),
            ratios: self.ratios.iter().map(ratio).collect(),
        };
        serde_json::to_vec(&whole).unwrap_or_default()
    }
}

/// All but one in so many.
fn share(rarity: f64) -> String {
    format!("{} %", 100.0 - 100.0 / rarity)
}

#[derive(Serialize)]
struct Whole<'a> {
    natslock: &'a str,
    nats_server: &'a str,
    storage: &'static str,
    replicas: Option<usize>,
    repetitions: usize,
    seconds: f64,
    drift: Option<f64>,
    drifted: bool,
    steps: Vec<StepBody>,
    ratios: Vec<RatioBody>,
}

#[derive(Serialize)]
struct StepBody {
    step: &'static str,
    what: &'static str,
    unit: &'static str,
    per_second: Option<SpreadBody>,
    times: Vec<TimeBody>,
    longest_over_mean: Option<f64>,
    jain: Option<f64>,
    per_operation: CostBody,
}

#[derive(Serialize)]
struct SpreadBody {
    median: f64,
    least: f64,
    most: f64,
}

#[derive(Serialize)]
struct TimeBody {
    of: &'static str,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    max_us: Option<f64>,
    mean_us: Option<f64>,
}

#[derive(Serialize)]
struct CostBody {
    client_messages: Option<f64>,
    server_received: Option<f64>,
    server_sent: Option<f64>,
    writes: Option<f64>,
    client_cpu_us: Option<f64>,
    coordinator_cpu_us: Option<f64>,
    server_cpu_us: Option<f64>,
}

#[derive(Serialize)]
struct RatioBody {
    name: &'static str,
    value: f64,
    at_most: Option<f64>,
    at_least: Option<f64>,
    met: Option<bool>,
}

fn step(summary: &Summary) -> StepBody {
    let get = |figure| summary.median(figure);
    let spread =
        |spread: &Spread| SpreadBody { median: spread.median, least: spread.least, most: spread.most };
    let time = |part: &Part| TimeBody {
        of: part.name(),
        p50_us: get(Figure::P50(*part)),
        p99_us: get(Figure::P99(*part)),
        max_us: get(Figure::Max(*part)),
        mean_us: get(Figure::Mean(*part)),
    };
    StepBody {
        step: summary.step.name(),
        what: summary.step.what(),
        unit: summary.step.unit(),
        per_second: summary.figures.get(&Figure::PerSecond).map(spread),
        times: summary.distributions.keys().map(time).collect(),
        longest_over_mean: get(Figure::LongestOverMean),
        jain: get(Figure::Jain),
        per_operation: CostBody {
            client_messages: get(Figure::Per(Cost::ClientMessages)),
            server_received: get(Figure::Per(Cost::ServerReceived)),
            server_sent: get(Figure::Per(Cost::ServerSent)),
            writes: get(Figure::Per(Cost::Writes)),
            client_cpu_us: get(Figure::Per(Cost::ClientCpu)),
            coordinator_cpu_us: get(Figure::Per(Cost::CoordinatorCpu)),
            server_cpu_us: get(Figure::Per(Cost::ServerCpu)),
        },
    }
}

fn ratio(ratio: &Ratio) -> RatioBody {
    let (at_most, at_least) = match ratio.goal {
        Some(Goal::AtMost(most)) => (Some(most), None),
        Some(Goal::AtLeast(least)) => (None, Some(least)),
        None => (None, None),
    };
    let met = ratio.goal.map(|goal| goal.is_met_by(ratio.value));
    RatioBody { name: ratio.name, value: ratio.value, at_most, at_least, met }
}
