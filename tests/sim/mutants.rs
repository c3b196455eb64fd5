//! Each deliberate defect is noticed: `cargo test --release --features mutants sim::mutants -- --nocapture`.
//!
//! The schedules are tried first; a defect that none of them shows is hunted by seeds. `HUNT=1` hunts all of them
//! by seeds as well, `MUTANTS=GrantAfterLapse,SkipOverlap` only those.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use natslock::mutant::{Mutant, activate};

use super::{from_env, run, schedules};

/// How many seeds a defect that no schedule shows may survive.
const SEEDS_MAX: u64 = 60;

/// What notices it, and what is broken then.
fn by_schedule() -> Option<(String, String)> {
    schedules::ALL
        .iter()
        .find_map(|(name, schedule)| Some((format!("schedule `{name}`"), schedule().broken?)))
}

fn by_seeds() -> Option<(String, String)> {
    let seeds = from_env("SEEDS", SEEDS_MAX);
    (1..=seeds).find_map(|seed| Some((format!("{seed} seeds"), run(seed, 5).1?)))
}

/// True where it is noticed.
fn hunt(mutant: Mutant) -> bool {
    activate(Some(mutant));
    let scheduled = by_schedule();
    let seeded = if scheduled.is_none() || std::env::var_os("HUNT").is_some() { by_seeds() } else { None };
    activate(None);
    for (what, broken) in scheduled.iter().chain(&seeded) {
        println!("{mutant:?}: {what}: {broken:.110}");
    }
    scheduled.or(seeded).is_some()
}

/// The defects to hunt: those that are named in the environment, or all.
fn wanted() -> Vec<Mutant> {
    let Ok(named) = std::env::var("MUTANTS") else { return Mutant::ALL.to_vec() };
    let is_named = |mutant: &&Mutant| named.split(',').any(|name| name == format!("{mutant:?}"));
    Mutant::ALL.iter().filter(is_named).copied().collect()
}

#[test]
fn every_defect_is_noticed() {
    let wanted = wanted();
    let next = AtomicUsize::new(0);
    let survivors = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(mutant) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !hunt(*mutant) {
                        println!("{mutant:?}: survives");
                        survivors.lock().unwrap().push(*mutant);
                    }
                }
            });
        }
    });
    assert_eq!(*survivors.lock().unwrap(), []);
}
