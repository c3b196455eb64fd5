//! A client: one acquisition at a time, as `client::core` does it.

use super::event::{Ask, Id, Out, Reply, Request, Revision, Say, Term, Tick};
use super::properties::{Break, Mark};
use super::rules::{Rule, Setup, TTL};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Client {
    me: u8,
    pub(super) state: State,
    /// How many ids it has used.
    pub(super) used: u8,
    /// The highest epoch that any answer spoke for.
    epoch: Term,
    /// A release that was answered, and until when its lease may stand in the way of a new leader.
    past: Option<(Request, Tick)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum State {
    Idle,
    Asking {
        id: Id,
        sends: Sends,
    },
    Held {
        id: Id,
        token: Revision,
        deadline: Tick,
        renewals: Sends,
    },
    /// No longer wanted, or lost: released until answered or over.
    Releasing {
        id: Id,
        token: Option<Revision>,
        until: Tick,
    },
}

/// When the requests were sent whose answers mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Sends(u32);

impl Sends {
    const fn add(&mut self, at: Tick) {
        self.0 |= 1 << at;
    }

    const fn knows(self, at: Tick) -> bool {
        self.0 & (1 << at) != 0
    }

    const fn any(self) -> bool {
        self.0 != 0
    }

    const fn last(self) -> Tick {
        self.0.ilog2() as Tick
    }
}

impl Client {
    pub(super) const fn new(me: u8) -> Self {
        Self { me, state: State::Idle, used: 0, epoch: 0, past: None }
    }

    /// The lease that it believes in.
    pub(super) const fn believes(&self, now: Tick) -> Option<(Id, Revision)> {
        match self.state {
            State::Held { id, token, deadline, .. } if now < deadline => Some((id, token)),
            _ => None,
        }
    }

    pub(super) fn acquire(&mut self, now: Tick, setup: &Setup, out: &mut Out) {
        let id = Id { client: self.me, number: self.used };
        self.used += 1;
        self.state = State::Asking { id, sends: Sends::default() };
        self.handle_tick(now, setup, out);
    }

    /// Gives the lease or the acquisition up. Final.
    pub(super) fn release(&mut self, now: Tick, out: &mut Out) {
        let (id, token) = match self.state {
            State::Asking { id, .. } => (id, None),
            State::Held { id, token, .. } => (id, Some(token)),
            State::Idle | State::Releasing { .. } => return,
        };
        self.state = State::Releasing { id, token, until: now + TTL };
        out.request(Request { id, sent: now, ask: Ask::Release { token } });
    }

    /// Once a tick it asks again, renews or releases again; a lease is lost at its own deadline.
    pub(super) fn handle_tick(&mut self, now: Tick, setup: &Setup, out: &mut Out) {
        match &mut self.state {
            State::Idle => {}
            State::Asking { sends, .. } if sends.any() && !setup.keeps(Rule::WaitersRepeat) => {}
            State::Asking { id, sends } => {
                sends.add(now);
                out.request(Request { id: *id, sent: now, ask: Ask::Acquire });
            }
            State::Held { deadline, .. } if *deadline <= now => self.release(now, out),
            State::Held { .. } => self.renew(now, setup, out),
            State::Releasing { until, .. } if *until <= now => self.state = State::Idle,
            State::Releasing { id, token, .. } => {
                out.request(Request { id: *id, sent: now, ask: Ask::Release { token: *token } });
            }
        }
    }

    fn renew(&mut self, now: Tick, setup: &Setup, out: &mut Out) {
        if let State::Held { id, token, renewals, .. } = &mut self.state {
            renewals.add(now);
            let token = setup.keeps(Rule::TokenInRenewal).then_some(*token);
            out.request(Request { id: *id, sent: now, ask: Ask::Renew { token } });
        }
    }

    pub(super) fn handle_reply(&mut self, now: Tick, setup: &Setup, reply: Reply, out: &mut Out) {
        let outdated = reply.term < self.epoch;
        if reply.term > self.epoch {
            self.epoch = reply.term;
            self.repeat_release(now, out);
        }
        let denies = matches!(reply.say, Say::NotHolder | Say::Finished);
        if outdated && denies && setup.keeps(Rule::OldEpochsDenyNothing) {
            out.marks.add(Mark::OldEpochIgnored);
            return;
        }
        match (&mut self.state, reply.say) {
            (State::Asking { id, sends }, Say::Granted { token, waited, ttl, .. })
                if *id == reply.to.id && sends.knows(reply.to.sent) =>
            {
                let from = if setup.keeps(Rule::GrantNamesRequest) { reply.to.sent } else { sends.last() };
                let deadline =
                    if setup.keeps(Rule::CountFromSending) { from + waited + ttl } else { now + ttl };
                self.granted(now, setup, (token, deadline), out);
            }
            (State::Asking { id, .. }, Say::Finished)
                if *id == reply.to.id && reply.to.ask == Ask::Acquire =>
            {
                // The wait goes on under another id.
                self.state = State::Idle;
                if self.used < setup.bounds.ids {
                    self.acquire(now, setup, out);
                }
            }
            (State::Held { id, deadline, renewals, .. }, Say::Renewed)
                if *id == reply.to.id && renewals.knows(reply.to.sent) =>
            {
                *deadline = (*deadline).max(reply.to.sent + TTL);
            }
            (State::Held { id, renewals, deadline, .. }, Say::NotHolder | Say::Finished)
                if *id == reply.to.id
                    && matches!(reply.to.ask, Ask::Renew { .. })
                    && renewals.knows(reply.to.sent) =>
            {
                if now < *deadline {
                    out.broken = Some(Break::ToldLost);
                }
                self.release(now, out);
            }
            (State::Releasing { id, until, .. }, Say::Released | Say::NotHolder | Say::Finished)
                if *id == reply.to.id && matches!(reply.to.ask, Ask::Release { .. }) =>
            {
                self.past = setup.bounds.early_release.then_some((reply.to, *until));
                self.state = State::Idle;
            }
            _ => {}
        }
    }

    /// A leader that died may have answered a release and not written it: the next one is told again.
    fn repeat_release(&mut self, now: Tick, out: &mut Out) {
        if let Some((request, _)) = self.past.take().filter(|(_, until)| *until > now) {
            out.marks.add(Mark::ReleasedAgain);
            out.request(Request { sent: now, ..request });
        }
    }

    fn granted(&mut self, now: Tick, setup: &Setup, (token, deadline): (Revision, Tick), out: &mut Out) {
        let State::Asking { id, .. } = self.state else { return };
        if deadline <= now {
            // It came too late to be believed. A repeat renews it, if it still is there.
            out.marks.add(Mark::GrantTooLate);
            return self.handle_tick(now, setup, out);
        }
        if token <= out.highest_token {
            out.broken = Some(Break::TokenOrder);
        }
        out.highest_token = out.highest_token.max(token);
        self.state = State::Held { id, token, deadline, renewals: Sends::default() };
        if setup.bounds.confirm.is_some() {
            self.renew(now, setup, out);
        }
    }
}
