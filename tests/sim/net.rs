//! The modelled network: one server that everybody is connected to, and what happens on the way there and
//! back.

use bytes::Bytes;
use natslock::engine::message::{Ask, GrantNumber};
use natslock::types::{CoordinatorId, Epoch};

use super::clock::{MS, SECOND};
use super::coordinator::Input;
use super::world::{Event, World};

/// Where an answer goes: one sending of one run of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct To {
    pub(super) node: usize,
    pub(super) inc: u32,
    pub(super) number: u64,
}

/// A request on its way.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) to: To,
    pub(super) ask: Ask,
}

#[derive(Debug, Clone)]
pub(super) enum Msg {
    Request(Asked),
    /// With `notice`, the server says so to that coordinator where nobody is there to take it.
    Reply {
        to: To,
        body: Bytes,
        notice: Option<(usize, u32, GrantNumber)>,
        /// The generation of the storage at that time.
        sent_in: u32,
    },
    Beat {
        coordinator: CoordinatorId,
        epoch: Epoch,
        resigned: bool,
    },
    Leads(Epoch),
}

/// What a client gets.
#[derive(Debug, Clone)]
pub(super) enum Got {
    Answer { number: u64, body: Bytes, sent_in: u32 },
    Nobody(u64),
    Leads(Epoch),
}

impl World {
    /// The time between a node and the server.
    fn lag(&mut self) -> u64 {
        let mut lag = self.rng.range(50, 600);
        if self.mix.delay && self.rng.percent(3) {
            self.stats.faults += 1;
            lag += match self.rng.below(3) {
                0 => self.rng.below(100 * MS),
                1 => self.rng.below(2 * SECOND),
                _ => self.rng.below(15 * SECOND),
            };
        }
        lag
    }

    /// A connection keeps the order, unless this seed says otherwise.
    pub(super) fn in_order(&mut self, from: usize, to: usize, arrives: u64) -> u64 {
        if self.mix.reorder && from != usize::MAX {
            return arrives;
        }
        let last = self.links.entry((from, to)).or_insert(0);
        *last = arrives.max(*last + 1);
        *last
    }

    /// When something sent now arrives at the server, if it does.
    pub(super) fn leg_up(&mut self, node: usize) -> Option<u64> {
        let departs = self.now.max(self.nodes[node].paused_until);
        let cut = self.nodes[node].cut_up;
        if cut.until > departs {
            let replay = cut.until + self.rng.range(MS, 20 * MS);
            return cut.replays.then(|| self.in_order(node, usize::MAX - 1, replay));
        }
        if self.mix.drop && self.rng.percent(2) {
            self.stats.faults += 1;
            return None;
        }
        let arrives = departs + self.lag();
        Some(self.in_order(node, usize::MAX - 1, arrives))
    }

    /// When something that leaves the server at `departs` arrives, if it does.
    pub(super) fn leg_down(&mut self, node: usize, departs: u64) -> Option<u64> {
        let cut = self.nodes[node].cut_down;
        if cut.until > departs {
            let replay = cut.until + self.rng.range(MS, 20 * MS);
            return cut.replays.then(|| self.in_order(usize::MAX - 1, node, replay));
        }
        if self.mix.drop && self.rng.percent(1) {
            self.stats.faults += 1;
            return None;
        }
        let arrives = departs + self.lag();
        Some(self.in_order(usize::MAX - 1, node, arrives))
    }

    pub(super) fn publish(&mut self, from: usize, msg: Msg) {
        let Some(arrives) = self.leg_up(from) else { return };
        let Some(late) = self.script.fate(&msg) else { return };
        let arrives = arrives + late;
        self.stats.messages += 1;
        // What the server can refuse with a 503 it gets once: a client publishes at most once, and of two copies
        // one could be refused and the other taken.
        let noticed = matches!(msg, Msg::Reply { notice: Some(_), .. });
        if self.mix.duplicate && !noticed && self.rng.percent(4) {
            self.stats.faults += 1;
            let again = arrives + self.rng.below(6 * SECOND);
            self.at(again, Event::AtServer { from, msg: msg.clone() });
        }
        self.at(arrives, Event::AtServer { from, msg });
    }

    /// True where the server knows of no connection of this node.
    fn is_gone(&self, node: usize) -> bool {
        let cut = &self.nodes[node].cut_down;
        !self.nodes[node].up || (cut.until > self.now && cut.noticed)
    }

    pub(super) fn at_server(&mut self, from: usize, msg: Msg) {
        match msg {
            Msg::Request(asked) => self.pass_request(asked),
            Msg::Reply { to, body, notice, sent_in } => self.pass_reply(to, body, notice, sent_in),
            Msg::Beat { coordinator, epoch, resigned } => {
                for node in 0..self.coords.len() {
                    if node != from {
                        self.pass_to(node, Input::Beat { coordinator, epoch, resigned });
                    }
                }
            }
            Msg::Leads(epoch) => {
                for node in self.coords.len()..self.nodes.len() {
                    if let Some(arrives) = self.leg_down(node, self.now) {
                        let inc = self.nodes[node].inc;
                        self.at(arrives, Event::ToClient { node, inc, got: Got::Leads(epoch) });
                    }
                }
            }
        }
    }

    fn pass_to(&mut self, node: usize, input: Input) {
        if self.is_gone(node) {
            return;
        }
        if let Some(arrives) = self.leg_down(node, self.now) {
            let inc = self.nodes[node].inc;
            self.at(arrives, Event::ToCoordinator { node, inc, input });
        }
    }

    fn pass_request(&mut self, asked: Asked) {
        let listening: Vec<usize> =
            (0..self.coords.len()).filter(|n| !self.is_gone(*n) && self.coords[*n].listens()).collect();
        if listening.is_empty() {
            let To { node, inc, number } = asked.to;
            if let Some(arrives) = self.leg_down(node, self.now) {
                self.at(arrives, Event::ToClient { node, inc, got: Got::Nobody(number) });
            }
        }
        for node in listening {
            if self.script.deaf.contains(&(asked.to.node, node)) {
                continue;
            }
            self.pass_to(node, Input::Request(asked.clone()));
        }
    }

    fn pass_reply(&mut self, to: To, body: Bytes, notice: Option<(usize, u32, GrantNumber)>, sent_in: u32) {
        let To { node, inc, number } = to;
        if self.is_gone(node) || self.nodes[node].inc != inc {
            if let Some((leader, run, number)) = notice
                && self.nodes[leader].inc == run
            {
                self.stats.notices += 1;
                let at = self.now + self.script.late_notices + self.nodes[leader].latency;
                self.at(at, Event::ToCoordinator { node: leader, inc: run, input: Input::Notice(number) });
            }
            return;
        }
        if let Some(arrives) = self.leg_down(node, self.now) {
            self.at(arrives, Event::ToClient { node, inc, got: Got::Answer { number, body, sent_in } });
        }
    }
}
