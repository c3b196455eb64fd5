//! What is counted of one lock, or of all.

use std::time::Duration;

use super::spread::Spread;
use crate::engine::Census;
use crate::engine::fact::{Ending, GaveUp, Happening};
use crate::engine::message::Code;
use crate::wire::stats::Figures;

/// Counters and spreads.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) acquires: u64,
    pub(super) grants: u64,
    pub(super) held: u64,
    pub(super) timeouts: u64,
    pub(super) contended: u64,
    pub(super) releases: u64,
    pub(super) expiries: u64,
    pub(super) revocations: u64,
    pub(super) handovers: u64,
    pub(super) cancels: u64,
    pub(super) silent: u64,
    pub(super) takeovers: u64,
    pub(super) in_doubt: u64,
    pub(super) conflicts: u64,
    pub(super) refusals: [u64; Code::ALL.len()],
    pub(super) acquire: Spread,
    pub(super) release: Spread,
    pub(super) wait: Spread,
    pub(super) hold: Spread,
}

impl Sums {
    pub(super) fn add(&mut self, what: Happening) {
        match what {
            Happening::Asked { contended } => {
                self.acquires += 1;
                self.contended += u64::from(contended);
            }
            Happening::Granted { took, stood, wanted } => {
                self.grants += 1;
                if wanted {
                    self.acquire.add(took);
                }
                self.stood(stood);
            }
            Happening::Held => self.held += 1,
            Happening::GaveUp { why, stood } => {
                self.stood(stood);
                match why {
                    GaveUp::TimedOut => self.timeouts += 1,
                    GaveUp::Cancelled => self.cancels += 1,
                    GaveUp::Silent => self.silent += 1,
                }
            }
            Happening::Ended { how, held, took } => self.ended(how, held, took),
            Happening::HandedOver => self.handovers += 1,
            Happening::InDoubt => self.in_doubt += 1,
            Happening::Conflict => self.conflicts += 1,
            Happening::Refused(code) => self.refusals[code as usize] += 1,
        }
    }

    fn stood(&mut self, stood: Option<Duration>) {
        if let Some(stood) = stood {
            self.wait.add(stood);
        }
    }

    fn ended(&mut self, how: Ending, held: Duration, took: Option<Duration>) {
        self.hold.add(held);
        match how {
            Ending::Released => self.releases += 1,
            Ending::Expired => self.expiries += 1,
            Ending::Revoked => self.revocations += 1,
        }
        if let Some(took) = took {
            self.release.add(took);
        }
    }

    /// The refusals of each code that there were.
    pub(super) fn refusals(&self) -> impl Iterator<Item = (Code, u64)> {
        Code::ALL.into_iter().zip(self.refusals).filter(|(_, count)| *count > 0)
    }

    pub(super) fn figures(&self, census: Census) -> Figures {
        let rate = if self.acquires == 0 { 0.0 } else { self.contended as f64 / self.acquires as f64 };
        Figures {
            acquires: self.acquires,
            grants: self.grants,
            held: self.held,
            timeouts: self.timeouts,
            contended: self.contended,
            contention_rate: rate,
            acquire: self.acquire.figures(),
            release: self.release.figures(),
            wait: self.wait.figures(),
            hold: self.hold.figures(),
            expiries: self.expiries,
            handovers: self.handovers,
            cancels: self.cancels,
            takeovers: self.takeovers,
            in_doubt: self.in_doubt,
            conflicts: self.conflicts,
            refusals: self.refusals().map(|(code, count)| (code.as_str().to_owned(), count)).collect(),
            holders: census.holders,
            waiters: census.waiters,
        }
    }
}
