//! A coordinator: the real leadership and the real engine, driven as `src/service/shard.rs` drives them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use natslock::engine::message::{
    EntryContent, FREE_RECORD_TTL, GrantNumber, GuardedBatch, LockEntry, LockWrite, Now, Output, Request,
    WriteOutcome,
};
use natslock::engine::{Engine, Limits, invariants};
use natslock::mutant::{self, Mutant};
use natslock::service::leadership::{Action, Identity, Leadership, ShardRead};
use natslock::store::{Batch, Entry, Guard, Write};
use natslock::types::{CoordinatorId, Epoch, Key, Revision, Timestamp};
use natslock::wire::Format;
use natslock::wire::record::{EpochRecord, JournalRecord, LeaseRecord, decode_lock, encode_lock};
use natslock::wire::reply;

use super::clock::{MS, SECOND};
use super::net::{Asked, Msg, To};
use super::stream::{Call, Op, Purpose};
use super::world::{Event, World};

/// As in `src/service`.
const RESIGN_FOR: Duration = Duration::from_secs(3);

/// What arrives at a coordinator, besides answers of the store.
#[derive(Debug, Clone)]
pub(super) enum Input {
    Request(Asked),
    Beat { coordinator: CoordinatorId, epoch: Epoch },
    Notice(GrantNumber),
    Record { term: u64, entry: Entry },
    Interrupted { term: u64 },
    Subscribed { term: u64 },
    Refollow { term: u64 },
    Reidentify,
    Stop,
}

/// An answer of the store.
#[derive(Debug, Clone)]
pub(super) enum Done {
    Written(WriteOutcome),
    Shard {
        epoch: Option<(Revision, EpochRecord)>,
        lease: Option<(Revision, LeaseRecord)>,
    },
    Lease(Option<LeaseRecord>),
    Identity(u64),
    Following,
    /// An error, or no answer.
    Failed,
}

struct Serving {
    engine: Engine<To>,
    number: u64,
    subscribed: bool,
    identified: bool,
    loaded: bool,
}

pub(super) struct Coord {
    pub(super) me: CoordinatorId,
    leadership: Leadership,
    serving: Option<Serving>,
    /// Which store it was at the start of the process.
    identity: u64,
    terms: u64,
    /// Calls of the store without an answer.
    pub(super) pending: BTreeSet<u64>,
    stopping: Option<Timestamp>,
    over: bool,
    pub(super) quarantined: bool,
    /// The highest revision it was told of in each generation of the storage.
    pub(super) told: BTreeMap<u32, Revision>,
}

impl Coord {
    pub(super) fn new(me: u64, lease: Duration, identity: u64) -> Self {
        let me = CoordinatorId(me);
        let leadership =
            Leadership::new(Identity { coordinator: me, host: "sim".into(), pid: 1, leader_lease: lease });
        Self {
            me,
            leadership,
            serving: None,
            identity,
            terms: 0,
            pending: BTreeSet::new(),
            stopping: None,
            over: false,
            quarantined: false,
            told: BTreeMap::new(),
        }
    }

    pub(super) const fn identity(&self) -> u64 {
        self.identity
    }

    /// True where it thinks that it leads.
    pub(super) const fn leads(&self) -> bool {
        self.serving.is_some()
    }

    /// True where the server knows of its interest in requests.
    pub(super) fn listens(&self) -> bool {
        self.serving.as_ref().is_some_and(|serving| serving.subscribed)
    }

    pub(super) fn term(&self) -> Option<u64> {
        self.serving.as_ref().map(|serving| serving.number)
    }

    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.serving.as_ref().map(|serving| serving.engine.term().epoch)
    }

    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        let engine = self.serving.as_ref().and_then(|serving| serving.engine.poll_timeout());
        [self.leadership.poll_timeout(), engine, self.stopping].into_iter().flatten().min()
    }

    fn current(&mut self, term: u64) -> Option<&mut Serving> {
        self.serving.as_mut().filter(|serving| serving.number == term)
    }

    fn time(&mut self, now: Now) {
        self.leadership.handle_timeout(now.boot);
        if let Some(serving) = &mut self.serving {
            serving.engine.handle_timeout(now);
        }
    }

    fn done(&mut self, now: Now, purpose: Purpose, done: Done) {
        let written = match &done {
            Done::Written(outcome) => *outcome,
            _ => WriteOutcome::Unknown,
        };
        match (purpose, done) {
            (Purpose::Lock { term, name, attempt, after }, _) => {
                self.stored(term, after, written);
                if let Some(serving) = self.current(term) {
                    serving.engine.handle_written(now, &name, attempt, written);
                }
            }
            (Purpose::Batch { term, attempt, after }, _) => {
                self.stored(term, after, written);
                if let Some(serving) = self.current(term) {
                    serving.engine.handle_batch_written(now, attempt, written);
                }
            }
            (Purpose::Takeover, _) => self.leadership.handle_takeover(now.boot, written),
            (Purpose::Lease, _) => self.leadership.handle_lease_written(now.boot, written),
            (Purpose::Shard, Done::Shard { epoch, lease }) => {
                self.leadership.handle_shard_read(now.boot, Some(ShardRead { epoch, lease }));
            }
            (Purpose::Shard, _) => self.leadership.handle_shard_read(now.boot, None),
            (Purpose::LeaseRead(revision), Done::Lease(record)) => {
                self.leadership.handle_lease_read(now.boot, revision, record);
            }
            (Purpose::LeaseRead(revision), _) => {
                self.leadership.handle_lease_read(now.boot, revision, None);
            }
            (Purpose::Identity, Done::Identity(found)) => {
                self.leadership.handle_identity(found == self.identity);
                if let Some(serving) = &mut self.serving {
                    serving.identified = true;
                }
            }
            _ => {}
        }
    }

    fn stored(&mut self, term: u64, after: Revision, outcome: WriteOutcome) {
        let WriteOutcome::Acknowledged(revision) = outcome else { return };
        let Some(serving) = self.serving.as_mut().filter(|serving| serving.number == term) else { return };
        if let Some(why) = self.leadership.handle_stored(after, revision) {
            serving.engine.quarantine(why);
        }
    }

    /// A record; true where all is known now that was written before the term.
    fn record(&mut self, now: Now, term: u64, entry: Entry) -> bool {
        if self.term() != Some(term) {
            return false;
        }
        let Some(serving) = &mut self.serving else { return false };
        let Entry { key, revision, value } = entry;
        self.leadership.saw(revision);
        match key {
            Key::Lock(name) => {
                let content = match value.as_deref().map(decode_lock) {
                    None => EntryContent::Deleted,
                    Some(Ok(record)) => EntryContent::Record(record),
                    Some(Err(error)) => EntryContent::Garbled(error.to_string()),
                };
                serving.engine.handle_entry(now, LockEntry { name, revision, content });
            }
            Key::Epoch => {
                serving.engine.handle_delivered(now, revision);
                self.leadership.handle_epoch_seen(now.boot, revision);
            }
            Key::Lease | Key::Journal => serving.engine.handle_delivered(now, revision),
        }
        self.finish_loading()
    }

    fn finish_loading(&mut self) -> bool {
        let Some(serving) = &mut self.serving else { return false };
        if serving.loaded
            || !serving.identified
            || serving.engine.delivered() < serving.engine.term().epoch.revision()
        {
            return false;
        }
        serving.loaded = true;
        true
    }
}

fn lock_write(write: &LockWrite) -> Write {
    Write {
        key: Key::Lock(write.name.clone()),
        expected: Some(write.expected),
        value: encode_lock(&write.record),
        ttl_seconds: write.record.is_free().then_some(FREE_RECORD_TTL.as_secs()),
    }
}

fn guarded(epoch: Epoch, batch: &GuardedBatch) -> Batch {
    let journal = JournalRecord { attempt: batch.attempt, epoch, locks: batch.writes.len() };
    let guard = Guard { key: Key::Journal, value: journal.encode(), holds: (Key::Epoch, batch.guard) };
    let guard = (!mutant::is(Mutant::SkipEpochGuard)).then_some(guard);
    let mut writes: Vec<Write> = batch.writes.iter().map(lock_write).collect();
    if guard.is_none() {
        // The journal is still the last record: the revisions are counted from it.
        writes.push(Write { key: Key::Journal, expected: None, value: journal.encode(), ttl_seconds: None });
    }
    Batch { writes, guard }
}

impl World {
    pub(super) fn clocks(&self, node: usize) -> Now {
        self.nodes[node].clock.now(self.now)
    }

    /// One turn of the driver's loop: what is due first, then what has arrived.
    pub(super) fn turn(&mut self, node: usize, step: impl FnOnce(&mut Self, Now)) {
        let now = self.clocks(node);
        let due = |coord: &Coord| coord.next_timeout().is_some_and(|at| at <= now.boot);
        for _ in 0..50 {
            if !due(&self.coords[node]) || self.coords[node].over {
                break;
            }
            if self.coords[node].stopping.is_some_and(|until| until <= now.boot) {
                self.coords[node].over = true;
                break;
            }
            self.coords[node].time(now);
            self.act(node);
        }
        step(self, now);
        self.act(node);
        self.check_engine(node);
        if self.coords[node].over {
            self.take_down(node);
            let again = self.now + self.rng.range(500 * MS, 10 * SECOND);
            self.at(again, Event::Start { node });
            return;
        }
        self.arm(node);
    }

    fn check_engine(&mut self, node: usize) {
        if let Some(serving) = &self.coords[node].serving {
            let verdict = invariants::check(&serving.engine).map_err(|broken| broken.to_string());
            self.judge(verdict);
        }
    }

    pub(super) fn on_done(&mut self, call: Call, done: Done) {
        let node = call.node;
        if !self.coords[node].pending.remove(&call.id) {
            return;
        }
        if let Done::Written(WriteOutcome::Acknowledged(revision)) = &done {
            self.heard_of(node, *revision);
        }
        if let (Purpose::Follow { term }, Done::Failed) = (&call.purpose, &done) {
            let input = Input::Refollow { term: *term };
            self.at(self.now + 200 * MS, Event::ToCoordinator { node, inc: call.inc, input });
        }
        let asks_again = matches!((&call.purpose, &done), (Purpose::Identity, Done::Failed));
        self.turn(node, |world, now| {
            world.coords[node].done(now, call.purpose, done);
            if world.coords[node].finish_loading()
                && let Some(term) = world.coords[node].term()
            {
                world.subscribe(node, term);
            }
        });
        let unsure = self.coords[node].serving.as_ref().is_some_and(|serving| !serving.identified);
        if asks_again && unsure {
            let input = Input::Reidentify;
            self.at(self.now + 200 * MS, Event::ToCoordinator { node, inc: call.inc, input });
        }
    }

    pub(super) fn heard_of(&mut self, node: usize, revision: Revision) {
        let generation = self.stream.generation;
        let told = self.coords[node].told.entry(generation).or_insert(revision);
        *told = (*told).max(revision);
    }

    pub(super) fn on_input(&mut self, node: usize, input: Input) {
        self.turn(node, |world, now| match input {
            Input::Request(asked) => world.on_request(node, now, asked),
            Input::Beat { coordinator, epoch } if coordinator != world.coords[node].me => {
                world.coords[node].leadership.handle_heartbeat(now.boot, epoch);
            }
            Input::Beat { .. } => {}
            Input::Notice(number) => {
                if let Some(serving) = &mut world.coords[node].serving {
                    serving.engine.handle_undelivered(now, number);
                }
            }
            Input::Record { term, entry } => {
                world.heard_of(node, entry.revision);
                if world.coords[node].record(now, term, entry) {
                    world.subscribe(node, term);
                }
            }
            Input::Interrupted { term } => {
                if world.coords[node].term() == Some(term) {
                    world.call(node, Purpose::Identity, Op::Identify);
                }
            }
            Input::Subscribed { term } => {
                if let Some(serving) = world.coords[node].current(term) {
                    serving.subscribed = true;
                }
            }
            Input::Refollow { term } => {
                if world.coords[node].term() == Some(term) {
                    world.call(node, Purpose::Follow { term }, Op::Follow);
                }
            }
            Input::Reidentify => world.call(node, Purpose::Identity, Op::Identify),
            Input::Stop => world.stop(node, now),
        });
    }

    fn subscribe(&mut self, node: usize, term: u64) {
        let inc = self.nodes[node].inc;
        let at = self.now + self.rng.range(200, 2 * MS);
        self.at(at, Event::ToCoordinator { node, inc, input: Input::Subscribed { term } });
    }

    fn on_request(&mut self, node: usize, now: Now, asked: Asked) {
        let Some(serving) = &self.coords[node].serving else { return };
        if !serving.subscribed || !serving.engine.term().acts(now.boot) {
            return;
        }
        let (epoch, owner) = (serving.engine.term().epoch, self.owner(asked.to.node));
        self.queues.asked(epoch, &owner, (&asked.ask, asked.to), now.boot);
        if let Some(serving) = &mut self.coords[node].serving {
            serving.engine.handle(now, Request { owner, reply: Some(asked.to), ask: asked.ask });
        }
    }

    pub(super) fn act(&mut self, node: usize) {
        loop {
            let coord = &mut self.coords[node];
            if let Some(action) = coord.leadership.poll_action() {
                self.act_on(node, action);
            } else if let Some(output) = coord.serving.as_mut().and_then(|s| s.engine.poll_output()) {
                self.act_for_engine(node, output);
            } else {
                return;
            }
            if let Some(span) = self.nodes[node].pause_next.take() {
                // It stands still between the decision and the sending.
                self.nodes[node].paused_until = self.now + span;
            }
        }
    }

    fn act_for_engine(&mut self, node: usize, output: Output<To>) {
        let Some(serving) = &self.coords[node].serving else { return };
        let (term, epoch) = (serving.number, serving.engine.term().epoch);
        let after = self.coords[node].leadership.highest();
        match output {
            Output::Reply { to, reply } => {
                self.queues.answered(epoch, &reply, to);
                let body = reply::encode(Format::MessagePack, epoch, &reply);
                self.publish(node, Msg::Reply { to, body, notice: None });
            }
            Output::Grant { to, grant, number } => {
                let verdict = self.check_generation(node, &grant);
                self.judge(verdict);
                let body = reply::encode_grant(Format::MessagePack, epoch, &grant);
                let notice = Some((node, self.nodes[node].inc, number));
                self.publish(node, Msg::Reply { to, body, notice });
            }
            Output::Event(_) => {}
            Output::Write(write) => {
                self.check_order(node, epoch, std::slice::from_ref(&write));
                let (name, attempt) = (write.name.clone(), write.record.attempt);
                self.call(node, Purpose::Lock { term, name, attempt, after }, Op::Write(lock_write(&write)));
            }
            Output::Batch(batch) => {
                self.check_order(node, epoch, &batch.writes);
                let purpose = Purpose::Batch { term, attempt: batch.attempt, after };
                self.call(node, purpose, Op::Batch(guarded(epoch, &batch)));
            }
            Output::Confirm(ticket) => {
                let now = self.clocks(node).boot;
                self.coords[node].leadership.confirm(now, ticket);
            }
        }
    }

    fn check_order(&mut self, node: usize, epoch: Epoch, writes: &[LockWrite]) {
        let now = self.clocks(node).boot;
        for write in writes {
            let verdict = self.queues.begins(epoch, write, now);
            self.judge(verdict);
        }
    }

    fn act_on(&mut self, node: usize, action: Action) {
        let now = self.clocks(node);
        match action {
            Action::ReadShard => self.call(node, Purpose::Shard, Op::ReadEpoch),
            Action::Takeover { expected, epoch, lease } => {
                let write = |key, expected, value| Write { key, expected, value, ttl_seconds: None };
                let writes = vec![
                    write(Key::Epoch, Some(expected), epoch.encode()),
                    write(Key::Lease, None, lease.encode()),
                ];
                self.call(node, Purpose::Takeover, Op::Batch(Batch { writes, guard: None }));
            }
            Action::WriteLease { expected, lease } => {
                let (key, value) = (Key::Lease, lease.encode());
                let write = Write { key, expected: Some(expected), value, ttl_seconds: None };
                self.call(node, Purpose::Lease, Op::Write(write));
            }
            Action::ReadLease { revision } => {
                self.call(node, Purpose::LeaseRead(revision), Op::ReadAt(revision));
            }
            Action::CheckIdentity => self.call(node, Purpose::Identity, Op::Identify),
            Action::Lead(term) => self.lead(node, term),
            Action::Extend { until } => {
                if let Some(serving) = &mut self.coords[node].serving {
                    serving.engine.extend(now, until);
                }
            }
            Action::Confirmed { ticket, revision } => {
                if let Some(serving) = &mut self.coords[node].serving {
                    serving.engine.handle_confirmed(now, ticket, revision);
                }
            }
            Action::StepDown { why } => {
                self.tell(|| format!("coordinator {node} steps down: {why}"));
                self.coords[node].serving = None;
            }
            Action::Quarantine { why } => self.quarantine(node, why),
            Action::Heartbeat { epoch } => {
                let coordinator = self.coords[node].me;
                self.publish(node, Msg::Beat { coordinator, epoch });
            }
            Action::Over => self.coords[node].over = true,
        }
    }

    fn quarantine(&mut self, node: usize, why: String) {
        self.tell(|| format!("coordinator {node} quarantines the shard: {why}"));
        self.quarantines += 1;
        let verdict = if self.stream.generation == 0 {
            Err(format!("S11: a quarantine without a cause: {why}"))
        } else {
            Ok(())
        };
        self.judge(verdict);
        let coord = &mut self.coords[node];
        coord.quarantined = true;
        if let Some(serving) = &mut coord.serving {
            serving.engine.quarantine(why);
        }
    }

    fn lead(&mut self, node: usize, term: natslock::engine::Term) {
        let epoch = term.epoch;
        self.tell(|| format!("coordinator {node} leads in epoch {epoch}"));
        let coord = &mut self.coords[node];
        coord.terms += 1;
        let number = coord.terms;
        let engine = Engine::new(Limits::default(), term);
        coord.serving = Some(Serving { engine, number, subscribed: false, identified: false, loaded: false });
        if mutant::is(Mutant::LoadByRead) {
            self.load_by_read(node, number, epoch);
        } else {
            self.call(node, Purpose::Follow { term: number }, Op::Follow);
        }
        self.call(node, Purpose::Identity, Op::Identify);
        self.publish(node, Msg::Leads);
    }

    fn stop(&mut self, node: usize, now: Now) {
        if self.coords[node].stopping.is_some() {
            return;
        }
        self.tell(|| format!("coordinator {node} is told to stop"));
        if let Some(serving) = &mut self.coords[node].serving {
            serving.subscribed = false;
            serving.engine.handle_shutdown(now);
        }
        self.act(node);
        let coord = &mut self.coords[node];
        coord.serving = None;
        coord.stopping = Some(now.boot + RESIGN_FOR);
        let now = self.clocks(node).boot;
        self.coords[node].leadership.resign(now);
    }
}
