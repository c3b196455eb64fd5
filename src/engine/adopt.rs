//! What others wrote: found when a term begins, or delivered by the standing consumer since (S5, S8).

use super::Engine;
use super::books::Books;
use super::holder::{Holder, Tenure};
use super::lock::{Garbled, Lock};
use super::message::{EntryContent, LockEntry, LockRecord, LostReason, Now, StoredHolder};
use crate::types::{IdHash, Revision};

impl<R: Clone> Engine<R> {
    /// The standing consumer has delivered the record of a lock.
    pub fn handle_entry(&mut self, now: Now, entry: LockEntry) {
        self.books.begin(now);
        self.books.delivered = self.books.delivered.max(entry.revision);
        let name = entry.name.clone();
        self.books.about = Some(name.clone());
        let lock = self.locks.get_or_new(&name);
        if entry.revision > lock.stored {
            if lock.is_idle() {
                lock.adopt(entry, &mut self.books);
            } else {
                lock.seen = Some(Box::new(entry));
                self.books.ahead.insert(name.clone());
            }
        }
        self.tidy(&name);
        self.resolve();
        self.take_away();
    }

    /// The standing consumer has delivered another record than a lock's.
    pub fn handle_delivered(&mut self, now: Now, revision: Revision) {
        self.books.begin(now);
        self.books.delivered = self.books.delivered.max(revision);
        self.resolve();
        self.take_away();
    }
}

impl<R: Clone> Lock<R> {
    /// Takes a record of somebody else for the truth.
    pub(super) fn adopt(&mut self, entry: LockEntry, books: &mut Books<R>) {
        self.stored = entry.revision;
        self.named = None;
        self.denials = 0;
        self.cancel_forget(books);
        match entry.content {
            EntryContent::Garbled(why) => self.quarantine(why, books),
            EntryContent::Deleted => {
                self.garbled = None;
                // A tool deleted the record under a holder that this leader knows: it is written again.
                self.rewrite = self.holders.iter().any(|holder| !holder.is_ending());
                self.drop_ending(books);
            }
            EntryContent::Record(record) => {
                self.garbled = None;
                self.adopt_holders(&record, books);
            }
        }
        self.advance(books);
    }

    fn quarantine(&mut self, why: String, books: &mut Books<R>) {
        self.garbled = Some(Box::new(Garbled { why, revision: self.stored }));
        self.drop_all(books);
        let keys: Vec<_> = self.queue.iter().map(|waiter| waiter.key).collect();
        for key in keys {
            if let Some(waiter) = self.dismiss(&key, books) {
                let refusal = self.quarantine_refusal();
                books.refuse(waiter.reply, refusal);
            }
        }
    }

    fn adopt_holders(&mut self, record: &LockRecord, books: &mut Books<R>) {
        let revision = self.stored;
        let stays = |holder: &Holder<R>| {
            let same = |s: &StoredHolder| s.id == holder.key && s.token.resolve(revision) == holder.token();
            record.holders.iter().any(same)
        };
        let gone: Vec<IdHash> = self.holders.iter().filter(|h| !stays(h)).map(|h| h.key).collect();
        for key in gone {
            self.drop_ended_elsewhere(&key, books);
        }
        for stored in &record.holders {
            match self.holders.iter_mut().find(|holder| holder.key == stored.id) {
                Some(holder) if stored.kept && holder.is_believed() => {
                    holder.tenure = Holder::<R>::found(books.now, stored, revision).tenure;
                }
                Some(_) => {}
                None => self.find(stored, revision, books),
            }
        }
    }

    /// A holder that this leader did not know. It gets its full lease time from now (S4).
    fn find(&mut self, stored: &StoredHolder, revision: Revision, books: &mut Books<R>) {
        let mut holder = Holder::found(books.now, stored, revision);
        let waiter = self.dismiss(&stored.id, books);
        // Its release may have come here before the news of its grant (S10).
        let released = books.finished.get(&stored.id).is_some_and(|f| f.why == LostReason::Released);
        if !released {
            books.finished.revive(&stored.id);
        }
        books.enter(stored.id, &stored.owner, &self.name);
        if released && holder.is_believed() {
            holder.tenure = Tenure::Ending { answers: Vec::new() };
        } else if let Some(waiter) = waiter.filter(|_| books.may_confer() && holder.is_believed()) {
            // It waits here for what another leader has granted it.
            holder.confer(books.now.boot);
            let grant = holder.grant(waiter.id, books.now.boot.since(waiter.received));
            books.reply(waiter.reply, super::message::Reply::Granted(grant));
        }
        self.add_holder(holder);
        books.holding += 1;
        self.watch_lease(self.holders.len() - 1, books);
    }

    fn drop_ended_elsewhere(&mut self, key: &IdHash, books: &mut Books<R>) {
        let Some(holder) = self.evict(key, books) else { return };
        let held = holder.held(books.now);
        // Nobody says why. Only what its owner gave back here is final for the id, wherever it is found again.
        let why = if holder.is_believed() { LostReason::Expired } else { LostReason::Released };
        holder.finish(&self.name, (why, held), books);
        if let Tenure::Ending { answers } = holder.tenure {
            for (to, id) in answers {
                books.released(Some(to), id, held);
            }
        }
    }

    fn drop_ending(&mut self, books: &mut Books<R>) {
        let ending: Vec<_> = self.holders.iter().filter(|h| h.is_ending()).map(|h| h.key).collect();
        for key in ending {
            self.drop_ended_elsewhere(&key, books);
        }
    }

    fn drop_all(&mut self, books: &mut Books<R>) {
        while let Some(holder) = self.holders.first() {
            let key = holder.key;
            self.drop_ended_elsewhere(&key, books);
        }
    }
}
