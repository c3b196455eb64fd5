//! Each deliberate defect is noticed: `cargo test --release --features mutants sim::mutants -- --nocapture`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use natslock::mutant::{Mutant, activate};

use super::{from_env, run, schedules};

/// How many seeds a defect may survive.
const SEEDS_MAX: u64 = 4_000;

/// How many seeds it takes to notice it, none where a schedule does and no seed, and what is broken then.
fn hunt(mutant: Mutant) -> Option<(u64, String)> {
    activate(Some(mutant));
    let broken = schedules::ALL.iter().find_map(|schedule| schedule().broken);
    if let Some(broken) = &broken {
        println!("{mutant:?}: schedule: {broken:.90}");
    }
    let scheduled = broken.clone().map(|broken| (0, broken));
    let found = (1..=from_env("SEEDS", SEEDS_MAX)).find_map(|seed| Some((seed, run(seed, 5).1?)));
    activate(None);
    found.or(scheduled)
}

/// `MUTANTS=SkipOverlap,LoadByRead` hunts these only.
fn wanted(mutant: Mutant) -> bool {
    let named = std::env::var("MUTANTS").unwrap_or_default();
    named.is_empty() || named.split(',').any(|name| name == format!("{mutant:?}"))
}

#[test]
fn every_defect_is_noticed() {
    let next = AtomicUsize::new(0);
    let survivors = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(mutant) = Mutant::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !wanted(*mutant) {
                        continue;
                    }
                    match hunt(*mutant) {
                        Some((seeds, broken)) => println!("{mutant:?}: {seeds} seeds: {broken:.110}"),
                        None => {
                            println!("{mutant:?}: survives");
                            survivors.lock().unwrap().push(*mutant);
                        }
                    }
                }
            });
        }
    });
    assert_eq!(*survivors.lock().unwrap(), []);
}
