//! `natslock list`

use crate::cli::error::{CommandError, Kind};
use crate::cli::text::tame;
use crate::cli::{Context, describe};
use crate::engine::message::LockView;
use crate::types::LockName;
use crate::wire::reply::Answer;
use crate::wire::subject::Verb;

/// The largest page there is.
const PAGE: u16 = 1_000;

/// List the locks that are held or waited for, in order of their names
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only those whose names begin so
    #[arg(default_value = "", hide_default_value = true, value_parser = beginning)]
    prefix: Prefix,
    /// List at most so many [default: all; with --json 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: Option<u16>,
    /// Begin behind this name
    #[arg(long, value_name = "NAME", value_parser = LockName::encode)]
    after: Option<LockName>,
}

/// The beginning of names.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Prefix {
    pub(in crate::cli) typed: String,
    pub(in crate::cli) encoded: String,
}

/// A page of locks, and the last name where there is another page.
type Page = (Vec<(LockName, LockView)>, Option<LockName>);

pub(in crate::cli) async fn run(list: List, context: &Context) -> Result<(), CommandError> {
    let session = context.open("list").await?;
    let mut locks = Vec::new();
    let mut after = list.after.clone();
    loop {
        let limit = list.limit.unwrap_or(if context.output.json { 100 } else { PAGE });
        let page = session.caller().list(&list.prefix.encoded, limit.into(), after.clone());
        let Some(answered) = session.answer(Verb::List, page).await? else { return Ok(()) };
        let (page, next) = page_of(answered.answer)?;
        locks.extend(page);
        // A page that does not lead further would be asked for again without end.
        let further = next.filter(|next| after.as_ref().is_none_or(|after| next > after));
        if further.is_none() || list.limit.is_some() {
            return list.show(&locks, further.as_ref(), context);
        }
        after = further;
    }
}

fn page_of(answer: Answer) -> Result<Page, CommandError> {
    match answer {
        Answer::List { locks, next } => Ok((locks, next)),
        other => Err(CommandError::new(Kind::Internal, format!("{other:?} is no answer to list"))),
    }
}

/// It may end with a dot.
pub(in crate::cli) fn beginning(typed: &str) -> Result<Prefix, String> {
    let (name, dot) = typed.strip_suffix('.').map_or((typed, ""), |name| (name, "."));
    if typed.is_empty() {
        return Ok(Prefix::default());
    }
    let name = LockName::encode(name).map_err(|error| error.to_string())?;
    Ok(Prefix { typed: typed.to_owned(), encoded: format!("{}{dot}", name.as_str()) })
}

impl List {
    fn show(
        &self,
        locks: &[(LockName, LockView)],
        further: Option<&LockName>,
        context: &Context,
    ) -> Result<(), CommandError> {
        if locks.is_empty() {
            return context.output.line("no locks are held or waited for");
        }
        let header = ["name", "mode", "holders", "first holder", "expires in", "waiters"];
        context.output.table(header, locks.iter().map(|(name, view)| row(name, view)))?;
        if let Some(next) = further {
            let (next, limit) = (next.to_string(), self.limit.unwrap_or(PAGE).to_string());
            let prefix = Some(self.prefix.typed.as_str()).filter(|prefix| !prefix.is_empty());
            let words = ["list"].into_iter().chain(prefix);
            let words: Vec<&str> = words.chain(["--limit", &limit, "--after", &next]).collect();
            context
                .output
                .line(format_args!("... and more: {}", context.again.command_of_anybody(&words)))?;
        }
        Ok(())
    }
}

fn row(name: &LockName, view: &LockView) -> [String; 6] {
    let first = view.holders.first();
    [
        tame(&name.to_string()),
        describe::mode(view.mode, describe::permits(view)),
        view.holder_count.to_string(),
        first.map_or_else(String::new, |holder| tame(&holder.owner.to_string())),
        describe::expires(first),
        view.waiter_count.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_may_end_anywhere_between_characters() {
        for (typed, encoded) in [("", ""), ("jobs.", "jobs."), ("订.a", "=E8=AE=A2.a")] {
            assert!(beginning(typed).is_ok_and(|prefix| prefix.encoded == encoded), "{typed:?}");
        }
        for bad in [".", ".a", "a..", "a..b"] {
            assert!(beginning(bad).is_err(), "{bad:?} was taken");
        }
    }
}
