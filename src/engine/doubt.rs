//! Writes of which nobody knows whether they are done: they are sent again until that is known (S7). If it takes
//! long, those who only try are told.

use super::Engine;
use super::acquire::in_doubt_refusal;
use super::books::Books;
use super::deadlines::Alarm;
use super::limits::DOUBT_AFTER;
use super::lock::Lock;

impl<R: Clone> Engine<R> {
    pub(super) fn doubt_soon(&mut self) {
        let Some(flight) = &self.batch else { return };
        for write in &flight.batch.writes {
            if let Some(lock) = self.locks.get_mut(&write.name) {
                lock.doubt_soon(&mut self.books);
            }
        }
    }
}

impl<R: Clone> Lock<R> {
    /// From now on the write is in doubt; if that lasts, those who only try are told.
    pub(super) fn doubt_soon(&mut self, books: &mut Books<R>) {
        let at = books.now.boot + DOUBT_AFTER;
        let name = self.name.clone();
        let Some(flight) = self.flight_mut().filter(|flight| flight.doubt_at.is_none() && !flight.doubtful)
        else {
            return;
        };
        flight.doubt_at = Some(at);
        books.alarm(at, Alarm::Doubt(name));
    }

    pub(super) fn handle_doubt(&mut self, books: &mut Books<R>) {
        let Some(flight) = self.flight_mut() else { return };
        flight.doubt_at = None;
        flight.doubtful = true;
        let trying: Vec<R> = flight.commit.beginning().filter(|w| w.tries).map(|w| w.reply.clone()).collect();
        for to in trying {
            books.refuse(to, in_doubt_refusal());
        }
        for key in self.queue.trying() {
            if let Some(waiter) = self.dismiss(&key, books) {
                books.refuse(waiter.reply, in_doubt_refusal());
            }
        }
    }
}
