//! `natslock torture`

use std::time::Duration;

use crate::cli::error::{CommandError, Kind};
use crate::cli::output::BOLD;
use crate::cli::signals::Signals;
use crate::cli::torture::{Fault, Plan, run as run_one};
use crate::cli::{Context, duration};
use crate::types::Ttl;

/// Break what natslock runs on, on this machine and in private, and judge what its clients believed meanwhile
#[derive(Debug, clap::Args)]
pub(crate) struct Torture {
    /// What to do, one after the other [default: all there is]
    #[arg(value_enum)]
    faults: Vec<Fault>,
    /// Do each again and again for so long
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = duration::keep)]
    span: Duration,
    /// Do each at least so often
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The leadership lease of the coordinators
    #[arg(long, value_name = "TIME", default_value = "12s", value_parser = duration::leader_lease)]
    leader_lease: Duration,
    /// The lease time of contended locks
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::ttl)]
    ttl: Ttl,
    /// Keep the folders with the logs also of runs that went as they should
    #[arg(long)]
    keep_logs: bool,
}

pub(in crate::cli) async fn run(torture: Torture, context: &Context) -> Result<(), CommandError> {
    let mut signals = Signals::listen()?;
    tokio::select! {
        done = run_all(torture, context) => done,
        signal = signals.next() => Err(CommandError::new(Kind::Interrupted, format!("ended by {signal}"))),
    }
}

async fn run_all(torture: Torture, context: &Context) -> Result<(), CommandError> {
    let Torture { faults, span, rounds, leader_lease, ttl, keep_logs } = torture;
    let plan = Plan { leader_lease, ttl: ttl.get(), span, rounds, keep_logs };
    let faults = if faults.is_empty() { Fault::all() } else { faults };
    let mut violations = 0;
    for fault in faults {
        let report = run_one(fault, plan).await?;
        violations += report.violations();
        if context.output.json {
            context.output.raw(&report.json())?;
        } else {
            context.output.line(format_args!("{BOLD}{}{BOLD:#}", fault.name()))?;
            context.output.fields(report.fields())?;
        }
    }
    match violations {
        0 => Ok(()),
        _ => Err(CommandError::new(Kind::Internal, format!("{violations} violations"))
            .hint("the folders named above have the logs of all processes")),
    }
}
