//! `natslock check`

use crate::cli::error::CommandError;
use crate::cli::text::{count, span, tame};
use crate::cli::{Context, describe};
use crate::engine::message::{HolderView, LockView, WaiterView};
use crate::types::LockName;
use crate::wire::reply::Answer;
use crate::wire::subject::Verb;

/// Show who holds a lock and who waits for it
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The lock
    #[arg(value_parser = LockName::encode)]
    name: LockName,
    /// List at most so many holders and waiters
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
}

pub(in crate::cli) async fn run(check: Check, context: &Context) -> Result<(), CommandError> {
    let session = context.open("check").await?;
    let checked = session.caller().check(&check.name, check.limit.into());
    let Some(answered) = session.answer(Verb::Check, checked).await? else { return Ok(()) };
    match answered.answer {
        Answer::Held(view) => check.show(&view, context),
        _ => context.output.line("free"),
    }
}

impl Check {
    fn show(&self, view: &LockView, context: &Context) -> Result<(), CommandError> {
        let output = context.output;
        output.line(describe::held(&self.name, view, &context.owner()))?;
        if !view.holders.is_empty() {
            output.line("")?;
            let header = ["holder", "token", "mode", "held for", "expires in", "note"];
            output.table(header, view.holders.iter().map(holder))?;
            self.more(view.holders.len(), view.holder_count, "holder", context)?;
        }
        if !view.waiters.is_empty() {
            output.line("")?;
            let header = ["place", "waiter", "mode", "waiting for"];
            output.table(header, view.waiters.iter().map(waiter))?;
            self.more(view.waiters.len(), view.waiter_count, "waiter", context)?;
        }
        Ok(())
    }

    fn more(&self, listed: usize, all: usize, word: &str, context: &Context) -> Result<(), CommandError> {
        let hidden = all.saturating_sub(listed);
        if hidden == 0 {
            return Ok(());
        }
        context.output.line(format_args!("... and {}", count(hidden, &format!("more {word}"))))
    }
}

fn holder(holder: &HolderView) -> [String; 6] {
    [
        tame(&holder.owner.to_string()),
        holder.token.to_string(),
        describe::mode(holder.mode, holder.permits.map(usize::from)),
        span(holder.held),
        describe::expires(Some(holder)),
        holder.note.as_ref().map_or_else(String::new, |note| tame(note.as_str())),
    ]
}

fn waiter(waiter: &WaiterView) -> [String; 4] {
    [
        waiter.position.to_string(),
        tame(&waiter.owner.to_string()),
        describe::mode(waiter.mode, None),
        span(waiter.waited),
    ]
}
