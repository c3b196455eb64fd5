//! What may happen next: by free will where nothing happens by itself, and by a fault.

use super::client::State as ClientState;
use super::event::{Actor, Event, Outcome, Say, Term};
use super::leader::Stage;
use super::rules::{Fault, Setup};
use super::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Tick,
    Acquire(u8),
    Release(u8),
    TakeOver,
    Resign(Term),
    /// What is late arrives.
    Arrive(usize),
    Wake(Actor),
    /// For good.
    Spoil(Term, Fault),
}

impl World {
    /// Everything that may come of this state, each with what happens by itself until the next choice.
    pub(super) fn successors(&self, setup: &Setup, mut each: impl FnMut(Self)) {
        if self.next().is_some() {
            return self.fork().run(setup, &mut each);
        }
        for choice in self.choices(setup) {
            let mut world = self.fork();
            world.choose(setup, choice);
            world.run(setup, &mut each);
        }
    }

    /// The same state, of which nothing is told yet.
    fn fork(&self) -> Self {
        let state = self.state.clone();
        Self {
            state,
            marks: Default::default(),
            broken: None,
            story: self.story.as_ref().map(|_| Vec::new()),
        }
    }

    /// Goes on until nothing happens by itself; on the way, each fault gives a world of its own.
    fn run(mut self, setup: &Setup, each: &mut impl FnMut(Self)) {
        self.settle(setup, |world, at| {
            if world.state.faults == 0 {
                return;
            }
            for fault in faults_of(&world.state.soon[at]).iter().filter(|fault| setup.allows(**fault)) {
                let mut faulty = world.clone();
                faulty.spoil(at, *fault);
                each(faulty);
            }
        });
        each(self);
    }

    /// What is free to happen where nothing happens by itself.
    pub(super) fn choices(&self, setup: &Setup) -> Vec<Choice> {
        let (state, bounds) = (&self.state, &setup.bounds);
        let mut choices = Vec::new();
        if state.now < bounds.ticks {
            choices.push(Choice::Tick);
        }
        for (client, number) in state.clients.iter().zip(0..) {
            // The clients are alike: the first begins.
            let may_begin = number < bounds.clients
                && client.used < bounds.ids
                && (number == 0 || state.clients[0].used > 0);
            match client.state {
                _ if state.paused.contains(&Actor::Client(number)) => {}
                ClientState::Idle if may_begin => choices.push(Choice::Acquire(number)),
                ClientState::Held { .. } => choices.push(Choice::Release(number)),
                ClientState::Asking { .. } if state.cancels > 0 => choices.push(Choice::Release(number)),
                _ => {}
            }
        }
        if state.leaders.len() <= usize::from(bounds.takeovers) {
            choices.push(Choice::TakeOver);
        }
        for leader in &state.leaders {
            let is_paused = state.paused.contains(&Actor::Leader(leader.term));
            let serves = leader.stage == Stage::Serving && !leader.cut && !is_paused;
            if serves && state.resignations > 0 {
                choices.push(Choice::Resign(leader.term));
            }
            if state.faults == 0 || leader.is_gone() {
                continue;
            }
            let whole = [(Fault::Cut, !leader.cut), (Fault::Deafen, !leader.deaf)];
            let faults = whole.into_iter().filter(|(fault, whole)| *whole && setup.allows(*fault));
            choices.extend(faults.map(|(fault, _)| Choice::Spoil(leader.term, fault)));
        }
        choices.extend((0..state.late.len()).map(Choice::Arrive));
        choices.extend(state.paused.iter().map(|actor| Choice::Wake(*actor)));
        choices
    }

    pub(super) fn choose(&mut self, setup: &Setup, choice: Choice) {
        self.tell(&choice);
        let now = self.state.now;
        match choice {
            Choice::Tick => self.with(setup, |state, out| state.tick(out)),
            Choice::Acquire(client) => {
                self.with(setup, |state, out| state.clients[usize::from(client)].acquire(now, setup, out));
            }
            Choice::Release(client) => {
                let client = usize::from(client);
                if let ClientState::Asking { .. } = self.state.clients[client].state {
                    self.state.cancels -= 1;
                }
                self.with(setup, |state, out| state.clients[client].release(now, out));
            }
            Choice::TakeOver => self.with(setup, |state, out| state.take_over(setup, out)),
            Choice::Resign(term) => {
                self.state.resignations -= 1;
                self.with(setup, |state, out| state.leaders[usize::from(term)].resign(now, setup, out));
            }
            Choice::Arrive(at) => {
                let event = self.state.late.remove(at);
                self.state.soon.push_back(event);
            }
            Choice::Wake(actor) => self.state.paused.retain(|paused| *paused != actor),
            Choice::Spoil(term, fault) => {
                self.state.faults -= 1;
                let leader = &mut self.state.leaders[usize::from(term)];
                match fault {
                    Fault::Cut => leader.cut = true,
                    _ => leader.deaf = true,
                }
            }
        }
    }

    /// Something goes wrong with the event at that place.
    pub(super) fn spoil(&mut self, at: usize, fault: Fault) {
        let Some(event) = self.state.soon.get(at).copied() else { return };
        self.tell(&(fault, event));
        let state = &mut self.state;
        state.faults -= 1;
        match fault {
            Fault::Pause => return state.paused.extend(event.actor()),
            Fault::Duplicate => {
                state.soon[at] = silent(event);
                return state.late.push(silent(event));
            }
            _ => {}
        }
        state.soon.remove(at);
        match (fault, event) {
            (Fault::Delay, Event::Write(write)) => {
                let (term, attempt) = write.attempt;
                state.late.push(Event::LateWrite(write));
                state.soon.push_back(Event::Written { term, attempt, outcome: Outcome::Unknown });
            }
            (Fault::NoAnswer, Event::Written { term, attempt, .. }) => {
                state.soon.push_back(Event::Written { term, attempt, outcome: Outcome::Unknown });
            }
            (Fault::Bounce, Event::Reply(reply)) => {
                state.soon.push_back(Event::Undelivered { term: reply.term, id: reply.to.id });
            }
            (Fault::Delay, event) => state.late.push(event),
            _ => {}
        }
    }
}

/// Of two copies neither has a notice: a 503 is about the only one, as a publish is sent at most once.
const fn silent(event: Event) -> Event {
    let Event::Reply(mut reply) = event else { return event };
    if let Say::Granted { token, waited, ttl, .. } = reply.say {
        reply.say = Say::Granted { token, waited, ttl, notice: false };
    }
    Event::Reply(reply)
}

/// What may go wrong with an event.
pub(super) const fn faults_of(event: &Event) -> &'static [Fault] {
    match event {
        Event::Request { .. } => &[Fault::Lose, Fault::Delay, Fault::Duplicate, Fault::Pause],
        Event::Reply(reply) => match reply.say {
            Say::Granted { notice: true, .. } => {
                &[Fault::Lose, Fault::Delay, Fault::Duplicate, Fault::Pause, Fault::Bounce]
            }
            _ => &[Fault::Lose, Fault::Delay, Fault::Duplicate, Fault::Pause],
        },
        Event::Write(_) => &[Fault::Delay],
        Event::Written { outcome: Outcome::Unknown, .. } => &[Fault::Pause],
        Event::Written { .. } => &[Fault::NoAnswer, Fault::Pause],
        Event::Deliver { .. } => &[Fault::Delay, Fault::Pause],
        Event::Undelivered { .. } => &[Fault::Lose, Fault::Delay],
        Event::LeaseWritten { .. } | Event::TakenOver { .. } | Event::LeaderTick { .. } => &[Fault::Pause],
        Event::ClientTick { .. } => &[Fault::Pause],
        Event::LateWrite(_) | Event::LeaseWrite { .. } => &[],
    }
}
