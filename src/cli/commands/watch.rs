//! `natslock watch`

use futures_util::StreamExt as _;

use crate::cli::Context;
use crate::cli::error::{CommandError, Kind};
use crate::cli::output::Columns;
use crate::cli::session::explain_transport;
use crate::cli::signals::Signals;
use crate::cli::text::{count, span, tame, time_of_day};
use crate::client::{Seen, Watched};
use crate::engine::message::Event;
use crate::types::LockName;
use crate::wire::event::Heard;

/// Print what happens to locks, as it happens, until Ctrl-C
#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    /// A lock, or `PREFIX.>` for all locks below it [default: all locks]
    #[arg(value_name = "NAME", default_value = ">", hide_default_value = true, value_parser = what)]
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Lock(LockName),
    Below(LockName),
    All,
}

pub(in crate::cli) async fn run(watch: Watch, context: &Context) -> Result<(), CommandError> {
    let mut signals = Signals::listen()?;
    let session = context.open("watch").await?;
    let watched = match &watch.what {
        What::Lock(name) => Watched::Lock(name),
        What::Below(name) => Watched::Below(name),
        What::All => Watched::All,
    };
    let mut seen = session.caller().watch(watched).await.map_err(explain_transport)?;
    context.output.aside(format_args!("watching {}; Ctrl-C ends", watch.what))?;
    let mut columns = Columns::new([12, 8, 20, 16, 0, 0]);
    loop {
        let seen = tokio::select! {
            seen = seen.next() => seen,
            _ = signals.next() => return Ok(()),
        };
        let Some(seen) = seen else {
            return Err(CommandError::new(Kind::NoServer, "the connection to the NATS server is closed"));
        };
        if context.output.json {
            context.output.raw(&seen.raw)?;
        } else if let Some(row) = watch.what.row(&seen) {
            context.output.line(columns.line(row))?;
        }
    }
}

fn what(typed: &str) -> Result<What, String> {
    if typed == ">" {
        return Ok(What::All);
    }
    let name = |text| LockName::encode(text).map_err(|error| error.to_string());
    match typed.strip_suffix(".>") {
        Some(prefix) => name(prefix).map(What::Below),
        None => name(typed).map(What::Lock),
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lock(name) => write!(f, "lock `{}`", tame(&name.to_string())),
            Self::Below(name) => write!(f, "the locks below `{}.`", tame(&name.to_string())),
            Self::All => f.write_str("all locks"),
        }
    }
}

impl What {
    fn row(&self, seen: &Seen) -> Option<[String; 6]> {
        // The events of a lock whose name is a number come with those of a shard's leader.
        let of_leader = matches!(seen.heard, Ok(Heard::Leader { .. }));
        (!of_leader || matches!(self, Self::All)).then(|| columns(seen))
    }
}

/// An event as it is shown: when, what, of which lock, whose, its token, and what else is said.
pub(in crate::cli) fn columns(seen: &Seen) -> [String; 6] {
    match &seen.heard {
        Ok(Heard::Lock { event, .. }) => of_lock(event),
        Ok(Heard::Leader { leader, at }) => {
            let who = format!("{} (process {})", tame(&leader.host), leader.pid);
            let (shard, epoch) = (format!("shard {}", leader.shard), format!("epoch {}", leader.epoch));
            [time_of_day(*at), "leader".into(), shard, who, epoch, String::new()]
        }
        Err(error) => {
            let text = tame(&error.to_string());
            [String::new(), "?".into(), text, String::new(), String::new(), String::new()]
        }
    }
}

fn of_lock(event: &Event) -> [String; 6] {
    let mut extra = Vec::new();
    if let Some(held) = event.held {
        extra.push(format!("held for {}", span(held)));
    }
    // Often the reason is the kind itself.
    if let Some(reason) = event.reason.as_ref().filter(|reason| *reason != event.kind.as_str()) {
        extra.push(tame(reason));
    }
    if let Some(next) = &event.next_owner {
        extra.push(format!("handed over to {}", tame(&next.to_string())));
    }
    if event.waiter_count > 0 {
        extra.push(count(event.waiter_count, "waiter"));
    }
    [
        time_of_day(event.at),
        event.kind.as_str().to_owned(),
        tame(&event.name.to_string()),
        tame(&event.owner.to_string()),
        event.token.to_string(),
        extra.join(", "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_a_subtree_or_all_can_be_watched() {
        assert!(matches!(what(">"), Ok(What::All)));
        assert!(matches!(what("a.b"), Ok(What::Lock(name)) if name.as_str() == "a.b"));
        assert!(matches!(what("订.>"), Ok(What::Below(name)) if name.as_str() == "=E8=AE=A2"));
        for bad in ["", ".>", "a..b", "a..>"] {
            assert!(what(bad).is_err(), "{bad:?} was taken");
        }
    }
}
