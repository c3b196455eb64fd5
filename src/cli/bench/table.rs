//! What a run has shown, for people.

use super::figure::{Cost, Figure, Part, Summary};
use super::goals::{Goal, Ratio};
use super::report::{DRIFT_MAX, Report};
use crate::cli::error::CommandError;
use crate::cli::output::{BOLD, DIM, Output};

/// Prints it.
pub(in crate::cli) fn print(report: &Report, output: Output) -> Result<(), CommandError> {
    output.line(format_args!("{BOLD}{}{BOLD:#}", headline(report)))?;
    output.line("")?;
    let times = report.summaries.iter().flat_map(times);
    output.table(["", "", "a second", "least - most", "", "p50 us", "p99 us", "max us"], times)?;
    output.line("")?;
    let costs = report.summaries.iter().map(costs);
    output.line(format_args!("{DIM}messages, writes and microseconds of a processor for one of{DIM:#}"))?;
    let header = [
        "",
        "messages: clients",
        "to servers",
        "from servers",
        "writes",
        "cpu: clients",
        "coordinator",
        "servers",
    ];
    output.table(header, costs)?;
    output.line("")?;
    output.table(["ratio", "", "aim", ""], report.ratios.iter().map(ratio))?;
    match (report.has_drifted(), report.drift) {
        (true, Some(drift)) => output.line(format_args!(
            "\n{BOLD}unsteady:{BOLD:#} L1 took {:+.0} % at the end (more than {:.0} % is too much): run it again on a \
             quieter machine",
            drift * 100.0,
            DRIFT_MAX * 100.0,
        )),
        (_, Some(drift)) => output.line(format_args!("\n{DIM}L1 drifted by {:+.1} %{DIM:#}", drift * 100.0)),
        (_, None) => Ok(()),
    }
}

fn headline(report: &Report) -> String {
    let measurement = &report.measurement;
    let replicas = match (report.private, measurement.demand.replicas) {
        (true, 1) => ", one replica".to_owned(),
        (true, replicas) => format!(", {replicas} replicas"),
        (false, _) => String::new(),
    };
    format!(
        "natslock {}, nats-server {}, {}{replicas}: medians of {} x {} s",
        report.natslock,
        report.nats_server,
        report.storage(),
        measurement.repetitions,
        measurement.span.as_secs_f64(),
    )
}

/// A row for each time; the first says what it is about.
fn times(summary: &Summary) -> Vec<[String; 8]> {
    let spread = summary.figures.get(&Figure::PerSecond);
    let step = summary.step;
    let mut head = [
        step.name().to_owned(),
        step.what().to_owned(),
        spread.map_or_else(String::new, |spread| format!("{} {}", number(spread.median), step.unit())),
        spread
            .map_or_else(String::new, |spread| format!("{} - {}", number(spread.least), number(spread.most))),
    ];
    let row = |part: &Part| {
        let [a, b, c, d] = std::mem::take(&mut head);
        let time = |figure| summary.median(figure).map_or_else(|| "-".to_owned(), number);
        let [p50, p99, max] = [Figure::P50(*part), Figure::P99(*part), Figure::Max(*part)].map(time);
        [a, b, c, d, part.name().to_owned(), p50, p99, max]
    };
    summary.distributions.keys().map(row).collect()
}

fn costs(summary: &Summary) -> [String; 8] {
    let cost = |cost| summary.median(Figure::Per(cost)).map_or_else(|| "-".to_owned(), small);
    [
        format!("{} {}", summary.step.name(), summary.step.unit()),
        cost(Cost::ClientMessages),
        cost(Cost::ServerReceived),
        cost(Cost::ServerSent),
        cost(Cost::Writes),
        cost(Cost::ClientCpu),
        cost(Cost::CoordinatorCpu),
        cost(Cost::ServerCpu),
    ]
}

fn ratio(ratio: &Ratio) -> [String; 4] {
    let aim = match ratio.goal {
        Some(Goal::AtMost(most)) => format!("at most {most}"),
        Some(Goal::AtLeast(least)) => format!("at least {least}"),
        None => String::new(),
    };
    let met = ratio.goal.map(|goal| if goal.is_met_by(ratio.value) { "met" } else { "missed" });
    [ratio.name.to_owned(), format!("{:.2}", ratio.value), aim, met.unwrap_or_default().to_owned()]
}

/// Three digits, and all of a large number.
fn number(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn small(value: f64) -> String {
    format!("{value:.2}")
}

impl Part {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Write => "write",
            Self::Acquire => "acquire",
            Self::Release => "release",
            Self::Gap => "gap",
            Self::Wait => "wait",
        }
    }
}
