//! Each deliberate defect is noticed: `cargo test --release --features mutants sim::mutants -- --nocapture`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use natslock::mutant::{Mutant, activate};

use super::{from_env, run};

/// How many seeds a defect may survive.
const SEEDS_MAX: u64 = 4_000;

/// How many seeds it takes to notice it, and what is broken then.
fn hunt(mutant: Mutant) -> Option<(u64, String)> {
    activate(Some(mutant));
    let found = (1..=from_env("SEEDS", SEEDS_MAX)).find_map(|seed| Some((seed, run(seed, 5).1?)));
    activate(None);
    found
}

#[test]
fn every_defect_is_noticed() {
    let next = AtomicUsize::new(0);
    let survivors = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(mutant) = Mutant::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
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
