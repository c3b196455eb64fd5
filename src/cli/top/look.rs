//! What is asked for at each refresh: a handful of requests, however many locks there are.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;

use crate::cli::error::{CommandError, Kind};
use crate::cli::session::Session;
use crate::clock::SystemClock;
use crate::engine::LISTED;
use crate::engine::message::LockView;
use crate::types::{Epoch, LockName, Timestamp, WallTime};
use crate::wire::info::Leader;
use crate::wire::reply::Answer;
use crate::wire::stats::Stats;
use crate::wire::subject::Verb;

/// So many of the busiest locks are asked for.
const BUSIEST: usize = 100;
/// So many of the locks that are held or waited for, in order of their names.
const PAGE: usize = 100;
/// So many holders and waiters of a busy lock that is not on that page.
const FEW: usize = 5;

/// What is to be found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// Locks whose encoded names begin so.
    pub(super) prefix: String,
    /// Busy locks on the screen that are not on the page.
    pub(super) also: Vec<LockName>,
    /// One lock with all its holders and waiters.
    pub(super) detail: Option<LockName>,
}

/// What was found out.
#[derive(Debug)]
pub(super) struct Sample {
    /// When, by the clock that rates are reckoned in.
    pub(super) at: Timestamp,
    pub(super) wall: WallTime,
    /// The highest epoch that any answer spoke for.
    pub(super) epoch: Option<Epoch>,
    pub(super) leaders: Vec<Leader>,
    pub(super) stats: Stats,
    /// The prefix that was asked for.
    pub(super) prefix: String,
    /// Who holds and who waits, as far as it was asked for.
    pub(super) locks: BTreeMap<LockName, LockView>,
    /// The last lock of the page, where there are more.
    pub(super) page_end: Option<LockName>,
}

/// Asks.
///
/// # Cancel safety
/// Nothing is changed by asking.
pub(super) async fn look(session: &Session<'_>, wish: Wish) -> Result<Sample, CommandError> {
    let caller = session.caller();
    let stats = session.ask(Verb::Stats, caller.stats(&wish.prefix, BUSIEST));
    let page = session.ask(Verb::List, caller.list(&wish.prefix, PAGE, None));
    let leaders = session.ask(Verb::Info, caller.leaders());
    let single =
        wish.also.iter().map(|name| (name, FEW)).chain(wish.detail.iter().map(|name| (name, LISTED)));
    let single = try_join_all(single.map(|(name, limit)| check(session, name, limit)));
    let (stats, page, info, single) = tokio::try_join!(stats, page, leaders, single)?;
    let Answer::Stats(stats) = stats.answer else { return Err(unexpected(Verb::Stats)) };
    let Answer::List { locks, next } = page.answer else { return Err(unexpected(Verb::List)) };
    let mut locks: BTreeMap<_, _> = locks.into_iter().collect();
    locks.extend(single.into_iter().flatten());
    Ok(Sample {
        at: SystemClock::boot(),
        wall: SystemClock::wall(),
        epoch: caller.epoch(),
        leaders: info.leaders,
        stats: *stats,
        prefix: wish.prefix,
        locks,
        page_end: next,
    })
}

async fn check(
    session: &Session<'_>,
    name: &LockName,
    limit: usize,
) -> Result<Option<(LockName, LockView)>, CommandError> {
    let answered = session.ask(Verb::Check, session.caller().check(name, limit)).await?;
    Ok(match answered.answer {
        Answer::Held(view) => Some((name.clone(), view)),
        _ => None,
    })
}

fn unexpected(verb: Verb) -> CommandError {
    CommandError::new(Kind::Internal, format!("the coordinator's answer is none to {}", verb.as_str()))
}
