//! `natslock renew`

use crate::cli::Context;
use crate::cli::args::Acquisition;
use crate::cli::error::CommandError;
use crate::cli::output::{BOLD, GREEN};
use crate::cli::text;
use crate::wire::reply::Answer;
use crate::wire::subject::Verb;

/// Renew a lock for the whole of its ttl
#[derive(Debug, clap::Args)]
pub(crate) struct Renew {
    #[command(flatten)]
    acquisition: Acquisition,
}

pub(in crate::cli) async fn run(renew: Renew, context: &Context) -> Result<(), CommandError> {
    let Renew { acquisition } = renew;
    let session = context.open("renew").await?;
    let renewed = session.caller().renew(&acquisition.name, acquisition.lease());
    let Some(answered) = session.answer(Verb::Renew, renewed).await? else { return Ok(()) };
    if let Answer::Renewed { ttl, .. } = answered.answer {
        let name = text::tame(&acquisition.name.to_string());
        let ttl = text::span(ttl.get());
        context.output.line(format_args!("{GREEN}renewed{GREEN:#} {BOLD}{name}{BOLD:#} for {ttl}"))?;
    }
    Ok(())
}
