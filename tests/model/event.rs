//! What travels: requests, replies, writes and what comes of them, news of the store.

use std::collections::VecDeque;

use super::properties::{Break, Marks};
use super::store::{LeaseRecord, Write};

/// The model's clock. All clocks agree: drift is the simulator's business.
pub(super) type Tick = u8;
/// The number of a leader; a later one has a higher epoch.
pub(super) type Term = u8;
/// A sequence of the store. Only lock records and takeovers count: the order of lease records matters to nobody.
pub(super) type Revision = u8;

/// One acquisition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    pub(super) client: u8,
    pub(super) number: u8,
}

/// A request. Its tick stands for its reply subject: two that were sent in the same tick confer the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Request {
    pub(super) id: Id,
    pub(super) sent: Tick,
    pub(super) ask: Ask,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Ask {
    Acquire,
    Renew { token: Option<Revision> },
    Release { token: Option<Revision> },
}

/// An answer to that request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Reply {
    pub(super) to: Request,
    pub(super) term: Term,
    pub(super) say: Say,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Say {
    /// With `notice`, the leader hears when nobody takes it.
    Granted {
        token: Revision,
        waited: Tick,
        ttl: Tick,
        notice: bool,
    },
    Renewed,
    Released,
    /// `not_holder`.
    NotHolder,
    /// `finished`.
    Finished,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Outcome {
    Acknowledged(Revision),
    Refused,
    /// No answer: it may have been applied, and may still be.
    Unknown,
}

/// What happens next, unless a fault comes in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Event {
    Request {
        to: Term,
        request: Request,
    },
    Reply(Reply),
    Write(Write),
    Written {
        term: Term,
        attempt: u8,
        outcome: Outcome,
    },
    /// A write that lands after its leader has given up waiting for the answer.
    LateWrite(Write),
    LeaseWrite {
        term: Term,
        sent: Tick,
        record: LeaseRecord,
    },
    /// All that was written up to this revision was written before the lease record was.
    LeaseWritten {
        term: Term,
        sent: Tick,
        record: LeaseRecord,
        applied: Option<Revision>,
    },
    TakenOver {
        term: Term,
    },
    /// The standing consumer brings what is new.
    Deliver {
        term: Term,
    },
    /// A 503: nobody took the grant of this id.
    Undelivered {
        term: Term,
        id: Id,
    },
    LeaderTick {
        term: Term,
    },
    ClientTick {
        client: u8,
    },
}

/// Whom a pause can stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Actor {
    Client(u8),
    Leader(Term),
}

impl Event {
    /// Who handles it; none for the store.
    pub(super) const fn actor(&self) -> Option<Actor> {
        match self {
            Self::Write(_) | Self::LateWrite(_) | Self::LeaseWrite { .. } => None,
            Self::Reply(reply) => Some(Actor::Client(reply.to.id.client)),
            Self::ClientTick { client } => Some(Actor::Client(*client)),
            Self::Request { to: term, .. }
            | Self::Written { term, .. }
            | Self::LeaseWritten { term, .. }
            | Self::TakenOver { term, .. }
            | Self::Deliver { term }
            | Self::Undelivered { term, .. }
            | Self::LeaderTick { term } => Some(Actor::Leader(*term)),
        }
    }
}

/// What an actor brings about.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) soon: VecDeque<Event>,
    pub(super) marks: Marks,
    pub(super) broken: Option<Break>,
    /// The leaders that a request reaches, a bit each.
    pub(super) listening: u8,
    /// The highest token that anybody has believed in.
    pub(super) highest_token: Revision,
}

impl Out {
    pub(super) fn push(&mut self, event: Event) {
        self.soon.push_back(event);
    }

    /// Every coordinator hears every request.
    pub(super) fn request(&mut self, request: Request) {
        let terms = (0..8).filter(|term| self.listening & (1 << term) != 0);
        self.soon.extend(terms.map(|to| Event::Request { to, request }));
    }
}
