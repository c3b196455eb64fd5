//! What happens by itself.

use std::time::Duration;

use super::Engine;
use super::acquire::in_doubt_refusal;
use super::books::Books;
use super::deadlines::Alarm;
use super::fact::{GaveUp, Happening};
use super::holder::Tenure;
use super::lock::Lock;
use super::message::{Now, Reply};
use crate::types::IdHash;

/// How long an alarm is put off while the leader is not sure of its leadership.
const UNSURE_PAUSE: Duration = Duration::from_millis(250);

impl<R: Clone> Engine<R> {
    /// The time of [`Engine::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.books.begin(now);
        while let Some(alarm) = self.books.deadlines.pop(now.boot) {
            self.ring(alarm);
        }
        let limits = self.books.limits.clone();
        self.books.finished.forget(now.boot, &limits);
        self.take_away();
    }

    fn ring(&mut self, alarm: Alarm) {
        self.books.about = alarm.name().cloned();
        match alarm {
            Alarm::Parked => self.retry_parked(),
            Alarm::RetryBatch => self.resend_batch(),
            Alarm::Forget(name) => {
                if let Some(lock) = self.locks.get_mut(&name) {
                    lock.forget(&mut self.books);
                    if lock.is_at_rest() {
                        self.locks.remove(&name);
                    }
                }
            }
            Alarm::PutOff(name) => {
                if let Some(lock) = self.locks.get_mut(&name) {
                    lock.write_put_off(&mut self.books);
                }
                self.tidy(&name);
            }
            Alarm::Lease(name, key) => {
                if let Some(lock) = self.locks.get_mut(&name) {
                    lock.lease_alarm(&key, &mut self.books);
                }
                self.tidy(&name);
            }
            Alarm::Wait(name, key) => {
                if let Some(lock) = self.locks.get_mut(&name) {
                    lock.wait_alarm(&key, &mut self.books);
                }
                self.tidy(&name);
            }
            Alarm::Retry(name) => {
                if let Some(lock) = self.locks.get_mut(&name) {
                    lock.resend(&mut self.books);
                }
            }
            Alarm::Doubt(name) => {
                if let Some(lock) = self.locks.get_mut(&name) {
                    lock.handle_doubt(&mut self.books);
                }
            }
        }
    }
}

impl<R: Clone> Lock<R> {
    fn lease_alarm(&mut self, key: &IdHash, books: &mut Books<R>) {
        let Some(index) = self.holders.iter().position(|holder| holder.key == *key) else { return };
        let now = books.now.boot;
        let holder = &mut self.holders[index];
        holder.alarm_at = None;
        if !books.acting {
            let at = now + UNSURE_PAUSE;
            holder.alarm_at = Some(at);
            books.alarm(at, Alarm::Lease(self.name.clone(), *key));
        } else if holder.ends_at(&books.term) > now {
            self.watch_lease(index, books);
        } else if matches!(holder.tenure, Tenure::Kept { .. }) {
            // Its owner released it long ago: this is not taken away from anybody.
            holder.tenure = Tenure::Ending { answers: Vec::new() };
            self.advance(books);
        } else {
            books.due.insert(self.name.clone());
        }
    }

    fn wait_alarm(&mut self, key: &IdHash, books: &mut Books<R>) {
        let now = books.now.boot;
        let Some(waiter) = self.queue.get_mut(key) else { return };
        if !books.acting {
            waiter.alarm_at = now + UNSURE_PAUSE;
            books.alarm(waiter.alarm_at, Alarm::Wait(self.name.clone(), *key));
            return;
        }
        if waiter.due_at() > now {
            self.watch_waiter(key, books);
            return;
        }
        let Some(waiter) = self.dismiss(key, books) else { return };
        let (timed_out, stood) = (waiter.wait_until <= now, waiter.stood(now));
        books.note(
            &self.name,
            Happening::GaveUp { why: if timed_out { GaveUp::TimedOut } else { GaveUp::Silent }, stood },
        );
        // One that has fallen silent is dropped without a word: nobody listens.
        if timed_out {
            if self.flight().is_some_and(|flight| flight.doubtful) && !self.is_held() {
                books.refuse(waiter.reply, in_doubt_refusal());
            } else {
                let view = self.view(books.now, super::LISTED, false);
                let waited = now.since(waiter.received);
                books.reply(waiter.reply, Reply::Timeout { view, waited });
            }
        }
        // Whoever stood behind it may fit now.
        self.advance(books);
    }
}
