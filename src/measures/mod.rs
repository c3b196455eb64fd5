//! The figures that a lock service owes its users: how long acquiring, waiting and releasing take, how often
//! requests meet, who is busy. Pure: facts of the engine go in, figures come out, no clock is read.
//!
//! ```text
//!  engine::fact::Fact --> Measures --> stats (the verb)      `Measures::stats`
//!                            |-------> Prometheus text       `exposition`
//!                            '-------> the last minutes      `Measures::recent`
//! ```
//!
//! The memory is bounded whatever happens: one `Sums` for the whole shard, one for each of the busiest names
//! ([`NAMES_MAX`]), and a ring of seconds.

mod busiest;
pub mod exposition;
mod recent;
mod spread;
mod sums;

use std::time::Duration;

use crate::engine::Census;
use crate::engine::fact::{Fact, Happening};
use crate::engine::message::Code;
use crate::types::{LockName, Timestamp, WallTime};
use crate::wire::stats::Stats;
use crate::wire::subject::Verb;

use self::busiest::Busiest;
use self::recent::Recent;
use self::sums::Sums;

pub use self::busiest::NAMES_MAX;
pub use self::recent::{RECENT_SECONDS, Second};

/// Everything that is counted of one shard, from the coordinator's start on and over all its terms.
#[derive(Debug)]
pub struct Measures {
    since: WallTime,
    total: Sums,
    busiest: Busiest,
    recent: Recent,
    requests: [Requests; Verb::ALL.len()],
}

/// The requests with one verb.
#[derive(Debug, Clone, Copy, Default)]
pub struct Requests {
    /// All that could be read that far.
    pub count: u64,
    /// Those that made no sense.
    pub rejected: u64,
    /// Why the latest of them made none.
    pub last: Option<Code>,
    /// How long those took of which that is counted (acquire and release), all together.
    pub took: Duration,
}

impl Measures {
    /// Nothing has been counted yet; the counting begins now.
    pub fn new(since: WallTime) -> Self {
        Self {
            since,
            total: Sums::default(),
            busiest: Busiest::default(),
            recent: Recent::default(),
            requests: [Requests::default(); Verb::ALL.len()],
        }
    }

    /// Takes a fact in.
    pub fn observe(&mut self, fact: &Fact) {
        self.total.add(fact.what);
        self.recent.add(fact.at, fact.what);
        let Some(name) = &fact.name else { return };
        let sums = match fact.what {
            Happening::Asked { .. } => Some(self.busiest.asked(fact.at, name)),
            _ => self.busiest.get_mut(name),
        };
        if let Some(sums) = sums {
            sums.add(fact.what);
        }
    }

    /// A request was refused before it came to the engine.
    pub fn refused(&mut self, at: Timestamp, name: Option<&LockName>, code: Code) {
        self.observe(&Fact { at, name: name.cloned(), what: Happening::Refused(code) });
    }

    /// A request has arrived and could be read that far.
    pub const fn asked(&mut self, verb: Verb) {
        self.requests[verb as usize].count += 1;
    }

    /// A request of this verb made no sense.
    pub const fn rejected(&mut self, verb: Verb, code: Code) {
        let requests = &mut self.requests[verb as usize];
        requests.rejected += 1;
        requests.last = Some(code);
    }

    /// The requests of each verb.
    pub fn requests(&self) -> impl Iterator<Item = (Verb, Requests)> {
        Verb::ALL.into_iter().zip(self.requests).map(|(verb, requests)| {
            let took = match verb {
                Verb::Acquire => self.total.acquire.sum(),
                Verb::Release => self.total.release.sum(),
                _ => Duration::ZERO,
            };
            (verb, Requests { took, ..requests })
        })
    }

    /// Since when all this is counted.
    pub const fn since(&self) -> WallTime {
        self.since
    }

    /// The coordinator has taken over. That concerns every lock.
    pub fn took_over(&mut self) {
        self.total.takeovers += 1;
        self.busiest.took_over();
    }

    /// The answer to the verb `stats`: the whole, and the busiest of the names that begin with `prefix`, the
    /// busiest first. `census` says how many hold and wait: all together, and of one name.
    pub fn stats(
        &self,
        prefix: &str,
        top: usize,
        all: Census,
        census: impl Fn(&LockName) -> Census,
    ) -> Stats {
        let busiest = self.busiest.in_order().filter(|(name, _)| name.as_str().starts_with(prefix));
        let locks = busiest.take(top).map(|(name, sums)| (name.clone(), sums.figures(census(name))));
        Stats { since: self.since, total: self.total.figures(all), locks: locks.collect() }
    }

    /// The last minutes, second by second, the latest last; it is brought up to `now` first.
    pub fn recent(&mut self, now: Timestamp) -> Vec<Second> {
        self.recent.up_to(now)
    }
}
