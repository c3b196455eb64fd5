//! A coordinator: the real leadership and the real engine, driven as `src/service/shard.rs` drives them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use natslock::engine::message::{EntryContent, GrantNumber, LockEntry, Now, Request, WriteOutcome};
use natslock::engine::{Engine, invariants};
use natslock::mutant::{self, Mutant};
use natslock::service::leadership::{Identity, Leadership, ShardRead};
use natslock::store::Entry;
use natslock::types::{CoordinatorId, Epoch, Key, LockName, Revision, Timestamp, Token};
use natslock::wire::record::{EpochRecord, LeaseRecord, decode_lock};

use super::clock::{MS, SECOND};
use super::net::{Asked, To};
use super::stream::{Call, Op, Purpose};
use super::world::{Event, World};

/// As in `src/service`.
pub(super) const RESIGN_FOR: Duration = Duration::from_secs(3);

/// What arrives at a coordinator, besides answers of the store.
#[derive(Debug, Clone)]
pub(super) enum Input {
    Request(Asked),
    Beat { coordinator: CoordinatorId, epoch: Epoch, resigned: bool },
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

pub(super) struct Serving {
    pub(super) engine: Engine<To>,
    pub(super) number: u64,
    pub(super) subscribed: bool,
    pub(super) identified: bool,
    pub(super) loaded: bool,
}

pub(super) struct Coord {
    pub(super) me: CoordinatorId,
    pub(super) leadership: Leadership,
    pub(super) serving: Option<Serving>,
    /// Which store it was at the start of the process.
    pub(super) identity: u64,
    pub(super) terms: u64,
    /// Calls of the store without an answer.
    pub(super) pending: BTreeSet<u64>,
    pub(super) stopping: Option<Timestamp>,
    pub(super) over: bool,
    pub(super) quarantined: bool,
    /// The highest revision that it was told of, in whatever way.
    pub(super) knew: Revision,
    /// By what it must know that the storage went back or is another, if it must (S11).
    pub(super) proof: Option<String>,
    /// It has read a record of its own that shows the same, and may conclude it.
    pub(super) hint: bool,
    /// The latest number that it gave to a write of a lock.
    pub(super) attempt: u64,
    /// Since when it has served without interruption, sure of its leadership.
    pub(super) sure_since: u64,
    /// When the takeover of its term was acknowledged to it.
    pub(super) led_at: u64,
    /// The latest token that it granted of each lock.
    pub(super) granted: BTreeMap<LockName, Token>,
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
            knew: Revision::NONE,
            proof: None,
            hint: false,
            attempt: 0,
            sure_since: 0,
            led_at: 0,
            granted: BTreeMap::new(),
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

    /// True where it is sure of its leadership.
    pub(super) fn acts(&self, now: Timestamp) -> bool {
        self.serving.as_ref().is_some_and(|serving| serving.engine.term().acts(now))
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
                self.stored(after, written);
                if let Some(serving) = self.current(term) {
                    serving.engine.handle_written(now, &name, attempt, written);
                }
            }
            (Purpose::Batch { term, attempt, after }, _) => {
                self.stored(after, written);
                if let Some(serving) = self.current(term) {
                    serving.engine.handle_batch_written(now, attempt, written);
                }
            }
            (Purpose::Takeover, _) => self.leadership.handle_takeover(now.boot, written),
            (Purpose::Lease { term, after }, _) => {
                self.stored(after, written);
                if term == self.terms || mutant::is(Mutant::HearOldTerms) {
                    self.leadership.handle_lease_written(now.boot, written);
                }
            }
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
                self.leadership.handle_identity(now.boot, found == self.identity);
                if let Some(serving) = &mut self.serving {
                    serving.identified = true;
                }
            }
            _ => {}
        }
    }

    fn stored(&mut self, after: Revision, outcome: WriteOutcome) {
        let WriteOutcome::Acknowledged(revision) = outcome else { return };
        let went_back = self.leadership.handle_stored(after, revision);
        if let (Some(why), Some(serving)) = (went_back, &mut self.serving) {
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
        self.check_loud(node);
        if self.coords[node].over {
            self.take_down(node);
            let again = self.now + self.rng.range(500 * MS, 10 * SECOND);
            self.at(again, Event::Start { node });
            return;
        }
        self.arm(node);
    }

    fn check_engine(&mut self, node: usize) {
        let now = self.clocks(node).boot;
        if let Some(serving) = &self.coords[node].serving {
            let verdict = invariants::check(&serving.engine).map_err(|broken| broken.to_string());
            if !serving.engine.term().acts(now) {
                self.queues.lapse(serving.engine.term().epoch);
                self.coords[node].sure_since = self.now;
            }
            self.judge(verdict);
        }
    }

    pub(super) fn on_done(&mut self, call: Call, done: Done) {
        let node = call.node;
        if !self.coords[node].pending.remove(&call.id) {
            return;
        }
        self.hear(&call, &done);
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

    /// What the process cannot but know by this answer (S11).
    fn hear(&mut self, call: &Call, done: &Done) {
        let coord = &mut self.coords[call.node];
        let (told, proof) = match done {
            Done::Written(WriteOutcome::Acknowledged(revision)) => {
                // Of a takeover it is the second record.
                let second = matches!(call.purpose, Purpose::Takeover);
                let first = Revision::new(revision.get() - u64::from(second));
                let back = first <= call.knew;
                (
                    *revision,
                    back.then(|| format!("{first} is acknowledged, sent when {} was known", call.knew)),
                )
            }
            Done::Shard { epoch, lease } => {
                coord.hint |=
                    epoch.as_ref().is_some_and(|(at, own)| own.coordinator == coord.me && own.highest >= *at);
                // So does a record of somebody who has found it out, or the lack of any record.
                coord.hint |= epoch.as_ref().is_some_and(|(_, record)| record.quarantine.is_some());
                coord.hint |= epoch.is_none() && coord.knew > Revision::NONE;
                let epoch = epoch.as_ref().map_or(Revision::NONE, |(at, record)| (*at).max(record.highest));
                (lease.as_ref().map_or(epoch, |(at, _)| epoch.max(*at)), None)
            }
            Done::Identity(found) => {
                let other = *found != coord.identity;
                (
                    Revision::NONE,
                    other.then(|| format!("it began with bucket {}, this is {found}", coord.identity)),
                )
            }
            Done::Lease(Some(_)) => {
                let Purpose::LeaseRead(revision) = call.purpose else { return };
                (revision, None)
            }
            _ => return,
        };
        coord.knew = coord.knew.max(told);
        if coord.proof.is_none() {
            coord.proof = proof;
        }
    }

    /// S11: who must know that the storage went back says so, at once.
    fn check_loud(&mut self, node: usize) {
        let coord = &self.coords[node];
        if let Some(proof) = coord.proof.as_ref().filter(|_| !coord.quarantined && !coord.over) {
            let verdict = format!("S11: coordinator {node} is not quarantined: {proof}");
            self.judge(Err(verdict));
        }
    }

    pub(super) fn on_input(&mut self, node: usize, input: Input) {
        self.turn(node, |world, now| match input {
            Input::Request(asked) => world.on_request(node, now, asked),
            Input::Beat { coordinator, epoch, resigned } if coordinator != world.coords[node].me => {
                let leadership = &mut world.coords[node].leadership;
                if resigned {
                    leadership.handle_farewell();
                } else {
                    leadership.handle_heartbeat(now.boot, epoch);
                }
            }
            Input::Beat { .. } => {}
            Input::Notice(number) => {
                if let Some(serving) = &mut world.coords[node].serving {
                    serving.engine.handle_undelivered(now, number);
                }
            }
            Input::Record { term, entry } => {
                if let Some(coord) = Some(&mut world.coords[node]).filter(|coord| coord.term() == Some(term))
                {
                    coord.knew = coord.knew.max(entry.revision);
                }
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
                let now = world.now;
                if let Some(serving) = world.coords[node].current(term) {
                    serving.subscribed = true;
                    world.coords[node].sure_since = now;
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
}
