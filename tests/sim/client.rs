//! A client: the real core, and an application that takes locks, holds them, gives them back, or dies.

use std::collections::BTreeMap;
use std::time::Duration;

use natslock::client::AcquireOptions;
use natslock::client::core::{Core, CoreConfig, Effect, Handle, Outcome, SendNumber};
use natslock::engine::message::{Ask, LeaseRef};
use natslock::types::{Claim, IdHash, LeaseId, LockName, OwnerName, Permits, Timestamp};
use natslock::wire::reply::{Answer, decode};

use super::clock::{MS, SECOND};
use super::net::{Asked, Got, Msg, To};
use super::world::{Event, World};

/// What the application knows of one acquisition.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) lock: LockName,
    pub(super) id: LeaseId,
    pub(super) key: IdHash,
    pub(super) claim: Claim,
    pub(super) holding: bool,
    asked_at: u64,
}

pub(super) struct Client {
    pub(super) core: Core,
    pub(super) owner: OwnerName,
    pub(super) tasks: BTreeMap<Handle, Task>,
    next_handle: u64,
    pub(super) highest_epoch: u64,
}

impl Client {
    pub(super) fn new(node: usize, seed: u64) -> Self {
        let core = Core::new(CoreConfig { patience: Duration::from_secs(5), seed });
        let owner = OwnerName::encode(&format!("owner{node}")).unwrap();
        Self { core, owner, tasks: BTreeMap::new(), next_handle: 0, highest_epoch: 0 }
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

pub(super) fn lock_name(index: usize) -> LockName {
    LockName::encode(["a", "b", "doc", "pool"][index]).unwrap()
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
        let lock = self.rng.pick(&[0, 0, 0, 1, 2, 2, 3]);
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
        if self.mix.stray && self.rng.percent(10) {
            self.stray(node);
        }
        let next = self.now + self.rng.range(30 * MS, 2 * SECOND);
        let inc = self.nodes[node].inc;
        self.at(next, Event::Work { node, inc });
    }

    pub(super) fn wish(&mut self, node: usize, wish: Wish) -> Handle {
        self.ids += 1;
        let id: LeaseId = format!("id-{}", self.ids).parse().unwrap();
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
        let key = id.hash(&client.owner);
        let task = Task { lock: lock.clone(), id, key, claim: wish.claim, holding: false, asked_at };
        client.tasks.insert(handle, task);
        client.core.acquire(now, handle, lock, terms);
        self.after(node);
        handle
    }

    /// A request with an id that nobody was given: nothing may come of it.
    fn stray(&mut self, node: usize) {
        let name = lock_name(usize::try_from(self.rng.below(4)).unwrap());
        self.ids += 1;
        let id: LeaseId = format!("stray-{}", self.ids).parse().unwrap();
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
            self.witness.release(task.key);
            self.client(node).core.release(now, handle, Duration::ZERO);
        } else {
            self.client(node).core.leave(handle);
        }
        self.after(node);
    }

    pub(super) fn on_client(&mut self, node: usize, got: Got) {
        let now = self.clocks(node).boot;
        self.core_time(node, now);
        match got {
            Got::Nobody(number) => self.client(node).core.handle_nobody(now, SendNumber(number)),
            Got::Leads => self.client(node).core.handle_new_leader(now),
            Got::Answer { number, body } => {
                let (epoch, answer) = decode(&body).unwrap();
                self.check_denial(node, epoch.get(), &answer);
                let client = self.client(node);
                client.highest_epoch = client.highest_epoch.max(epoch.get());
                client.core.handle_answer(now, SendNumber(number), epoch, answer);
            }
        }
        self.after(node);
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
        if epoch < self.client(node).highest_epoch || self.stream.generation > 0 {
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
                Effect::Outcome(handle, outcome) => self.outcome(node, handle, outcome),
                Effect::Extended(handle, deadline) => self.extended(node, handle, deadline),
                Effect::Lost(handle, why) => {
                    if let Some(task) = self.client(node).tasks.remove(&handle) {
                        self.tell(|| format!("client {node} loses {}: {why:?}", task.id.reveal()));
                        self.stats.lost += 1;
                        self.witness.end(&task.lock, &task.key);
                        // From here on the core releases it by itself.
                        self.witness.release(task.key);
                    }
                }
                Effect::Progress(..) | Effect::Released(..) | Effect::Forget(_) => {}
            }
        }
        let len = self.client(node).core.len();
        if len > 200 {
            self.judge(Err(format!("I10: client {node} has {len} entries")));
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
            self.witness.release(task.key);
            return;
        };
        self.stats.grants += 1;
        if let Some(task) = self.client(node).tasks.get_mut(&handle) {
            task.holding = true;
        }
        self.count_inversion(&task);
        let verdict = self.believe(node, &task, granted.token, deadline);
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
            let verdict = self.believe_longer(&task, deadline);
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
