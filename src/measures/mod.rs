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
//! ([`NAMES_MAX`]), a ring of seconds, and a few facts that are not counted yet: they are before anybody is told.

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
    /// What is not counted yet, in order.
    pending: Vec<Fact>,
}

/// So many facts are counted together. One by one, each would find its figures displaced from the processor's caches
/// by the work in between.
const TOGETHER: usize = 128;

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
            pending: Vec::new(),
        }
    }

    /// Takes a fact in.
    pub fn observe(&mut self, fact: Fact) {
        self.pending.push(fact);
        if self.pending.len() >= TOGETHER {
            self.settle();
        }
    }

    /// Counts what is pending.
    fn settle(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        for fact in &pending {
            self.total.add(fact.what);
            self.recent.add(fact.at, fact.what);
        }
        if let Some(last) = pending.last() {
            self.busiest.halve(last.at);
        }
        // What follows each other is often about one lock, whose name is looked for once.
        for facts in pending.chunk_by(|one, other| one.name == other.name) {
            if let Some(name) = &facts[0].name {
                self.busiest.take_in(name, facts);
            }
        }
        pending.clear();
        self.pending = pending;
    }

    /// A request was refused before it came to the engine.
    pub fn refused(&mut self, at: Timestamp, name: Option<&LockName>, code: Code) {
        self.observe(Fact { at, name: name.cloned(), what: Happening::Refused(code) });
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
    pub fn requests(&mut self) -> [(Verb, Requests); Verb::ALL.len()] {
        self.settle();
        Verb::ALL.map(|verb| {
            let took = match verb {
                Verb::Acquire => self.total.acquire.sum(),
                Verb::Release => self.total.release.sum(),
                _ => Duration::ZERO,
            };
            (verb, Requests { took, ..self.requests[verb as usize] })
        })
    }

    /// Since when all this is counted.
    pub const fn since(&self) -> WallTime {
        self.since
    }

    /// The coordinator has taken over. That concerns every lock.
    pub fn took_over(&mut self) {
        self.settle();
        self.total.takeovers += 1;
        self.busiest.took_over();
    }

    /// The answer to the verb `stats`: the whole, and the busiest of the names that begin with `prefix`, the
    /// busiest first. `census` says how many hold and wait: all together, and of one name.
    pub fn stats(
        &mut self,
        prefix: &str,
        top: usize,
        all: Census,
        census: impl Fn(&LockName) -> Census,
    ) -> Stats {
        self.settle();
        let busiest = self.busiest.in_order().filter(|(name, _)| name.as_str().starts_with(prefix));
        let locks = busiest.take(top).map(|(name, sums)| (name.clone(), sums.figures(census(name))));
        Stats { since: self.since, total: self.total.figures(all), locks: locks.collect() }
    }

    /// The last minutes, second by second, the latest last; it is brought up to `now` first.
    pub fn recent(&mut self, now: Timestamp) -> Vec<Second> {
        self.settle();
        self.recent.up_to(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pending_is_counted_before_anybody_is_told() {
        let asked = |second: u64| Fact {
            at: Timestamp::from_millis(second * 1_000),
            name: LockName::encode("a").ok(),
            what: Happening::Asked { contended: false },
        };
        let mut measures = Measures::new(WallTime(0));
        measures.observe(asked(1));
        measures.observe(asked(2));
        let seconds = measures.recent(Timestamp::from_millis(3_000));
        assert_eq!(seconds.iter().map(|second| second.acquires).collect::<Vec<_>>(), [1, 1]);
        measures.observe(asked(3));
        let stats = measures.stats("", 1, Census::default(), |_| Census::default());
        assert_eq!((stats.total.acquires, stats.locks[0].1.acquires), (3, 3));
        let took = Duration::from_millis(5);
        let what = Happening::Granted { took, stood: None, wanted: true };
        measures.observe(Fact { what, ..asked(3) });
        let told = measures.requests().map(|(verb, requests)| (verb, requests.took));
        assert!(told.contains(&(Verb::Acquire, took)));
        (0..TOGETHER as u64).for_each(|second| measures.observe(asked(second)));
        assert!(measures.pending.len() < TOGETHER);
    }
}
