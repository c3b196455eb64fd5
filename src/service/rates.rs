//! How often each owner may ask: a pure limiter, without a clock of its own.
//!
//! One task serves all owners in the order in which their requests arrive, so an owner that sends more than its
//! share would make the others wait. What it sends beyond that is refused by its subject alone.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::types::{OWNER_BYTES_MAX, Timestamp};
use crate::wire::subject::Verb;

/// So many owners are told apart. When more ask at the same time, the others share one allowance.
const OWNERS_MAX: usize = 10_000;
/// How much of its rate an owner may use at once.
const BURST: Duration = Duration::from_secs(1);
/// How often an owner is told that it asks too often. The other refusals stay unsent.
const TOLD_EVERY: Duration = Duration::from_millis(100);
/// A larger body costs as much as several requests.
const BODY_BYTES_PER_REQUEST: usize = 1_024;
/// So does a look at all locks.
const REQUESTS_PER_LIST: u32 = 20;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is served.
    Serve,
    /// It is refused, and its owner is told.
    Refuse {
        /// When it would be served.
        retry_after: Duration,
        /// What is allowed.
        per_second: u32,
    },
    /// It is refused without a word.
    Drop,
}

/// As how many requests one counts, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost(pub(super) u32);

impl Cost {
    /// By the word and the size of the body: what `SubjectSpace::asked` says, and its bytes.
    pub(super) fn of(asked: Option<(&str, &str)>, bytes: usize) -> Self {
        let body = u32::try_from(bytes / BODY_BYTES_PER_REQUEST).unwrap_or(u32::MAX);
        let looks =
            asked.is_some_and(|(word, _)| [Verb::List, Verb::Stats].iter().any(|v| v.as_str() == word));
        Self(body.saturating_add(if looks { REQUESTS_PER_LIST } else { 1 }))
    }
}

/// The allowance of one owner: the instants at which what it has used is made up for.
#[derive(Debug, Clone, Copy, Default)]
struct Allowance {
    used_until: Option<Timestamp>,
    told_until: Option<Timestamp>,
}

/// The allowances of all owners.
#[derive(Debug)]
pub(super) struct Rates {
    /// None: every request is served.
    per_second: Option<NonZeroU32>,
    owners: HashMap<Box<str>, Allowance>,
    /// Of the owners that there is no place for.
    others: Allowance,
    /// No place is looked for before this instant.
    full_until: Option<Timestamp>,
    over: u64,
    /// How many there have to be before the log tells of it again.
    worth_telling: u64,
}

impl Rates {
    /// Each owner may send so many requests a second.
    pub(super) fn new(per_second: Option<NonZeroU32>) -> Self {
        Self {
            per_second,
            owners: HashMap::new(),
            others: Allowance::default(),
            full_until: None,
            over: 0,
            worth_telling: 1,
        }
    }

    /// Whether there is a rate at all.
    pub(super) const fn are_limited(&self) -> bool {
        self.per_second.is_some()
    }

    /// How many requests were over a rate, where that has doubled since it was told last: nobody fills the log.
    pub(super) fn worth_a_line(&mut self) -> Option<u64> {
        let told = (self.over >= self.worth_telling).then_some(self.over);
        self.worth_telling = told.map_or(self.worth_telling, |over| over * 2);
        told
    }

    /// Whether this owner may have a request of such a cost served now.
    pub(super) fn judge(&mut self, now: Timestamp, owner: &str, cost: Cost) -> Verdict {
        let Some(per_second) = self.per_second.map(NonZeroU32::get) else { return Verdict::Serve };
        let verdict = self.allowance(now, owner).judge(now, per_second, cost);
        self.over += u64::from(verdict != Verdict::Serve);
        verdict
    }

    fn allowance(&mut self, now: Timestamp, owner: &str) -> &mut Allowance {
        if !self.owners.contains_key(owner) {
            if !self.has_place(now) || owner.len() > OWNER_BYTES_MAX {
                return &mut self.others;
            }
            self.owners.insert(owner.into(), Allowance::default());
        }
        self.owners.get_mut(owner).unwrap_or(&mut self.others)
    }

    /// Makes room by forgetting those who have used nothing lately; they would be judged the same.
    fn has_place(&mut self, now: Timestamp) -> bool {
        if self.owners.len() < OWNERS_MAX {
            return true;
        }
        if self.full_until.is_some_and(|until| now < until) {
            return false;
        }
        self.owners.retain(|_, allowance| allowance.used_until.is_some_and(|until| until > now));
        self.full_until = Some(now + BURST);
        self.owners.len() < OWNERS_MAX
    }
}

impl Allowance {
    fn judge(&mut self, now: Timestamp, per_second: u32, cost: Cost) -> Verdict {
        // A request that costs more than a burst is served where a whole burst is left.
        let price = Duration::from_secs(1) * cost.0.min(per_second) / per_second;
        let used_until = self.used_until.unwrap_or(now).max(now) + price;
        let ahead = used_until.since(now);
        if ahead <= BURST {
            self.used_until = Some(used_until);
            return Verdict::Serve;
        }
        if self.told_until.is_some_and(|until| now < until) {
            return Verdict::Drop;
        }
        self.told_until = Some(now + TOLD_EVERY);
        // Rounded up, or the repeat would come a moment too early.
        let retry_after = Duration::from_millis(u64::try_from((ahead - BURST).as_millis()).unwrap_or(0) + 1);
        Verdict::Refuse { retry_after, per_second }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::subject::SubjectSpace;

    const ONE: Cost = Cost(1);

    fn rates(per_second: u32) -> Rates {
        Rates::new(NonZeroU32::new(per_second))
    }

    fn served(rates: &mut Rates, ms: u64, owner: &str, cost: Cost) -> bool {
        rates.judge(Timestamp::from_millis(ms), owner, cost) == Verdict::Serve
    }

    #[test]
    fn without_a_rate_everything_is_served() {
        let mut rates = rates(0);
        assert!((0..1_000).all(|_| served(&mut rates, 0, "eve", Cost(u32::MAX))));
        assert!(rates.owners.is_empty() && rates.worth_a_line().is_none());
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut rates = rates(10);
        let count = |rates: &mut Rates, ms| (0..50).filter(|_| served(rates, ms, "eve", ONE)).count();
        assert_eq!(count(&mut rates, 1_000), 10);
        assert_eq!(count(&mut rates, 1_099), 0);
        assert_eq!(count(&mut rates, 1_100), 1);
        assert_eq!(count(&mut rates, 9_000), 10, "no more than a burst is saved");
        assert_eq!((rates.worth_a_line(), rates.worth_a_line()), (Some(50 * 4 - 21), None));
    }

    #[test]
    fn over_any_time_no_more_than_the_rate_and_a_burst_is_served() {
        let mut rates = rates(100);
        let served = (0..10_000).filter(|ms| served(&mut rates, *ms, "eve", ONE)).count();
        assert_eq!(served, 1_000 + 99);
    }

    #[test]
    fn owners_do_not_pay_for_each_other() {
        let mut rates = rates(10);
        assert!((0..100).filter(|_| served(&mut rates, 0, "eve", ONE)).count() == 10);
        assert!((0..10).all(|_| served(&mut rates, 0, "alice", ONE)));
    }

    #[test]
    fn a_refusal_tells_when_to_come_back_and_is_told_seldom() {
        let mut rates = rates(10);
        let mut judge = |ms| rates.judge(Timestamp::from_millis(ms), "eve", Cost(10));
        assert_eq!(judge(0), Verdict::Serve);
        let Verdict::Refuse { retry_after, per_second: 10 } = judge(400) else { panic!("it was not told") };
        assert_eq!(judge(499), Verdict::Drop);
        assert!(matches!(judge(500), Verdict::Refuse { .. }));
        assert_eq!(judge(400 + u64::try_from(retry_after.as_millis()).unwrap()), Verdict::Serve);
    }

    #[test]
    fn what_costs_more_than_a_burst_waits_for_a_whole_one() {
        let mut rates = rates(10);
        assert!(served(&mut rates, 0, "eve", Cost(1_000)));
        assert!(!served(&mut rates, 999, "eve", Cost(1_000)));
        assert!(served(&mut rates, 1_000, "eve", Cost(1_000)));
    }

    #[test]
    fn large_bodies_and_looks_at_all_locks_cost_more() {
        let space = SubjectSpace::new("prod".parse().unwrap());
        let cost = |subject: &str, bytes: usize| Cost::of(space.asked(subject), bytes).0;
        assert_eq!(cost("natslock.prod.acquire.eve.a", 100), 1);
        assert_eq!(cost("natslock.prod.renew.eve", 64 * 1_024), 65);
        assert_eq!((cost("natslock.prod.list.eve", 0), cost("natslock.prod.stats-0.eve", 0)), (20, 20));
        assert_eq!((cost("natslock.prod.x", 0), cost("x", 0)), (1, 1));
    }

    #[test]
    fn a_crowd_of_owners_is_bounded_and_forgotten() {
        let mut rates = rates(10);
        for number in 0..OWNERS_MAX {
            assert!(served(&mut rates, 0, &format!("o{number}"), ONE));
        }
        let late = (0..100).filter(|number| served(&mut rates, 50, &format!("late{number}"), ONE)).count();
        assert_eq!((late, rates.owners.len()), (10, OWNERS_MAX), "those without a place share one");
        assert!(served(&mut rates, 5_000, "later", ONE));
        assert_eq!(rates.owners.len(), 1);
        assert!(served(&mut rates, 5_000, &"x".repeat(5_000), ONE));
        assert_eq!(rates.owners.len(), 1, "no owner has such a name");
    }
}
