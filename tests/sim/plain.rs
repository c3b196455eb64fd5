//! A client that never repeats a request and never renews: what a few lines in any language do. It asks once,
//! holds until its own deadline at most, and releases once.

use std::collections::BTreeMap;
use std::time::Duration;

use natslock::engine::message::{Acquire, Ask, LeaseRef};
use natslock::types::{Timestamp, Token, Ttl, Wait};
use natslock::wire::reply::{Answer, Granted};

use super::client::{Task, Wish, lock_name};
use super::clock::{MS, SECOND};
use super::net::{Asked, Msg, To};
use super::witness::Told;
use super::world::{Event, World};

/// Numbers of sendings from here on are of plain requests.
const NUMBERS_FROM: u64 = 1 << 40;
/// How much longer than its wait it listens.
const LISTENS: u64 = 5 * SECOND;

#[derive(Debug, Clone)]
struct Request {
    task: Task,
    sent: Timestamp,
    ttl: Duration,
    token: Option<Token>,
    /// It wants the lock no more.
    over: bool,
}

/// The plain requests of one client.
#[derive(Debug, Default)]
pub(super) struct Plain {
    requests: BTreeMap<u64, Request>,
    next: u64,
}

pub(super) const fn is_plain(number: u64) -> bool {
    number >= NUMBERS_FROM && number != u64::MAX
}

impl Plain {
    pub(super) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.requests.values().map(|request| &request.task)
    }
}

impl World {
    /// Asks once.
    pub(super) fn ask_plainly(&mut self, node: usize, wish: Wish) -> u64 {
        let wait_ms = wish.wait_ms.unwrap_or(30_000);
        let (id, lock) = (self.next_id("plain", wish.lock), lock_name(wish.lock));
        let sent = self.clocks(node).boot;
        let ask = Ask::Acquire(Acquire {
            name: lock.clone(),
            id: id.clone(),
            claim: wish.claim,
            ttl: Ttl::from_millis(wish.ttl_ms).unwrap(),
            wait: Wait::from_millis(wait_ms).unwrap(),
            note: None,
            progress: false,
        });
        self.tell(|| format!("client {node} asks plainly for {} as {}", lock.as_str(), id.reveal()));
        let now = self.now;
        let client = self.client(node);
        client.plain.next += 1;
        let number = NUMBERS_FROM + client.plain.next;
        let task = Task::new(&client.owner, lock, id, wish, now);
        let request =
            Request { task, sent, ttl: Duration::from_millis(wish.ttl_ms), token: None, over: false };
        self.client(node).plain.requests.insert(number, request);
        self.publish(node, Msg::Request(Asked { to: To { node, inc: self.nodes[node].inc, number }, ask }));
        let inc = self.nodes[node].inc;
        self.at(self.now + wait_ms * MS + LISTENS, Event::EndPlain { node, inc, number, forget: true });
        number
    }

    pub(super) fn on_plain(&mut self, node: usize, number: u64, answer: &Answer, told: Told) {
        let Some(request) = self.client(node).plain.requests.get(&number).cloned() else { return };
        let Answer::Granted(granted) = answer else {
            self.witness.release(request.task.key, self.now);
            self.client(node).plain.requests.remove(&number);
            return;
        };
        self.plain_granted(node, number, request, granted, told);
    }

    /// The lease counts from the only sending that there was, and is never prolonged.
    fn plain_granted(&mut self, node: usize, number: u64, request: Request, granted: &Granted, told: Told) {
        let now = self.clocks(node).boot;
        let until = request.sent + (granted.waited + request.ttl) * 99 / 100;
        if request.token.is_some() {
            return;
        }
        if let Some(request) = self.client(node).plain.requests.get_mut(&number) {
            request.token = Some(granted.token);
        }
        self.tell(|| {
            format!("client {node}: {} granted plainly {}", request.task.id.reveal(), granted.token)
        });
        if request.over || until <= now {
            return self.end_plain(node, number, true);
        }
        self.stats.plain += 1;
        let verdict = self.believe(node, &request.task, (granted.token, until), told);
        self.judge(verdict);
        let span = self.rng.range(MS, 4 * SECOND);
        let ends = self.nodes[node].clock.when(until).min(self.now + span);
        let inc = self.nodes[node].inc;
        // Sometimes it forgets to release.
        let forget = self.rng.percent(20);
        self.at(ends, Event::EndPlain { node, inc, number, forget });
    }

    /// Releases once, or not at all; what is not granted yet is not wanted any more.
    pub(super) fn end_plain(&mut self, node: usize, number: u64, forget: bool) {
        let Some(request) = self.client(node).plain.requests.get_mut(&number) else { return };
        request.over = true;
        let Request { task, token, .. } = request.clone();
        if token.is_none() && forget {
            // The request may still travel: what comes of it is released.
            return self.witness.die(task.key, self.now);
        }
        self.client(node).plain.requests.remove(&number);
        self.witness.end(&task.lock, &task.key);
        if forget {
            self.witness.die(task.key, self.now);
            return;
        }
        self.witness.release(task.key, self.now);
        let lease = LeaseRef { id: task.id, token };
        let ask = Ask::Release { name: task.lock, lease, keep: Duration::ZERO };
        let to = To { node, inc: self.nodes[node].inc, number: u64::MAX };
        self.publish(node, Msg::Request(Asked { to, ask }));
    }
}
