//! A client: the real core, and an application that takes locks, holds them, gives them back, or dies.

use std::collections::BTreeMap;
use std::time::Duration;

use natslock::client::AcquireOptions;
use natslock::client::core::{Core, CoreConfig, Effect, Handle, LostReason, Outcome, SendNumber};
use natslock::engine::message::{Ask, LeaseRef};
use natslock::types::{Claim, IdHash, LeaseId, LockName, OwnerName, Permits, Timestamp};
use natslock::wire::reply::{Answer, decode};

use super::clock::{MS, SECOND};
use super::net::{Asked, Got, Msg, To};
use super::plain::{Plain, is_plain};
use super::witness::Told;
use super::world::{Event, World};

/// What the application knows of one acquisition.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) lock: LockName,
    pub(super) id: LeaseId,
    pub(super) key: IdHash,
    pub(super) claim: Claim,
    pub(super) holding: bool,
    pub(super) tries: bool,
    asked_at: u64,
}

impl Task {
    pub(super) fn new(owner: &OwnerName, lock: LockName, id: LeaseId, wish: Wish, asked_at: u64) -> Self {
        let (key, tries) = (id.hash(owner), wish.wait_ms == Some(0));
        Self { lock, id, key, claim: wish.claim, holding: false, tries, asked_at }
    }
}

pub(super) struct Client {
    pub(super) core: Core,
    pub(super) owner: OwnerName,
    pub(super) tasks: BTreeMap<Handle, Task>,
    next_handle: u64,
    pub(super) plain: Plain,
    highest_epoch: u64,
    /// Whose answer it is looking at.
    told: Told,
}

impl Client {
    pub(super) fn new(node: usize, seed: u64) -> Self {
        let core = Core::new(CoreConfig { patience: Duration::from_secs(5), seed });
        let owner = OwnerName::encode(&format!("owner{node}")).unwrap();
        Self {
            core,
            owner,
            tasks: BTreeMap::new(),
            next_handle: 0,
            plain: Plain::default(),
            highest_epoch: 0,
            told: Told::default(),
        }
    }
}

/// How to ask for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) lock: usize,
    pub(super) claim: Claim,
    pub(super) ttl_ms: u64,
    pub(super) wait_ms: Option<u64>,
}

/// The locks. The last is wanted so seldom that the store removes its free record meanwhile.
pub(super) const LOCKS: [&str; 5] = ["a", "b", "doc", "pool", "rare"];

pub(super) fn lock_name(index: usize) -> LockName {
    LockName::encode(LOCKS[index]).unwrap()
}

/// The lock that an id was made for.
pub(super) fn lock_of(id: &LeaseId) -> LockName {
    lock_name(id.reveal().rsplit('-').next().unwrap().parse().unwrap())
}

impl World {
    pub(super) fn client(&mut self, node: usize) -> &mut Client {
        let first = self.coords.len();
        &mut self.clients[node - first]
    }

    pub(super) fn owner(&self, node: usize) -> OwnerName {
        self.clients[node - self.coords.len()].owner.clone()
    }

    fn draw_wish(&mut self) -> Wish {
        let lock = if self.rng.below(400) == 0 { 4 } else { self.rng.pick(&[0, 0, 0, 1, 2, 2, 3]) };
        let permits = |n| Claim::Counting(Permits::new(n, 3).unwrap());
        let claim = match lock {
            2 if self.rng.percent(60) => Claim::Shared,
            3 => permits(self.rng.range(1, 4)),
            _ => Claim::Exclusive,
        };
        let ttl_ms = self.rng.pick(&[1_000, 2_000, 3_000, 5_000, 10_000]);
        let wait_ms = self.rng.pick(&[None, None, Some(0), Some(2_000), Some(20_000)]);
        Wish { lock, claim, ttl_ms, wait_ms }
    }

    /// The application's next step.
    pub(super) fn work(&mut self, node: usize) {
        if self.healed {
            return;
        }
        let busy = self.client(node).tasks.len();
        if self.rng.percent(6) && busy > 0 {
            let index = usize::try_from(self.rng.below(busy as u64)).unwrap();
            let handle = *self.client(node).tasks.keys().nth(index).unwrap();
            if !self.client(node).tasks[&handle].holding {
                self.finish(node, handle, true);
            }
        } else if busy < 3 {
            let wish = self.draw_wish();
            self.wish(node, wish);
        }
        if self.mix.plain && self.rng.percent(15) {
            let wish = self.draw_wish();
            self.ask_plainly(node, wish);
        }
        if self.mix.stray && self.rng.percent(10) {
            self.stray(node);
        }
        let next = self.now + self.rng.range(30 * MS, 2 * SECOND);
        let inc = self.nodes[node].inc;
        self.at(next, Event::Work { node, inc });
    }

    pub(super) fn wish(&mut self, node: usize, wish: Wish) -> Handle {
        let id = self.next_id("id", wish.lock);
        let mut options = AcquireOptions::new().id(id.clone()).ttl(Duration::from_millis(wish.ttl_ms));
        options = match wish.claim {
            Claim::Exclusive => options,
            Claim::Shared => options.shared(),
            Claim::Counting(permits) => options.permits(permits.permits().into(), permits.capacity().into()),
        };
        if let Some(ms) = wish.wait_ms {
            options = options.wait(Duration::from_millis(ms));
        }
        let terms = options.check().unwrap();
        let (lock, asked_at) = (lock_name(wish.lock), self.now);
        self.tell(|| format!("client {node} wants {} as {} ttl {}", lock.as_str(), id.reveal(), wish.ttl_ms));
        let now = self.clocks(node).boot;
        let client = self.client(node);
        client.next_handle += 1;
        let handle = Handle(client.next_handle);
        let task = Task::new(&client.owner, lock.clone(), id, wish, asked_at);
        client.tasks.insert(handle, task);
        client.core.acquire(now, handle, lock, terms);
        self.after(node);
        handle
    }

    pub(super) fn next_id(&mut self, kind: &str, lock: usize) -> LeaseId {
        self.ids += 1;
        format!("{kind}-{}-{lock}", self.ids).parse().unwrap()
    }

    /// A request with an id that nobody was given: nothing may come of it.
    fn stray(&mut self, node: usize) {
        let lock = usize::try_from(self.rng.below(4)).unwrap();
        let (name, id) = (lock_name(lock), self.next_id("stray", lock));
        let lease = LeaseRef { id, token: None };
        let ask = if self.rng.percent(50) {
            Ask::Release { name, lease, keep: Duration::ZERO }
        } else {
            Ask::Renew { name, lease }
        };
        let to = To { node, inc: self.nodes[node].inc, number: u64::MAX };
        self.publish(node, Msg::Request(Asked { to, ask }));
    }

    /// Gives a lease back or an acquisition up, or forgets it as an application that dies.
    pub(super) fn finish(&mut self, node: usize, handle: Handle, release: bool) {
        let Some(task) = self.client(node).tasks.remove(&handle) else { return };
        self.tell(|| {
            format!("client {node} {} {}", if release { "releases" } else { "leaves" }, task.id.reveal())
        });
        self.witness.end(&task.lock, &task.key);
        let now = self.clocks(node).boot;
        if release {
            let keep = if self.rng.percent(10) { self.rng.range(MS, 3 * SECOND) } else { 0 };
            self.stats.kept += u64::from(keep > 0);
            self.witness.release(task.key, self.now + keep);
            self.client(node).core.release(now, handle, Duration::from_micros(keep));
        } else {
            self.witness.die(task.key, self.now);
            self.client(node).core.leave(handle);
        }
        self.after(node);
    }

    pub(super) fn on_client(&mut self, node: usize, got: Got) {
        let now = self.clocks(node).boot;
        self.core_time(node, now);
        match got {
            // Nobody took it, and it is not sent again.
            Got::Nobody(number) if is_plain(number) => self.end_plain(node, number, true),
            Got::Nobody(number) => self.client(node).core.handle_nobody(now, SendNumber(number)),
            Got::Leads(epoch) => self.client(node).core.handle_new_leader(now, epoch.get()),
            Got::Answer { number, body, sent_in } => {
                let (epoch, answer) = decode(&body).unwrap();
                let told = Told { epoch: epoch.get(), sent_in };
                if is_plain(number) {
                    return self.on_plain(node, number, &answer, told);
                }
                self.check_denial(node, epoch.get(), &answer);
                let client = self.client(node);
                client.told = told;
                client.highest_epoch = client.highest_epoch.max(epoch.get());
                client.core.handle_answer(now, SendNumber(number), epoch, answer);
            }
        }
        self.after(node);
        // What comes later by itself is nobody's answer.
        self.client(node).told = Told::default();
    }

    /// PROTOCOL.md section 3: what a deposed leader denies is not heard.
    fn check_deposed(&mut self, node: usize, what: &str) {
        let client = self.client(node);
        if client.told.epoch > 0 && client.told.epoch < client.highest_epoch {
            let (told, highest) = (client.told.epoch, client.highest_epoch);
            let verdict =
                format!("P5: client {node} believes a {what} of epoch {told}, it has heard of {highest}");
            self.judge(Err(verdict));
        }
    }

    fn core_time(&mut self, node: usize, now: Timestamp) {
        let due = self.client(node).core.poll_timeout().is_some_and(|at| at <= now);
        if due {
            self.client(node).core.handle_timeout(now);
            self.after(node);
        }
    }

    pub(super) fn client_timer(&mut self, node: usize) {
        let now = self.clocks(node).boot;
        self.core_time(node, now);
        self.arm(node);
    }

    /// Nobody who believes in a lease is told by the latest leader that it is over.
    fn check_denial(&mut self, node: usize, epoch: u64, answer: &Answer) {
        let Answer::RenewedMany { lost, .. } = answer else { return };
        if epoch < self.client(node).highest_epoch {
            return;
        }
        let owner = self.owner(node);
        for (id, why) in lost {
            let key = id.hash(&owner);
            let task = self.client(node).tasks.values().find(|task| task.key == key).cloned();
            if let Some(task) = task
                && self.believes(&task.lock, &key)
            {
                let told =
                    format!("P5: {} believes in {} and is told {why:?}", id.reveal(), task.lock.as_str());
                self.judge(Err(told));
            }
        }
    }

    /// Does what the core wants done.
    pub(super) fn after(&mut self, node: usize) {
        while let Some(effect) = self.client(node).core.poll_effect() {
            match effect {
                Effect::Send { number, ask, .. } => {
                    let to = To { node, inc: self.nodes[node].inc, number: number.0 };
                    self.publish(node, Msg::Request(Asked { to, ask }));
                }
                Effect::Tell { ask, .. } => {
                    // Nobody hears what is said to such a number.
                    let to = To { node, inc: self.nodes[node].inc, number: u64::MAX };
                    self.publish(node, Msg::Request(Asked { to, ask }));
                }
                Effect::Outcome(handle, outcome) => self.outcome(node, handle, outcome),
                Effect::Extended(handle, deadline) => self.extended(node, handle, deadline),
                Effect::Lost(handle, why) => {
                    if let Some(task) = self.client(node).tasks.remove(&handle) {
                        self.tell(|| format!("client {node} loses {}: {why:?}", task.id.reveal()));
                        self.stats.lost += 1;
                        self.witness.end(&task.lock, &task.key);
                        // From here on the core releases it by itself.
                        self.witness.release(task.key, self.now);
                        if why != LostReason::Unreachable {
                            self.check_deposed(node, "denial");
                        }
                    }
                }
                Effect::Progress(..) | Effect::Released(..) | Effect::Forget(_) => {}
            }
        }
        self.arm(node);
    }

    fn outcome(&mut self, node: usize, handle: Handle, outcome: Outcome) {
        let Some(task) = self.client(node).tasks.get(&handle).cloned() else { return };
        self.tell(|| {
            let what = match &outcome {
                Outcome::Granted { granted, deadline } => {
                    format!("granted {} until {deadline}", granted.token)
                }
                other => format!("{other:?}").chars().take(60).collect(),
            };
            format!("client {node}: {} {what}", task.id.reveal())
        });
        let Outcome::Granted { granted, deadline } = outcome else {
            self.client(node).tasks.remove(&handle);
            // A request that is given up is taken back.
            self.witness.release(task.key, self.now);
            if matches!(&outcome, Outcome::Held { .. }) {
                self.check_deposed(node, "refusal");
            }
            return;
        };
        self.stats.grants += 1;
        if let Some(task) = self.client(node).tasks.get_mut(&handle) {
            task.holding = true;
        }
        self.count_inversion(&task);
        let told = self.client(node).told;
        let verdict = self.believe(node, &task, (granted.token, deadline), told);
        self.judge(verdict);
        let span = match self.rng.below(10) {
            _ if self.healed => self.rng.range(MS, 500 * MS),
            0..6 => self.rng.range(MS, 300 * MS),
            6..9 => self.rng.range(300 * MS, 5 * SECOND),
            _ => self.rng.range(5 * SECOND, 30 * SECOND),
        };
        let release = self.healed || !self.mix.leave || !self.rng.percent(10);
        let inc = self.nodes[node].inc;
        if !self.scripted {
            self.at(self.now + span, Event::EndHold { node, inc, handle, release });
        }
    }

    fn extended(&mut self, node: usize, handle: Handle, deadline: Timestamp) {
        if let Some(task) = self.client(node).tasks.get(&handle).cloned() {
            let told = self.client(node).told;
            let verdict = self.believe_longer(&task, deadline, told);
            self.judge(verdict);
        }
    }

    /// Across epochs the order may be another than that of asking.
    fn count_inversion(&mut self, task: &Task) {
        let overtaken = self.clients.iter().flat_map(|client| client.tasks.values()).any(|other| {
            !other.holding && other.lock == task.lock && other.asked_at + 50 * MS < task.asked_at
        });
        self.stats.inversions += u64::from(overtaken && task.claim == Claim::Exclusive);
    }
}
