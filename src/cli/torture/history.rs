//! What all workers have told, and what was done to them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::event::Event;

/// A worker process; one that is started again is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct WorkerId(pub(super) u64);

/// For so long a worker believed that it held a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Belief {
    pub(super) worker: WorkerId,
    pub(super) lock: String,
    pub(super) token: u64,
    pub(super) ttl: Duration,
    pub(super) asked: u64,
    pub(super) from: u64,
    /// Not included.
    pub(super) until: u64,
    pub(super) end: End,
}

/// How a belief ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Not yet, or with its process.
    Open,
    Released,
    /// By itself, and why.
    Lost(String),
}

/// Something was done to a worker: what it loses meanwhile, it loses by that.
#[derive(Debug)]
struct Disturbance {
    worker: WorkerId,
    from: u64,
    until: u64,
}

#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) beliefs: Vec<Belief>,
    /// Requests that ended without a lock, by reason.
    pub(super) failures: BTreeMap<String, u64>,
    open: HashMap<(WorkerId, u64), usize>,
    disturbances: Vec<Disturbance>,
}

impl History {
    pub(super) fn tell(&mut self, worker: WorkerId, event: Event) {
        match event {
            Event::Granted { hold, lock, token, ttl_ms, asked, from, until } => {
                self.open.insert((worker, hold), self.beliefs.len());
                let (ttl, end) = (Duration::from_millis(ttl_ms), End::Open);
                self.beliefs.push(Belief { worker, lock, token, ttl, asked, from, until, end });
            }
            Event::Extended { hold, until } => {
                if let Some(index) = self.open.get(&(worker, hold)) {
                    self.beliefs[*index].until = until;
                }
            }
            Event::Ended { hold, until, lost } => {
                if let Some(index) = self.open.remove(&(worker, hold)) {
                    self.beliefs[index].until = until;
                    self.beliefs[index].end = lost.map_or(End::Released, End::Lost);
                }
            }
            Event::Failed { why, .. } => *self.failures.entry(why).or_default() += 1,
        }
    }

    /// The process is dead, and was alive until then: from then on it believes nothing.
    pub(super) fn died(&mut self, worker: WorkerId, at: u64) {
        for belief in self.beliefs.iter_mut().filter(|belief| belief.worker == worker) {
            if belief.end == End::Open {
                belief.until = belief.until.min(at);
            }
        }
        self.open.retain(|(owner, _), _| *owner != worker);
    }

    /// The process was stopped or cut off.
    pub(super) fn disturbed(&mut self, worker: WorkerId, from: u64, until: u64) {
        self.disturbances.push(Disturbance { worker, from, until });
    }

    /// Whether something was done to the worker that can have cost it this lease.
    pub(super) fn is_excused(&self, belief: &Belief) -> bool {
        let ttl = u64::try_from(belief.ttl.as_nanos()).unwrap_or(u64::MAX);
        self.was_disturbed(belief.worker, belief.until.saturating_sub(ttl), belief.until)
    }

    /// Whether something was done to the worker that can have cost it its place in the queue.
    pub(super) fn was_disturbed_waiting(&self, belief: &Belief) -> bool {
        self.was_disturbed(belief.worker, belief.asked, belief.from)
    }

    fn was_disturbed(&self, worker: WorkerId, from: u64, until: u64) -> bool {
        let touches = |done: &Disturbance| done.worker == worker && done.from <= until && done.until >= from;
        self.disturbances.iter().any(touches)
    }

    /// Who holds the lock, as far as it has told.
    pub(super) fn holder(&self, lock: &str) -> Option<WorkerId> {
        let held = self.open.values().map(|index| &self.beliefs[*index]).filter(|held| held.lock == lock);
        held.max_by_key(|held| held.from).map(|held| held.worker)
    }

    /// How many locks whose names begin so are held.
    pub(super) fn held(&self, prefix: &str) -> usize {
        self.open.values().filter(|index| self.beliefs[**index].lock.starts_with(prefix)).count()
    }

    /// The first grant of a lock whose name begins so, of those that were asked for after `at`.
    pub(super) fn granted(&self, prefix: &str, at: u64) -> Option<u64> {
        let after =
            self.beliefs.iter().filter(|belief| belief.asked >= at && belief.lock.starts_with(prefix));
        after.map(|belief| belief.from).min()
    }

    /// The first grant of this lock after `at`, whenever it was asked for.
    pub(super) fn next_granted(&self, lock: &str, at: u64) -> Option<u64> {
        let after = self.beliefs.iter().filter(|belief| belief.from >= at && belief.lock == lock);
        after.map(|belief| belief.from).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(hold: u64, until: u64) -> Event {
        Event::Granted { hold, lock: "hot.0".into(), token: 256, ttl_ms: 1, asked: 1, from: 2, until }
    }

    #[test]
    fn a_belief_ends_with_its_process_or_its_deadline() {
        let mut history = History::default();
        let (one, two) = (WorkerId(1), WorkerId(2));
        history.tell(one, granted(0, 10));
        history.tell(two, granted(0, 10));
        history.tell(two, Event::Extended { hold: 0, until: 30 });
        history.died(one, 50);
        history.died(two, 20);
        assert_eq!(history.beliefs.iter().map(|belief| belief.until).collect::<Vec<_>>(), [10, 20]);
        assert_eq!(history.holder("hot.0"), None);
    }

    #[test]
    fn a_loss_is_excused_by_what_was_done_to_the_worker_just_before() {
        let mut history = History::default();
        history.tell(WorkerId(1), granted(0, 10_000_000));
        let lost = history.beliefs[0].clone();
        history.disturbed(WorkerId(1), 1, 8_999_999);
        assert!(!history.is_excused(&lost), "longer ago than the lease time");
        history.disturbed(WorkerId(1), 1, 9_000_000);
        assert!(history.is_excused(&lost));
        assert!(!history.is_excused(&Belief { worker: WorkerId(2), ..lost }));
    }
}
