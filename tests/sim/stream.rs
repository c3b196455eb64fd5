//! The modelled JetStream: the real rules of the store, and everything that may happen around them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use natslock::engine::message::WriteOutcome;
use natslock::store::{Batch, Entry, StoreCore, Write};
use natslock::types::{AttemptId, Key, LockName, Revision, Timestamp};
use natslock::wire::record::{EpochRecord, LeaseRecord, decode_lock};

use super::clock::{MS, SECOND, WALL_AHEAD_MS};
use super::coordinator::{Done, Input};
use super::witness::Loss;
use super::world::{Event, World};

/// How many old records a stale answer may come from.
pub(super) const HISTORY: usize = 40;

#[derive(Debug, Clone)]
pub(super) enum Op {
    Write(Write),
    Batch(Batch),
    ReadEpoch,
    ReadLease { epoch: Option<(Revision, EpochRecord)> },
    ReadAt(Revision),
    Identify,
    Follow,
}

/// What the answer is for.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    Lock { term: u64, name: LockName, attempt: AttemptId, after: Revision },
    Batch { term: u64, attempt: AttemptId, after: Revision },
    Takeover,
    Lease { term: u64, after: Revision },
    Shard,
    LeaseRead(Revision),
    Identity,
    Follow { term: u64 },
}

/// One call of a coordinator's process.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) node: usize,
    pub(super) inc: u32,
    pub(super) purpose: Purpose,
    /// The highest revision that its process knew of when it sent it.
    pub(super) knew: Revision,
}

#[derive(Debug)]
pub(super) struct Follower {
    pub(super) node: usize,
    pub(super) inc: u32,
    pub(super) term: u64,
    pub(super) position: Revision,
    pub(super) armed: bool,
}

pub(super) struct Stream {
    pub(super) core: StoreCore,
    pub(super) identity: u64,
    /// Counts the times at which it went back or was made again.
    pub(super) generation: u32,
    pub(super) stalled_until: u64,
    pub(super) consumers_until: u64,
    /// Until when some writes meet a server that does not know the latest records.
    pub(super) sleeper_until: u64,
    pub(super) deleted_until: Option<u64>,
    pub(super) followers: BTreeMap<u64, Follower>,
    late: BTreeMap<Key, usize>,
    pub(super) history: VecDeque<(Key, Entry)>,
    snapshots: VecDeque<StoreCore>,
}

impl Stream {
    pub(super) fn new() -> Self {
        Self {
            core: StoreCore::starting_at(Revision::new(WALL_AHEAD_MS * 8)),
            identity: 1,
            generation: 0,
            stalled_until: 0,
            consumers_until: 0,
            sleeper_until: 0,
            deleted_until: None,
            followers: BTreeMap::new(),
            late: BTreeMap::new(),
            history: VecDeque::new(),
            snapshots: VecDeque::new(),
        }
    }

    pub(super) fn heal(&mut self, now: u64) {
        self.stalled_until = self.stalled_until.min(now);
        self.consumers_until = self.consumers_until.min(now);
        self.sleeper_until = self.sleeper_until.min(now);
    }

    fn stale(&self, key: &Key, cutoff: usize) -> Option<Entry> {
        let old = self.history.iter().take(cutoff).rev().find(|(written, _)| written == key);
        old.map(|(_, entry)| entry.clone())
    }
}

pub(super) fn time(now: u64) -> Timestamp {
    Timestamp::from_boot(std::time::Duration::from_micros(now))
}

fn keys(op: &Op) -> Vec<Key> {
    match op {
        Op::Write(write) => vec![write.key.clone()],
        Op::Batch(batch) => batch.writes.iter().map(|write| write.key.clone()).collect(),
        _ => Vec::new(),
    }
}

impl World {
    /// A coordinator calls the store; its own clock gives up after two seconds.
    pub(super) fn call(&mut self, node: usize, purpose: Purpose, op: Op) {
        self.calls += 1;
        let knew = self.coords[node].knew;
        let call = Call { id: self.calls, node, inc: self.nodes[node].inc, purpose, knew };
        self.coords[node].pending.insert(call.id);
        let departs = self.now.max(self.nodes[node].paused_until);
        self.at(departs + 2 * SECOND, Event::TimedOut(call.clone()));
        if self.script.loses(node, &call.purpose) {
            return;
        }
        if let Some(arrives) = self.leg_up(node) {
            self.at(arrives, Event::AtStream { call, op, late: false });
        }
    }

    pub(super) fn answer(&mut self, call: Call, done: Done) {
        if let Some(arrives) = self.leg_down(call.node, self.now) {
            self.at(arrives, Event::Done { call, done });
        }
    }

    pub(super) fn at_stream(&mut self, call: Call, op: Op, late: bool) {
        if let Some(until) = self.stream.deleted_until {
            if until <= self.now {
                self.make_again();
            } else {
                return self.refuse_op(call, &op);
            }
        }
        if late {
            for key in keys(&op) {
                let count = self.stream.late.entry(key).or_insert(1);
                *count = count.saturating_sub(1);
            }
        }
        if matches!(op, Op::Write(_) | Op::Batch(_)) {
            self.write_op(call, op, late);
        } else {
            self.read_op(call, op);
        }
    }

    fn refuse_op(&mut self, call: Call, op: &Op) {
        let done = match op {
            Op::Write(_) | Op::Batch(_) => Done::Written(WriteOutcome::NotNow),
            _ => Done::Failed,
        };
        self.answer(call, done);
    }

    fn write_op(&mut self, call: Call, op: Op, late: bool) {
        if !late && !self.healed {
            if let Some(lateness) = self.script.lateness(&op) {
                return self.delay_op(call, op, self.now + lateness);
            }
            if self.now < self.stream.stalled_until {
                return match self.rng.below(4) {
                    0 | 1 => self.answer(call, Done::Written(WriteOutcome::NotNow)),
                    2 => self.delay_op_somehow(call, op),
                    _ => {}
                };
            }
            let in_flight = keys(&op).iter().any(|key| self.stream.late.get(key).is_some_and(|n| *n > 0));
            if (in_flight && (self.scripted || self.rng.percent(50)))
                || (self.mix.not_now && self.rng.percent(3))
            {
                return self.answer(call, Done::Written(WriteOutcome::NotNow));
            }
            let sleeps = self.now < self.stream.sleeper_until && self.rng.percent(50);
            if sleeps || self.script.denies(&op) {
                return self.deny(call, &op);
            }
            if self.mix.spurious && self.rng.percent(2) {
                // 10071 of a replicated stream without any write in between (server issue 7281).
                return self.answer(call, Done::Written(WriteOutcome::Mismatch(None)));
            }
            let heavy = matches!(op, Op::Batch(_)) as u64 * 10;
            if self.mix.late_write && self.rng.percent(3 + heavy) {
                return self.delay_op_somehow(call, op);
            }
        }
        let outcome = self.apply(&op);
        let lost = !self.healed && self.mix.lost_ack && self.rng.percent(4);
        let lost = lost || self.script.loses_ack(&call.purpose);
        self.stats.faults += u64::from(lost);
        if !late && !lost {
            let late = self.script.ack_lateness(&call.purpose);
            let done = Done::Written(outcome);
            if late > 0 {
                self.at(self.now + late, Event::Done { call, done })
            } else {
                self.answer(call, done)
            }
        }
    }

    /// A server that was the stream's leader answers by the record before the latest; what it would accept it
    /// cannot store without the others, so nothing is heard of that.
    fn deny(&mut self, call: Call, op: &Op) {
        let Op::Write(write) = op else { return };
        let of_key = self.stream.history.iter().rev().filter(|(key, _)| *key == write.key);
        let known = of_key.map(|(_, entry)| entry.revision).nth(1).unwrap_or(Revision::NONE);
        // One that slept since before the first takeover is left out: guarantees.md says what it does.
        if write.key == Key::Lease && known == Revision::NONE {
            return;
        }
        self.stats.denials += 1;
        if write.expected != Some(known) {
            self.answer(call, Done::Written(WriteOutcome::Mismatch(Some(known))));
        }
    }

    /// Nothing is heard of this copy, and it is carried out later.
    fn delay_op(&mut self, call: Call, op: Op, lands: u64) {
        self.stats.faults += 1;
        for key in keys(&op) {
            *self.stream.late.entry(key).or_insert(0) += 1;
        }
        self.at(lands, Event::AtStream { call, op, late: true });
    }

    fn delay_op_somehow(&mut self, call: Call, op: Op) {
        let lands = self.now.max(self.stream.stalled_until) + self.rng.range(100 * MS, 9 * SECOND);
        self.delay_op(call, op, lands);
    }

    fn apply(&mut self, op: &Op) -> WriteOutcome {
        let now = time(self.now);
        let writes: Vec<Write> = match op {
            Op::Write(write) => vec![write.clone()],
            Op::Batch(batch) => batch.writes.clone(),
            _ => Vec::new(),
        };
        let lease_before = self.stream.core.read(now, &Key::Lease);
        let before: Vec<_> = writes.iter().map(|write| self.stream.core.read(now, &write.key)).collect();
        if self.mix.rollback {
            self.stream.snapshots.push_back(self.stream.core.clone());
            if self.stream.snapshots.len() > HISTORY {
                self.stream.snapshots.pop_front();
            }
        }
        let outcome = match op {
            Op::Write(write) => self.stream.core.apply(now, write),
            Op::Batch(batch) => self.stream.core.apply_batch(now, batch),
            _ => WriteOutcome::NotNow,
        };
        self.tell(|| format!("store: {:?} {outcome:?}", keys(op)));
        if let (WriteOutcome::Mismatch(Some(Revision::NONE)), Op::Write(write)) = (outcome, op) {
            // A free record that the store has removed by itself was expected.
            let removed = write.expected > Some(Revision::NONE) && matches!(write.key, Key::Lock(_));
            self.stats.removed += u64::from(removed);
        }
        if !matches!(outcome, WriteOutcome::Acknowledged(_)) {
            return outcome;
        }
        let guarded = matches!(op, Op::Batch(_));
        for (write, before) in writes.into_iter().zip(before) {
            let Some(entry) = self.stream.core.read(now, &write.key) else { continue };
            let made = (self.stream.generation, self.stream.identity);
            self.witness.made.insert(entry.revision, made);
            self.stream.history.push_back((write.key.clone(), entry.clone()));
            if self.stream.history.len() > HISTORY {
                self.stream.history.pop_front();
            }
            match write.key {
                Key::Lock(name) => self.witness_write(&name, before, &entry, guarded),
                Key::Epoch => self.note_takeover(entry.revision, lease_before.as_ref()),
                _ => {}
            }
        }
        self.wake_followers();
        outcome
    }

    fn witness_write(&mut self, name: &LockName, before: Option<Entry>, entry: &Entry, guarded: bool) {
        let decode = |value: &Option<Bytes>| value.as_deref().map(|value| decode_lock(value).unwrap());
        let before = before.and_then(|before| decode(&before.value).map(|record| (before.revision, record)));
        let Some(after) = decode(&entry.value) else { return };
        self.tell(|| {
            let short = |r: &natslock::engine::message::LockRecord| {
                r.holders.iter().map(|h| format!("{:?}", h.id)).collect::<Vec<_>>().join(" ")
            };
            format!("store: {} = [{}] at {}", name.as_str(), short(&after), entry.revision)
        });
        let verdict = self.stored(name, before.as_ref(), (entry.revision, &after), guarded);
        self.judge(verdict);
    }

    fn read_op(&mut self, call: Call, op: Op) {
        let down = self.now < self.stream.stalled_until && self.rng.percent(50);
        let stale = !self.healed && self.mix.stale_read && self.rng.percent(30);
        if down {
            return self.answer(call, Done::Failed);
        }
        let cutoff = usize::try_from(self.rng.below(HISTORY as u64)).unwrap();
        let now = time(self.now);
        let mut read = |key: &Key| {
            if stale { self.stream.stale(key, cutoff) } else { self.stream.core.read(now, key) }
        };
        match op {
            Op::ReadEpoch => {
                let decode =
                    |entry: Entry| (entry.revision, EpochRecord::decode(&entry.value.unwrap()).unwrap());
                let epoch = read(&Key::Epoch).map(decode);
                let pause = self.rng.range(200, 3 * MS);
                let op = Op::ReadLease { epoch };
                self.at(self.now + pause, Event::AtStream { call, op, late: false });
            }
            Op::ReadLease { epoch } => {
                let decode =
                    |entry: Entry| (entry.revision, LeaseRecord::decode(&entry.value.unwrap()).unwrap());
                let lease = read(&Key::Lease).map(decode);
                self.answer(call, Done::Shard { epoch, lease });
            }
            Op::ReadAt(revision) => {
                let entry = if stale { None } else { self.stream.core.read_at(now, revision) };
                let record = entry.and_then(|entry| LeaseRecord::decode(&entry.value?).ok());
                self.answer(call, Done::Lease(record));
            }
            Op::Identify => {
                let identity = self.stream.identity;
                self.answer(call, Done::Identity(identity));
            }
            Op::Follow => self.follow(call),
            Op::Write(_) | Op::Batch(_) => {}
        }
    }

    // -- storage that goes back --

    pub(super) fn roll_back(&mut self) {
        if self.stream.snapshots.len() < 2 || self.stream.deleted_until.is_some() {
            return;
        }
        let index = usize::try_from(self.rng.below(self.stream.snapshots.len() as u64)).unwrap();
        self.go_back_to(index);
    }

    /// The last so many writes are lost.
    pub(super) fn go_back_by(&mut self, writes: usize) {
        self.go_back_to(self.stream.snapshots.len() - writes);
    }

    fn go_back_to(&mut self, index: usize) {
        self.stream.snapshots.truncate(index + 1);
        let Some(mut core) = self.stream.snapshots.pop_back() else { return };
        let (from, to) = (self.stream.core.last(), core.last());
        if from == to {
            return;
        }
        self.tell(|| format!("the stream goes back from {from} to {to}"));
        let now = time(self.now);
        let epoch = |core: &mut StoreCore| core.read(now, &Key::Epoch).map(|entry| entry.revision);
        let took_over = epoch(&mut core) != epoch(&mut self.stream.core);
        self.stream.core = core;
        self.stream.history.clear();
        self.new_generation(Loss { kept_up_to: to, took_over, again: false });
    }

    pub(super) fn recreate(&mut self, span: u64) {
        if self.stream.deleted_until.is_none() {
            self.tell(|| "the bucket is deleted".into());
            self.stream.deleted_until = Some(self.now + span);
        }
    }

    pub(super) fn make_again(&mut self) {
        self.stream.deleted_until = None;
        self.stream.identity += 1;
        let first = (WALL_AHEAD_MS + self.now / MS) * 8;
        self.stream.core = StoreCore::starting_at(Revision::new(first));
        self.stream.history.clear();
        self.stream.snapshots.clear();
        self.tell(|| format!("the bucket is made again, from {first}"));
        self.new_generation(Loss { kept_up_to: Revision::NONE, took_over: false, again: true });
    }

    fn new_generation(&mut self, loss: Loss) {
        self.stream.generation += 1;
        self.stats.orphans += self.witness.lose(self.stream.generation, loss);
        let followers: Vec<_> = self.stream.followers.values().map(|f| (f.node, f.inc, f.term)).collect();
        for (node, inc, term) in followers {
            self.at(self.now + MS, Event::ToCoordinator { node, inc, input: Input::Interrupted { term } });
        }
    }
}
