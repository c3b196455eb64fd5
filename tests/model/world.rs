//! All of it: store, leaders, clients, what is on its way, and the one order in which it goes on.
//!
//! What is due at once happens in the order in which it came about. A step from there is a *fault*, and a run
//! has a budget of them: a message lost, delayed or duplicated, a write that lands late, a lost answer, an actor
//! paused, a leader cut off, a 503. What clients and coordinators do of their own free will, and when, is free.

use std::collections::VecDeque;

use super::client::{Client, State as ClientState};
use super::event::{Actor, Event, Out, Outcome, Revision, Term, Tick};
use super::leader::{Leader, Stage};
use super::properties::{Break, Mark, Marks};
use super::rules::{Rule, Setup};
use super::store::{LeaseRecord, Store};

/// How many things may happen at once before it is called a livelock.
const PROMPT_MAX: u32 = 300;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) now: Tick,
    pub(super) store: Store,
    pub(super) clients: [Client; 2],
    pub(super) leaders: Vec<Leader>,
    pub(super) soon: VecDeque<Event>,
    /// What is late, in an order that says nothing.
    pub(super) late: Vec<Event>,
    pub(super) paused: Vec<Actor>,
    pub(super) faults: u8,
    pub(super) cancels: u8,
    pub(super) resignations: u8,
    pub(super) highest_token: Revision,
}

/// A state, and what happened on the way to it.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) state: State,
    pub(super) marks: Marks,
    pub(super) broken: Option<Break>,
    /// What happened, where somebody wants to read it.
    pub(super) story: Option<Vec<String>>,
}

impl World {
    /// The first term has begun, nobody holds or wants the lock.
    pub(super) fn new(setup: &Setup) -> Self {
        let mut leader = Leader::new(0, 1, 0, setup.leader_lease(0));
        (leader.stage, leader.delivered) = (Stage::Serving, 1);
        let state = State {
            now: 0,
            store: Store::new(setup.leader_lease(0)),
            clients: [Client::new(0), Client::new(1)],
            leaders: vec![leader],
            soon: VecDeque::new(),
            late: Vec::new(),
            paused: Vec::new(),
            faults: setup.bounds.faults,
            cancels: setup.bounds.cancels,
            resignations: setup.bounds.resignations,
            highest_token: 0,
        };
        Self { state, marks: Marks::default(), broken: None, story: None }
    }

    pub(super) fn tell(&mut self, what: &impl std::fmt::Debug) {
        let now = self.state.now;
        if let Some(story) = &mut self.story {
            story.push(format!("{now}: {what:?}"));
        }
    }

    /// Where the next thing that happens stands; none where there is nothing but what is late or paused.
    pub(super) fn next(&self) -> Option<usize> {
        let is_paused = |event: &Event| event.actor().is_some_and(|actor| self.state.paused.contains(&actor));
        self.state.soon.iter().position(|event| !is_paused(event))
    }

    /// Lets happen what happens at once, until nothing does or something is broken. `before` sees each event.
    pub(super) fn settle(&mut self, setup: &Setup, mut before: impl FnMut(&Self, usize)) {
        for _ in 0..PROMPT_MAX {
            let Some(at) = self.next().filter(|_| self.broken.is_none()) else { return self.tidy() };
            before(self, at);
            self.happen(setup, at);
        }
        self.broken = Some(Break::Endless);
    }

    /// What stands there happens.
    pub(super) fn happen(&mut self, setup: &Setup, at: usize) {
        if let Some(event) = self.state.soon.remove(at) {
            self.tell(&event);
            self.with(setup, |state, out| state.handle(setup, event, out));
        }
    }

    /// Runs something that brings things about, and looks whether all is well afterwards.
    pub(super) fn with(&mut self, setup: &Setup, act: impl FnOnce(&mut State, &mut Out)) {
        let state = &mut self.state;
        let listening = state.leaders.iter().filter(|leader| !leader.is_gone() && !leader.deaf);
        let mut out = Out {
            soon: std::mem::take(&mut state.soon),
            listening: listening.fold(0, |bits, leader| bits | 1 << leader.term),
            highest_token: state.highest_token,
            marks: self.marks,
            broken: None,
        };
        act(state, &mut out);
        (state.soon, state.highest_token, self.marks) = (out.soon, out.highest_token, out.marks);
        let judged = |what: &Break| !setup.bounds.overlooks.contains(what);
        let broken = out.broken.or_else(|| super::properties::check(state));
        self.broken = broken.filter(judged).or(self.broken);
    }

    /// States that differ only in what can no longer matter become equal.
    fn tidy(&mut self) {
        let leaders = &self.state.leaders;
        let matters = |event: &Event| match event.actor() {
            Some(Actor::Leader(term)) => !leaders[usize::from(term)].is_gone(),
            _ => true,
        };
        self.state.late.retain(matters);
        self.state.soon.retain(matters);
        self.state.paused.retain(|actor| match actor {
            Actor::Leader(term) => !leaders[usize::from(*term)].is_gone(),
            Actor::Client(_) => true,
        });
        self.state.late.sort_unstable();
    }
}

impl State {
    fn handle(&mut self, setup: &Setup, event: Event, out: &mut Out) {
        let now = self.now;
        match event {
            Event::Request { to, request } => {
                self.leaders[usize::from(to)].handle_request(now, setup, request, out);
            }
            Event::Reply(reply) => {
                let client = &mut self.clients[usize::from(reply.to.id.client)];
                client.handle_reply(now, setup, reply, out);
            }
            Event::Write(write) => {
                let (term, attempt) = write.attempt;
                let outcome = self.write(&write, out);
                out.push(Event::Written { term, attempt, outcome });
            }
            Event::LateWrite(write) => {
                self.write(&write, out);
            }
            Event::Written { term, attempt, outcome } => {
                self.leaders[usize::from(term)].handle_written(now, setup, attempt, outcome, out);
            }
            Event::LeaseWrite { term, sent, record } => {
                let applied = self.store.write_lease(record);
                out.push(Event::LeaseWritten { term, sent, record, applied });
                self.notify(out);
            }
            Event::LeaseWritten { term, sent, record, applied } => {
                let leader = &mut self.leaders[usize::from(term)];
                leader.handle_lease_written(now, setup, (record, sent), applied, out);
            }
            Event::TakenOver { term } => self.leaders[usize::from(term)].handle_taken_over(now, out),
            Event::Deliver { term } => {
                self.leaders[usize::from(term)].handle_delivered(now, setup, &self.store, out);
            }
            Event::Undelivered { term, id } => {
                self.leaders[usize::from(term)].handle_undelivered(now, setup, id, out);
            }
            Event::LeaderTick { term } => self.leaders[usize::from(term)].handle_tick(now, setup, out),
            Event::ClientTick { client } => {
                self.clients[usize::from(client)].handle_tick(now, setup, out);
            }
        }
    }

    fn write(&mut self, write: &super::store::Write, out: &mut Out) -> Outcome {
        if self.store.is_barred(write) && write.expected == self.store.lock.revision {
            out.marks.add(Mark::RefusedByEpoch);
        }
        let outcome = self.store.write(write);
        if let Outcome::Acknowledged(_) = outcome {
            self.notify(out);
        }
        outcome
    }

    /// The standing consumers have something to bring.
    fn notify(&self, out: &mut Out) {
        for leader in &self.leaders {
            let event = Event::Deliver { term: leader.term };
            let behind = leader.delivered < self.store.last || leader.flight.is_some();
            if behind
                && !leader.is_gone()
                && !leader.cut
                && !out.soon.contains(&event)
                && !self.late.contains(&event)
            {
                out.push(event);
            }
        }
    }

    /// A coordinator takes over: it has read the `epoch` and the `lease` record, and its batch is applied.
    pub(super) fn take_over(&mut self, setup: &Setup, out: &mut Out) {
        let term = Term::try_from(self.leaders.len()).unwrap_or(Term::MAX);
        let overlap = self.store.lease.overlap;
        let mine = setup.leader_lease(term);
        let written = if setup.keeps(Rule::OverlapIsInherited) { mine.max(overlap) } else { mine };
        let epoch = self.store.take_over(LeaseRecord { term, overlap: written, resigned: false });
        self.notify(out);
        self.leaders.push(Leader::new(term, epoch, overlap, self.now + mine));
        out.push(Event::TakenOver { term });
    }

    /// Time passes, for everybody.
    pub(super) fn tick(&mut self, out: &mut Out) {
        self.now += 1;
        let leaders = self.leaders.iter().filter(|leader| !leader.is_gone());
        let leaders = leaders.map(|leader| Event::LeaderTick { term: leader.term });
        let busy = self.clients.iter().zip(0..).filter(|(client, _)| client.state != ClientState::Idle);
        for event in leaders.chain(busy.map(|(_, client)| Event::ClientTick { client })) {
            if !out.soon.contains(&event) {
                out.push(event);
            }
        }
    }
}
