//! `natslock admin release`

use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::output::{BOLD, GREEN};
use crate::cli::text;
use crate::types::LockName;
use crate::wire::reply::Answer;
use crate::wire::subject::Verb;

/// Take a lock from its holders, who may not notice: only its tokens tell them from their successors
#[derive(Debug, clap::Args)]
pub(crate) struct Release {
    /// The lock
    #[arg(value_parser = LockName::encode)]
    name: LockName,
    /// Tell everybody why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) async fn run(release: Release, context: &Context) -> Result<(), CommandError> {
    let Release { name, reason } = release;
    let session = context.open("admin release").await?;
    let released = session.caller().admin_release(&name, reason);
    let Some(answered) = session.answer(Verb::AdminRelease, released).await? else { return Ok(()) };
    if let Answer::Released { held, .. } = answered.answer {
        let (name, held) = (text::tame(&name.to_string()), text::span(held));
        context.output.line(format_args!(
            "{GREEN}released{GREEN:#} {BOLD}{name}{BOLD:#} by force: it was held for {held}"
        ))?;
    }
    Ok(())
}
