//! Releases that let nobody begin (the parenthesis of S2).
//!
//! Nobody gains anything by the write that takes such a lease out of the record, so whoever released is told at
//! once, and the write is put off for a moment: an acquire that comes meanwhile writes its own lease in its place,
//! one compare-and-set from holder to holder.
//!
//! What is said early is true for all who ask this leader: the id is finished, the holder is in nobody's way and
//! shown to nobody. What it does not say is that the store knows. If this leader dies or is deposed before the
//! write, the next one finds the old holder; the client repeats the releases of the last lease time to it
//! (PROTOCOL.md section 3), or the lease runs out. Nobody is let in early by any of this: a grant still takes a
//! stored record that names no other. The event `released` is for those who would try again, so it is sent when
//! the record has changed, and only then. A resource that compares `revision == token / 256` with the store sees the
//! old holder for so much longer.
//!
//! `Limits::put_off_for` says for how long at least, and it is less than twice that; zero turns it off.

use std::time::Duration;

use super::Engine;
use super::books::Books;
use super::deadlines::Alarm;
use super::fact::{Ending, Happening};
use super::holder::{Holder, Tenure};
use super::lock::Lock;
use super::message::LostReason;
use crate::types::{IdHash, LockName};

impl<R> Holder<R> {
    /// Its id is over, if it was not before.
    pub(super) fn finish(&self, name: &LockName, end: (LostReason, Duration), books: &mut Books<R>) {
        if !self.is_gone() {
            books.finish(self.key, &self.owner, name, end);
        }
    }
}

impl<R: Clone> Lock<R> {
    /// True where all that the next write does is to take out those who released. A store that did not take the
    /// last write does not get the benefit of the doubt.
    pub(super) fn can_wait(&self, books: &Books<R>) -> bool {
        let keeps = |holder: &Holder<R>| matches!(holder.tenure, Tenure::Kept { stored: false, .. });
        !books.limits.put_off_for.is_zero()
            && !self.rewrite
            && self.queue.is_empty()
            && !books.troubled
            && self.denials == 0
            && !self.holders.iter().any(keeps)
    }

    /// True for a lease that is over for everybody but the store.
    pub(super) fn is_gone(&self, key: &IdHash) -> bool {
        self.holders.iter().any(|holder| holder.key == *key && holder.is_gone())
    }

    /// Tells those who released, and sets the alarm for the write.
    pub(super) fn put_off(&mut self, books: &mut Books<R>) {
        let now = books.now;
        for holder in &mut self.holders {
            let held = holder.held(now);
            let Tenure::Ending { answers } = &mut holder.tenure else { continue };
            let answers = std::mem::take(answers);
            let took = holder.released_at.map(|at| now.boot.since(at));
            books.note(&self.name, Happening::Ended { how: Ending::Released, held, took });
            books.holding -= 1;
            holder.tenure = Tenure::Gone { held };
            books.finish(holder.key, &holder.owner, &self.name, (LostReason::Released, held));
            for (to, id) in answers {
                books.released(Some(to), id, held);
            }
        }
        if self.write_at.is_none() {
            let put_off_for = books.limits.put_off_for;
            // In steps, so that those of many locks are one wake-up, and one packet to the store.
            let at = (now.boot + put_off_for).rounded_up(put_off_for);
            self.write_at = Some(at);
            books.alarm(at, Alarm::PutOff(self.name.clone()));
        }
    }

    /// Sends what was put off.
    pub(super) fn write_put_off(&mut self, books: &mut Books<R>) {
        self.cancel_put_off(books);
        if self.may_move(books) && self.wants_write(&books.limits) {
            self.write(books);
        }
    }

    pub(super) fn cancel_put_off(&mut self, books: &mut Books<R>) {
        if let Some(at) = self.write_at.take() {
            books.deadlines.cancel(at, Alarm::PutOff(self.name.clone()));
        }
    }
}

impl<R: Clone> Engine<R> {
    /// Sends all that was put off: whoever leaves in peace leaves nothing to the next.
    pub(super) fn write_all_put_off(&mut self) {
        self.locks.for_each_mut(|lock| {
            if lock.write_at.is_some() {
                lock.write_put_off(&mut self.books);
            }
        });
    }
}
