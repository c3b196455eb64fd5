//! The world of one seed: its nodes, its events in the order of time, and what is counted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::bounds::Bounds;
use super::client::Client;
use super::clock::{Clock, MS, SECOND};
use super::coordinator::{Coord, Done, Input};
use super::faults::{Cut, Mix};
use super::net::{Got, Msg};
use super::queues::Queues;
use super::rng::Rng;
use super::script::Script;
use super::stats::Stats;
use super::stream::{Call, Op, Stream};
use super::witness::{Verdict, Witness};

/// With everything working, all that was asked for is granted, given back and written as free in this time:
/// the longest back-off before a takeover, the overlap, the longest lease times of those that died, the locks'
/// queues.
const RECOVERY: u64 = 100 * SECOND;

#[derive(Debug, Clone)]
pub(super) enum Event {
    AtServer { from: usize, msg: Msg },
    AtStream { call: Call, op: Op, late: bool },
    Done { call: Call, done: Done },
    TimedOut(Call),
    ToCoordinator { node: usize, inc: u32, input: Input },
    ToClient { node: usize, inc: u32, got: Got },
    Timer { node: usize, inc: u32, set: u64 },
    Pump { follower: u64 },
    Work { node: usize, inc: u32 },
    EndHold { node: usize, inc: u32, handle: natslock::client::core::Handle, release: bool },
    EndPlain { node: usize, inc: u32, number: u64, forget: bool },
    Start { node: usize },
    Strike,
    Inspect,
}

pub(super) struct Node {
    pub(super) clock: Clock,
    pub(super) up: bool,
    /// Counts the runs of its process.
    pub(super) inc: u32,
    pub(super) paused_until: u64,
    /// It will stand still after its next decision.
    pub(super) pause_next: Option<u64>,
    pub(super) cut_up: Cut,
    pub(super) cut_down: Cut,
    pub(super) latency: u64,
    timer: Option<u64>,
}

/// How large the world is.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) coordinators: usize,
    pub(super) clients: usize,
    pub(super) leader_lease: Duration,
    pub(super) mix: Mix,
    /// The test says what happens.
    pub(super) scripted: bool,
    /// By how much the clocks of the nodes are off, in millionths; drawn where nothing is said.
    pub(super) rates: Vec<i64>,
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) rng: Rng,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    pub(super) mix: Mix,
    pub(super) nodes: Vec<Node>,
    pub(super) coords: Vec<Coord>,
    pub(super) clients: Vec<Client>,
    pub(super) stream: Stream,
    pub(super) links: BTreeMap<(usize, usize), u64>,
    pub(super) witness: Witness,
    pub(super) queues: Queues,
    pub(super) bounds: Bounds,
    pub(super) stats: Stats,
    pub(super) healed: bool,
    /// Since when nothing goes wrong any more.
    pub(super) calm_since: u64,
    pub(super) scripted: bool,
    pub(super) calls: u64,
    pub(super) ids: u64,
    pub(super) quarantines: u64,
    pub(super) script: Script,
    leader_lease: Duration,
    pub(super) hash: u64,
    verbose: bool,
    pub(super) story: Vec<String>,
    pub(super) broken: Option<String>,
}

impl World {
    pub(super) fn new(seed: u64, verbose: bool) -> Self {
        let mut rng = Rng::new(seed);
        let mix = Mix::draw(&mut rng);
        let setting = Setting {
            coordinators: rng.pick(&[1, 2, 3, 3, 3]),
            clients: rng.pick(&[2, 4, 6]),
            leader_lease: Duration::from_secs(rng.pick(&[3, 12])),
            mix,
            scripted: false,
            rates: Vec::new(),
        };
        Self::with(rng, setting, verbose)
    }

    pub(super) fn with(rng: Rng, setting: Setting, verbose: bool) -> Self {
        let mut world = Self {
            now: SECOND,
            rng,
            queue: BTreeMap::new(),
            sequence: 0,
            nodes: Vec::new(),
            coords: Vec::new(),
            clients: Vec::new(),
            stream: Stream::new(),
            links: BTreeMap::new(),
            witness: Witness::default(),
            queues: Queues::default(),
            bounds: Bounds::default(),
            stats: Stats { seeds: 1, ..Stats::default() },
            healed: false,
            calm_since: SECOND,
            scripted: setting.scripted,
            calls: 0,
            ids: 0,
            quarantines: 0,
            script: Script::default(),
            leader_lease: setting.leader_lease,
            hash: 0xcbf2_9ce4_8422_2325,
            verbose,
            story: Vec::new(),
            broken: None,
            mix: setting.mix,
        };
        for index in 0..setting.coordinators + setting.clients {
            world.add_node(index < setting.coordinators, setting.rates.get(index).copied());
        }
        for node in 0..world.nodes.len() {
            world.start(node);
        }
        world.inspect();
        world
    }

    fn add_node(&mut self, coordinator: bool, rate: Option<i64>) {
        let drawn = if self.mix.drift { self.rng.range(0, 9_901).cast_signed() - 4_950 } else { 0 };
        let rate = rate.unwrap_or(drawn);
        let clock = Clock::new(self.rng.range(60, 3_600) * SECOND, rate);
        let node = self.nodes.len();
        self.nodes.push(Node {
            clock,
            up: false,
            inc: 0,
            paused_until: 0,
            pause_next: None,
            cut_up: Cut::default(),
            cut_down: Cut::default(),
            latency: self.rng.range(50, 900),
            timer: None,
        });
        if coordinator {
            self.coords.push(Coord::new(0, self.leader_lease, 0));
        } else {
            self.clients.push(Client::new(node, 0));
        }
    }

    /// The process of a node begins, with nothing in its memory.
    pub(super) fn start(&mut self, node: usize) {
        if self.nodes[node].up {
            return;
        }
        if self.stream.deleted_until.is_some_and(|until| until <= self.now) {
            self.make_again();
        }
        let seed = self.rng.next();
        let state = &mut self.nodes[node];
        state.up = true;
        state.inc += 1;
        let inc = state.inc;
        self.tell(|| format!("node {node} starts"));
        if node < self.coords.len() {
            self.coords[node] = Coord::new(seed, self.leader_lease, self.stream.identity);
            self.act(node);
        } else {
            *self.client(node) = Client::new(node, seed);
            if !self.scripted {
                let at = self.now + self.rng.range(MS, SECOND);
                self.at(at, Event::Work { node, inc });
            }
        }
        self.arm(node);
    }

    pub(super) fn take_down(&mut self, node: usize) {
        self.tell(|| format!("node {node} is gone"));
        self.nodes[node].up = false;
        self.nodes[node].timer = None;
        self.nodes[node].pause_next = None;
        self.nodes[node].paused_until = self.now;
        self.witness.forget(node, self.now);
        if node < self.coords.len() {
            if let Some(epoch) = self.coords[node].epoch() {
                self.queues.end(epoch);
            }
            self.coords[node] = Coord::new(0, self.leader_lease, 0);
        } else {
            let client = self.client(node);
            let keys: Vec<_> =
                client.tasks.values().chain(client.plain.tasks()).map(|task| task.key).collect();
            *client = Client::new(node, 0);
            keys.into_iter().for_each(|key| self.witness.die(key, self.now));
        }
    }

    pub(super) fn command_stop(&mut self, node: usize) {
        if node < self.coords.len() && self.nodes[node].up {
            let inc = self.nodes[node].inc;
            self.at(self.now, Event::ToCoordinator { node, inc, input: Input::Stop });
        }
    }

    pub(super) fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((time.max(self.now), self.sequence), event);
    }

    /// Sets the alarm of a node, if it wants to be woken earlier than it will be.
    pub(super) fn arm(&mut self, node: usize) {
        if !self.nodes[node].up {
            return;
        }
        let wanted = if node < self.coords.len() {
            self.coords[node].next_timeout()
        } else {
            self.client(node).core.poll_timeout()
        };
        let Some(wanted) = wanted.filter(|at| at.since_boot() < Duration::from_secs(1 << 40)) else { return };
        let at = self.nodes[node].clock.when(wanted).max(self.now + 1);
        if self.nodes[node].timer.is_none_or(|set| set > at) {
            self.nodes[node].timer = Some(at);
            let inc = self.nodes[node].inc;
            self.at(at, Event::Timer { node, inc, set: at });
        }
    }

    pub(super) fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.verbose {
            let line = format!("{:>12.6} {}", self.now as f64 / SECOND as f64, line());
            self.story.push(line);
        }
    }

    pub(super) fn judge(&mut self, verdict: Verdict) {
        if let Err(broken) = verdict
            && self.broken.is_none()
        {
            self.tell(|| format!("BROKEN {broken}"));
            self.broken = Some(broken);
        }
    }

    /// A node that stands still goes on now: what has come for it meanwhile is handled, in order.
    pub(super) fn wake(&mut self, node: usize) {
        let until = self.nodes[node].paused_until;
        if until <= self.now {
            return;
        }
        let is_its = |event: &Event| Self::place(event).is_some_and(|(place, _)| place == node);
        let deferred = self.queue.range((until, 0)..=(until, u64::MAX)).filter(|(_, event)| is_its(event));
        for key in deferred.map(|(key, _)| *key).collect::<Vec<_>>() {
            if let Some(event) = self.queue.remove(&key) {
                self.at(self.now, event);
            }
        }
    }

    fn mix_in(&mut self, value: u64) {
        self.hash = (self.hash ^ value).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
    }

    /// Which node an event happens at, and in which of its runs.
    const fn place(event: &Event) -> Option<(usize, u32)> {
        match event {
            Event::Done { call, .. } | Event::TimedOut(call) => Some((call.node, call.inc)),
            Event::ToCoordinator { node, inc, .. }
            | Event::ToClient { node, inc, .. }
            | Event::Timer { node, inc, .. }
            | Event::Work { node, inc }
            | Event::EndHold { node, inc, .. }
            | Event::EndPlain { node, inc, .. } => Some((*node, *inc)),
            _ => None,
        }
    }

    /// One event. False where there is none before `until`.
    pub(super) fn step(&mut self, until: u64) -> bool {
        let Some(first) = self.queue.first_entry().filter(|first| first.key().0 <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        let ((time, number), event) = first.remove_entry();
        self.now = time;
        if let Some((node, inc)) = Self::place(&event) {
            let state = &self.nodes[node];
            if !state.up || state.inc != inc {
                return true;
            }
            if state.paused_until > self.now {
                // It comes to it later, in the same order.
                let until = state.paused_until;
                self.at(until, event);
                return true;
            }
        }
        self.stats.events += 1;
        self.mix_in(time);
        self.mix_in(number);
        self.mix_in(self.stream.core.last().get());
        self.dispatch(event);
        true
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::AtServer { from, msg } => self.at_server(from, msg),
            Event::AtStream { call, op, late } => self.at_stream(call, op, late),
            Event::Done { call, done } => self.on_done(call, done),
            Event::TimedOut(call) => self.on_done(call, Done::Failed),
            Event::ToCoordinator { node, input, .. } => self.on_input(node, input),
            Event::ToClient { node, got, .. } => {
                if let Got::Answer { body, .. } = &got {
                    let digest =
                        body.iter().fold(0, |sum: u64, byte| sum.wrapping_mul(31) + u64::from(*byte));
                    self.mix_in(digest);
                }
                self.on_client(node, got);
            }
            Event::Timer { node, set, .. } if self.nodes[node].timer == Some(set) => {
                self.nodes[node].timer = None;
                if node < self.coords.len() {
                    self.turn(node, |_, _| {});
                } else {
                    self.client_timer(node);
                }
            }
            // Set anew since.
            Event::Timer { .. } => {}
            Event::Pump { follower } => self.pump(follower),
            Event::Work { node, .. } => self.work(node),
            Event::EndHold { node, handle, release, .. } => self.finish(node, handle, release),
            Event::Start { node } => self.start(node),
            Event::EndPlain { node, number, forget, .. } => self.end_plain(node, number, forget),
            Event::Strike => self.strike(),
            Event::Inspect => self.inspect(),
        }
    }

    pub(super) fn run_until(&mut self, until: u64) {
        while self.broken.is_none() && self.step(until) {}
    }

    pub(super) fn events_pending(&self) -> usize {
        self.queue.len()
    }

    /// A phase in which things break, and one in which everything must come to rest.
    pub(super) fn run(&mut self, minutes: u64) {
        let end = self.now + minutes * 60 * SECOND;
        if !self.mix.strikes().is_empty() {
            self.at(self.now + 3 * SECOND, Event::Strike);
        }
        let heal = end.saturating_sub(RECOVERY).max(self.now + 20 * SECOND);
        self.run_until(heal);
        self.heal();
        self.run_until(heal + RECOVERY);
        self.stats.time = self.now;
        self.stats.quarantined = u64::from(self.quarantines > 0);
        if self.broken.is_none() {
            self.check_rest();
        }
    }

    /// P4: nobody waits any more, and nothing is held.
    fn check_rest(&mut self) {
        if self.quarantines > 0 {
            return;
        }
        let busy: Vec<usize> =
            self.clients.iter().enumerate().filter(|(_, c)| !c.core.is_empty()).map(|(i, _)| i).collect();
        if !busy.is_empty() {
            let verdict = format!("P4: clients {busy:?} are not served though everything works");
            self.judge(Err(verdict));
        }
        for index in 0..super::client::LOCKS.len() {
            let lock = super::client::lock_name(index);
            let Some((_, record)) = self.record(&lock) else { continue };
            if !record.is_free() {
                self.judge(Err(format!("P4: {} is still held by {:?}", lock.as_str(), record.holders)));
            }
        }
    }
}
