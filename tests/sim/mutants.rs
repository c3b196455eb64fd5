//! Each deliberate defect is noticed: `cargo test --release --features mutants sim::mutants -- --nocapture`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use natslock::mutant::{Mutant, activate};

use super::{from_env, run, schedules};

/// How many seeds a defect may survive.
const SEEDS_MAX: u64 = 60;

/// The defects that are noticed, by a schedule or within that many seeds. The others of [`Mutant::ALL`] have not
/// been shown to be: `MUTANTS=GrantAfterLapse SEEDS=4000` hunts one of them.
const NOTICED: &[Mutant] = &[
    Mutant::SkipOverlap,
    Mutant::ResignWithoutOverlap,
    Mutant::FoundWithoutLease,
    Mutant::SkipEpochGuard,
    Mutant::PlainTakeAway,
    Mutant::CountFromReceipt,
    Mutant::RepeatIsNoRenewal,
    Mutant::RenewalConfersNothing,
    Mutant::HonourAny503,
    Mutant::LoadByRead,
    Mutant::AcceptWrongId,
    Mutant::ForgetFinished,
    Mutant::NoReannounce,
];

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

/// The defects to hunt: those that are named in the environment, or those that are noticed.
fn wanted() -> Vec<Mutant> {
    let Ok(named) = std::env::var("MUTANTS") else { return NOTICED.to_vec() };
    let is_named = |mutant: &&Mutant| named.split(',').any(|name| name == format!("{mutant:?}"));
    Mutant::ALL.iter().filter(is_named).copied().collect()
}

#[test]
fn these_defects_are_noticed() {
    let wanted = wanted();
    let next = AtomicUsize::new(0);
    let survivors = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(mutant) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
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
