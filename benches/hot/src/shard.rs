//! An engine with a store that acknowledges every write at once.

use std::time::Duration;

use natslock::engine::message::{
    Acquire, Ask, EntryContent, LeaseRef, LockEntry, Now, Output, Request, WriteOutcome,
};
use natslock::engine::{Engine, Limits, Term};
use natslock::measures::Measures;
use natslock::types::{Claim, LeaseId, LockName, OwnerName, Revision, Timestamp, Ttl, Wait, WallTime};

/// Longer than any measurement.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

pub struct Shard {
    pub engine: Engine<u32>,
    now: Timestamp,
    revision: u64,
    /// Who counts what happens, where somebody does.
    measures: Option<Measures>,
}

impl Default for Shard {
    fn default() -> Self {
        let now = Timestamp::from_millis(1_000_000);
        let term = Term::first(now, now + FOR_EVER);
        Self { engine: Engine::new(Limits::default(), term), now, revision: 1, measures: None }
    }
}

impl Shard {
    /// As a coordinator has it: what happens is counted.
    pub fn counted() -> Self {
        let Self { engine, now, revision, .. } = Self::default();
        let measures = Some(Measures::new(WallTime(1_700_000_000_000)));
        Self { engine: engine.observed(), now, revision, measures }
    }

    fn clocks(&self) -> Now {
        Now { boot: self.now, wall: WallTime(1_700_000_000_000) }
    }

    /// Time goes on.
    pub fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
        let now = self.clocks();
        self.engine.handle_timeout(now);
        self.settle();
    }

    pub fn ask(&mut self, owner: &OwnerName, ask: Ask) {
        let now = self.clocks();
        self.engine.handle(now, Request { owner: owner.clone(), reply: Some(0), ask });
        self.settle();
    }

    /// A record that the consumer delivers to a new leader.
    pub fn load(&mut self, entry: LockEntry) {
        let now = self.clocks();
        self.engine.handle_entry(now, entry);
        self.settle();
    }

    /// Everything that the engine wants done is done; how many outputs there were.
    pub fn settle(&mut self) -> usize {
        let mut count = 0;
        while let Some(output) = self.engine.poll_output() {
            count += 1;
            let now = self.clocks();
            match output {
                Output::Write(write) => {
                    self.revision += 1;
                    let stored = WriteOutcome::Acknowledged(Revision::new(self.revision));
                    self.engine.handle_written(now, &write.name, write.record.attempt, stored);
                }
                Output::Batch(batch) => {
                    self.revision += batch.writes.len() as u64 + 1;
                    let stored = WriteOutcome::Acknowledged(Revision::new(self.revision));
                    self.engine.handle_batch_written(now, batch.attempt, stored);
                }
                Output::Confirm(ticket) => {
                    self.revision += 1;
                    self.engine.handle_confirmed(now, ticket, Revision::new(self.revision));
                }
                other => drop(std::hint::black_box(other)),
            }
        }
        if let Some(measures) = &mut self.measures {
            self.engine.take_facts().for_each(|fact| measures.observe(fact));
        }
        count
    }
}

pub fn owner(number: usize) -> OwnerName {
    OwnerName::encode(&format!("worker-{number}")).expect("an owner")
}

pub fn lock(number: usize) -> LockName {
    LockName::encode(&format!("orders.{number}")).expect("a name")
}

/// As long as a UUID.
pub fn id(number: usize) -> LeaseId {
    format!("0b5f3c1a-7d42-4e0b-9c3e-{number:012}").parse().expect("an id")
}

pub fn lease(number: usize) -> LeaseRef {
    LeaseRef { id: id(number), token: None }
}

pub fn acquire(name: LockName, number: usize) -> Ask {
    Ask::Acquire(Acquire {
        name,
        id: id(number),
        claim: Claim::Exclusive,
        ttl: Ttl::default(),
        wait: Wait::from_millis(3_600_000).expect("a wait"),
        note: None,
        progress: false,
    })
}

pub fn release(name: LockName, number: usize) -> Ask {
    Ask::Release { name, lease: lease(number), keep: Duration::ZERO }
}

pub fn entry(number: usize, record: natslock::engine::message::LockRecord) -> LockEntry {
    let revision = Revision::new(10 + number as u64);
    LockEntry { name: lock(number), revision, content: EntryContent::Record(record) }
}
