//! Writing together what arrived while a batch was on its way (group commit), where that is faster.
//!
//! To whoever writes nothing changes. Each write is a compare-and-set with its own expected revision, in a batch as
//! alone, and gets an outcome of its own: the members of a batch have consecutive revisions, of which the
//! acknowledgement names the last. A batch is refused as a whole, without the key; its members then go one by
//! one, so that exactly those that are wrong are refused. A batch without an answer is unknown for each member, and
//! each is sent again as a write without an answer is (S7): with the revision that it expects, so whichever copy
//! is stored first, alone or in the batch, keeps all others out.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::pace::{Pace, Way};
use super::store::NatsStore;
use crate::clock::SystemClock;
use crate::store::{BATCH_RECORDS_MAX, Batch, Store as _, Write, WriteOutcome};
use crate::types::Key;

/// A write that waits for the next batch.
#[derive(Debug)]
struct Waiting {
    write: Write,
    told: oneshot::Sender<WriteOutcome>,
}

/// The writes that wait, and how they go.
#[derive(Debug)]
pub(super) struct Gather(Mutex<State>);

#[derive(Debug)]
struct State {
    pace: Pace,
    waiting: Vec<Waiting>,
    /// A task writes what waits.
    writing: bool,
}

impl Gather {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(State { pace: Pace::new(), waiting: Vec::new(), writing: false }))
    }

    pub(super) fn always_together(&self) {
        self.lock().pace.always_together();
    }

    /// Nothing is left half changed by a panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What goes into the next batch, each key once: one that is there twice, by two terms of one coordinator, waits
    /// for the next.
    fn take(&mut self) -> Vec<Waiting> {
        let mut keys: HashSet<Key> = HashSet::new();
        let (batch, rest) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| keys.len() < BATCH_RECORDS_MAX && keys.insert(waiting.write.key.clone()));
        self.waiting = rest;
        batch
    }
}

impl NatsStore {
    /// Writes one record, alone or with others.
    pub(super) async fn write_somehow(&self, write: Write) -> WriteOutcome {
        let gather = self.gather();
        let way = gather.lock().pace.choose(SystemClock::boot());
        if way == Way::Together {
            return self.join(write).await;
        }
        let outcome = self.write_alone(write).await;
        let taken = matches!(outcome, WriteOutcome::Acknowledged(_));
        gather.lock().pace.alone_answered(SystemClock::boot(), taken);
        outcome
    }

    async fn join(&self, write: Write) -> WriteOutcome {
        let (told, outcome) = oneshot::channel();
        let begins = {
            let mut state = self.gather().lock();
            state.waiting.push(Waiting { write, told });
            !std::mem::replace(&mut state.writing, true)
        };
        if begins {
            // A task of its own: whoever waits for one write may go away, and must not take the others along.
            tokio::spawn(self.clone().write_gathered());
        }
        // The task ends early only with its runtime.
        outcome.await.unwrap_or(WriteOutcome::Unknown)
    }

    /// Writes batch after batch until nothing waits.
    async fn write_gathered(self) {
        loop {
            let batch = {
                let mut state = self.gather().lock();
                let batch = state.take();
                state.writing = !batch.is_empty();
                batch
            };
            if batch.is_empty() {
                return;
            }
            self.write_those(batch).await;
        }
    }

    async fn write_those(&self, members: Vec<Waiting>) {
        let began = SystemClock::boot();
        let (writes, told): (Vec<_>, Vec<_>) = members.into_iter().map(|m| (m.write, m.told)).unzip();
        let batch = Batch { writes: writes.clone(), guard: None };
        let outcome = self.write_batch(batch).await;
        let took = SystemClock::boot().since(began);
        self.note(outcome, told.len(), took);
        match outcome {
            WriteOutcome::Mismatch(_) => {
                let each = writes.into_iter().zip(told).map(|(write, told)| self.tell_alone(write, told));
                futures_util::future::join_all(each).await;
            }
            _ => tell_all(outcome, told),
        }
    }

    fn note(&self, outcome: WriteOutcome, count: usize, took: Duration) {
        let pace = &mut self.gather().lock().pace;
        match outcome {
            WriteOutcome::Acknowledged(_) => pace.together_answered(SystemClock::boot(), count, took),
            _ => pace.together_failed(SystemClock::boot()),
        }
    }

    async fn tell_alone(&self, write: Write, told: oneshot::Sender<WriteOutcome>) {
        // Nobody may be waiting for it any more.
        let _ = told.send(self.write_alone(write).await);
    }
}

/// The members have consecutive revisions, of which the acknowledgement names the last.
fn tell_all(outcome: WriteOutcome, told: Vec<oneshot::Sender<WriteOutcome>>) {
    let count = told.len() as u64;
    for (index, told) in (1..=count).zip(told) {
        let own = match outcome {
            WriteOutcome::Acknowledged(last) => WriteOutcome::Acknowledged(last.back(count - index)),
            other => other,
        };
        // Nobody may be waiting for it any more.
        let _ = told.send(own);
    }
}
