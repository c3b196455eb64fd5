//! What counting costs: `cargo bench --bench figures`.
//!
//! Pairs of runs of the same load on the engine, one told to nobody and one counted, in turn; the medians of the
//! pairs. The load is an acquire and a release of a lock whose writes are acknowledged at once, so the engine does
//! nothing but decide. What a coordinator takes for the same with NATS around it tells `natslock bench`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement ends where something is wrong")]

use std::time::Duration;

use natslock::clock::SystemClock;
use natslock::engine::message::{Acquire, Ask, LeaseRef, Now, Output, Request, WriteOutcome};
use natslock::engine::{Engine, Limits, Term};
use natslock::measures::Measures;
use natslock::types::{Claim, LeaseId, LockName, OwnerName, Revision, Timestamp, Ttl, Wait, WallTime};

const PAIRS: usize = 60;
const CYCLES: u64 = 5_000;

/// An engine, and who counts what it does, if anybody does.
struct Load {
    engine: Engine<()>,
    measures: Option<Measures>,
    revision: u64,
    cycles: u64,
}

impl Load {
    fn new(counted: bool) -> Self {
        let term = Term::first(Timestamp::from_millis(0), Timestamp::from_millis(u64::from(u32::MAX)));
        let engine = Engine::new(Limits::default(), term);
        let engine = if counted { engine.observed() } else { engine };
        Self { engine, measures: counted.then(|| Measures::new(WallTime(0))), revision: 1, cycles: 0 }
    }

    fn now(&self) -> Now {
        Now { boot: Timestamp::from_boot(Duration::from_micros(self.cycles * 50)), wall: WallTime(0) }
    }

    fn ask(&mut self, owner: &OwnerName, ask: Ask) {
        let now = self.now();
        self.engine.handle(now, Request { owner: owner.clone(), reply: Some(()), ask });
        while let Some(output) = self.engine.poll_output() {
            if let Output::Write(write) = output {
                self.revision += 1;
                let stored = WriteOutcome::Acknowledged(Revision::new(self.revision));
                self.engine.handle_written(now, &write.name, write.record.attempt, stored);
            }
        }
        if let Some(measures) = &mut self.measures {
            self.engine.take_facts().for_each(|fact| measures.observe(fact));
        }
    }

    /// How long a cycle takes.
    fn run(&mut self, names: &[LockName], owner: &OwnerName) -> f64 {
        let began = SystemClock::boot();
        for _ in 0..CYCLES {
            self.cycles += 1;
            let name = &names[usize::try_from(self.cycles).unwrap() % names.len()];
            let id: LeaseId = self.cycles.to_string().parse().unwrap();
            let (ttl, wait) = (Ttl::default(), Wait::TRY);
            let acquire = Acquire {
                name: name.clone(),
                id: id.clone(),
                claim: Claim::Exclusive,
                ttl,
                wait,
                note: None,
                progress: false,
            };
            self.ask(owner, Ask::Acquire(acquire));
            let lease = LeaseRef { id, token: None };
            self.ask(owner, Ask::Release { name: name.clone(), lease, keep: Duration::ZERO });
        }
        SystemClock::boot().since(began).as_secs_f64() * 1e9 / CYCLES as f64
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let owner = OwnerName::encode("bench").unwrap();
    for (what, count) in [("one name", 1), ("100 names", 100), ("20 000 names, each once in a while", 20_000)]
    {
        let names: Vec<_> = (0..count).map(|n| LockName::encode(&format!("orders.{n}")).unwrap()).collect();
        let (mut plain, mut counted) = (Load::new(false), Load::new(true));
        let (mut without, mut differences) = (Vec::new(), Vec::new());
        for pair in 0..PAIRS {
            let (one, other) = if pair % 2 == 0 {
                let one = plain.run(&names, &owner);
                (one, counted.run(&names, &owner))
            } else {
                let other = counted.run(&names, &owner);
                (plain.run(&names, &owner), other)
            };
            without.push(one);
            differences.push(other - one);
        }
        let (without, more) = (median(without), median(differences));
        println!("{what}: {without:.0} ns an acquire and release in the engine, {more:+.0} ns counted");
    }
}
