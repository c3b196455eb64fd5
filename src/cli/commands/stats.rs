//! `natslock stats`

use std::time::Duration;

use super::list::{Prefix, beginning};
use crate::cli::Context;
use crate::cli::error::{CommandError, Kind};
use crate::cli::output::{BOLD, Output};
use crate::cli::signals::Signals;
use crate::cli::text::{count, precise, tame, time_of_day};
use crate::clock::{Clock as _, SystemClock};
use crate::types::LockName;
use crate::wire::reply::Answer;
use crate::wire::stats::{Figures, Spread, Stats as Answered};
use crate::wire::subject::Verb;

/// How often --watch looks again.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// Show how long acquiring, waiting and releasing take, how often requests meet, and the busiest locks
#[derive(Debug, clap::Args)]
pub(crate) struct Stats {
    /// Of the locks, only those whose names begin so; the totals are always those of all
    #[arg(default_value = "", hide_default_value = true, value_parser = beginning)]
    prefix: Prefix,
    /// Show so many of the busiest locks
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=1_000))]
    top: u16,
    /// Show them again every two seconds, until a signal comes
    #[arg(long)]
    watch: bool,
}

pub(in crate::cli) async fn run(stats: Stats, context: &Context) -> Result<(), CommandError> {
    let session = context.open("stats").await?;
    let mut signals = Signals::listen()?;
    loop {
        let asked = session.caller().stats(&stats.prefix.encoded, stats.top.into());
        if let Some(answered) = session.answer(Verb::Stats, asked).await? {
            match answered.answer {
                Answer::Stats(answer) => show(&answer, context.output)?,
                other => {
                    let message = format!("{other:?} is no answer to stats");
                    return Err(CommandError::new(Kind::Internal, message));
                }
            }
        }
        if !stats.watch {
            return Ok(());
        }
        let again = SystemClock.now().boot + WATCH_EVERY;
        tokio::select! {
            () = SystemClock.sleep_until(again) => {}
            _ = signals.next() => return Ok(()),
        }
        if !context.output.json {
            context.output.line("")?;
        }
    }
}

fn show(answer: &Answered, output: Output) -> Result<(), CommandError> {
    let total = &answer.total;
    output.line(format_args!(
        "{BOLD}{}, {}{BOLD:#}, counted since {}",
        count(total.holders, "holder"),
        count(total.waiters, "waiter"),
        time_of_day(answer.since),
    ))?;
    output.line("")?;
    let times =
        [("acquire", total.acquire), ("wait", total.wait), ("held", total.hold), ("release", total.release)];
    output.table(["time to", "mean", "p50", "p99", "max"], times.map(|(what, spread)| row(what, spread)))?;
    output.line("")?;
    output.fields(counters(total))?;
    if answer.locks.is_empty() {
        return Ok(());
    }
    output.line("")?;
    // With names of usual length 80 columns are enough.
    let header = ["lock", "acquires", "met", "acquire p99", "wait p99", "held p99", "holders", "waiters"];
    output.table(header, answer.locks.iter().map(lock))
}

fn row(what: &str, spread: Option<Spread>) -> [String; 5] {
    let cell =
        |of: fn(Spread) -> Duration| spread.map_or_else(|| "-".to_owned(), |spread| precise(of(spread)));
    [what.to_owned(), cell(|s| s.mean), cell(|s| s.p50), cell(|s| s.p99), cell(|s| s.max)]
}

fn counters(total: &Figures) -> Vec<(&'static str, String)> {
    let mut counters = vec![
        ("acquires", format!("{}, {} met others ({})", total.acquires, total.contended, percent(total))),
        ("grants", format!("{}, {} by hand-over", total.grants, total.handovers)),
        (
            "not granted",
            format!(
                "{} held by others, {} timed out, {} cancelled",
                total.held, total.timeouts, total.cancels
            ),
        ),
        ("expired", total.expiries.to_string()),
        ("takeovers", total.takeovers.to_string()),
        ("writes", format!("{} in doubt, {} in conflict", total.in_doubt, total.conflicts)),
    ];
    if !total.refusals.is_empty() {
        let refusals = total.refusals.iter().map(|(code, count)| format!("{count} {}", tame(code)));
        counters.push(("refused", refusals.collect::<Vec<_>>().join(", ")));
    }
    counters
}

fn lock((name, figures): &(LockName, Figures)) -> [String; 8] {
    let p99 = |spread: Option<Spread>| spread.map_or_else(|| "-".to_owned(), |spread| precise(spread.p99));
    [
        tame(&name.to_string()),
        figures.acquires.to_string(),
        percent(figures),
        p99(figures.acquire),
        p99(figures.wait),
        p99(figures.hold),
        figures.holders.to_string(),
        figures.waiters.to_string(),
    ]
}

fn percent(figures: &Figures) -> String {
    format!("{:.1} %", figures.contention_rate * 100.0)
}
