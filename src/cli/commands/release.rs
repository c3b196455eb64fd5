//! `natslock release`

use std::time::Duration;

use crate::cli::Context;
use crate::cli::args::Acquisition;
use crate::cli::error::CommandError;
use crate::cli::output::{BOLD, GREEN};
use crate::cli::{duration, text};
use crate::wire::reply::Answer;
use crate::wire::subject::Verb;

/// Release a lock, or stop waiting for it
#[derive(Debug, clap::Args)]
pub(crate) struct Release {
    #[command(flatten)]
    acquisition: Acquisition,
    /// Keep it held so much longer, for nobody
    #[arg(
        long,
        env = "NATSLOCK_KEEP",
        hide_env_values = true,
        value_name = "TIME",
        default_value = "0",
        hide_default_value = true,
        value_parser = duration::keep,
        allow_hyphen_values = true
    )]
    keep: Duration,
}

pub(in crate::cli) async fn run(release: Release, context: &Context) -> Result<(), CommandError> {
    let Release { acquisition, keep } = release;
    let session = context.open("release").await?;
    let released = session.caller().release(&acquisition.name, acquisition.lease(), keep);
    let Some(answered) = session.answer(Verb::Release, released).await? else { return Ok(()) };
    if let Answer::Released { held, .. } = answered.answer {
        let name = text::tame(&acquisition.name.to_string());
        let kept = match keep {
            Duration::ZERO => String::new(),
            keep => format!(", and keeps others out for another {}", text::span(keep)),
        };
        let held = text::span(held);
        context.output.line(format_args!(
            "{GREEN}released{GREEN:#} {BOLD}{name}{BOLD:#}: it was held for {held}{kept}"
        ))?;
    }
    Ok(())
}
