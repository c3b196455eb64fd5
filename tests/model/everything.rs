//! With all rules nothing is broken: everything within bounds, and walks at random beyond them.

use super::explorer::{Report, explore};
use super::properties::Mark;
use super::rules::{Bounds, Setup};
use super::walks::walk_all;

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// These bounds, or those of the environment; smaller ones where the tests are not optimised.
fn bounds(faults: u8, ids: u8, takeovers: u8, ticks: u8) -> Bounds {
    let small = u8::from(cfg!(debug_assertions));
    let from = |name, default: u8| u8::try_from(from_env(name, u64::from(default))).unwrap();
    Bounds::new(
        from("MODEL_FAULTS", faults - small),
        from("MODEL_IDS", ids),
        from("MODEL_TAKEOVERS", takeovers),
        from("MODEL_TICKS", ticks - small),
    )
}

/// Explores everything; what is in `never` need not happen, all else has to.
#[track_caller]
fn nothing_is_broken(name: &str, bounds: Bounds, never: &[Mark]) -> Report {
    let states_max = usize::try_from(from_env("MODEL_STATES", 12_000_000)).unwrap();
    let report = explore(&Setup::new(bounds), states_max);
    let Bounds { faults, ids, takeovers, ticks, .. } = bounds;
    println!("model: {name}: {faults} faults, {ids} ids, {takeovers} takeovers, {ticks} ticks: {report}");
    if let Some(trace) = &report.broken {
        panic!("{trace}\n{}", trace.story.join("\n"));
    }
    if !cfg!(debug_assertions) {
        let missing: Vec<_> = report.missing().into_iter().filter(|mark| !never.contains(mark)).collect();
        assert_eq!(missing, [], "did not happen");
    }
    report
}

#[test]
fn two_faults_and_a_takeover() {
    let never = [Mark::Resigned, Mark::ReleasedEarly, Mark::ReleasedAgain];
    nothing_is_broken("takeover", bounds(2, 1, 1, 4), &never);
}

#[test]
fn two_takeovers_a_resignation_and_a_cancelled_wait() {
    let bounds = Bounds { resignations: 1, cancels: 1, ..bounds(1, 1, 2, 4) };
    let never = [Mark::TokenAwaited, Mark::NoticeIgnored, Mark::ReleasedEarly, Mark::ReleasedAgain];
    nothing_is_broken("resignation", bounds, &never);
}

/// A release is answered before its write, the coordinator dies in between, the client acquires anew.
#[test]
fn releases_answered_before_their_write() {
    let bounds = Bounds { early_release: true, ..bounds(1, 2, 1, 4) };
    let never = [
        Mark::Resigned,
        Mark::RefusedByEpoch,
        Mark::OldEpochIgnored,
        Mark::TokenAwaited,
        Mark::NoticeIgnored,
    ];
    nothing_is_broken("early release", bounds, &never);
}

#[test]
fn leadership_leases_of_different_length() {
    let bounds = Bounds { leader_lease: [4, 2, 3, 2], resignations: 1, ..bounds(1, 1, 2, 5) };
    let never = [
        Mark::OldEpochIgnored,
        Mark::TokenAwaited,
        Mark::NoticeIgnored,
        Mark::ReleasedEarly,
        Mark::ReleasedAgain,
    ];
    nothing_is_broken("unequal T_L", bounds, &never);
}

/// `WALKS=10000000 cargo test --release model::everything::walks`
#[test]
fn walks() {
    let bounds = Bounds { early_release: true, cancels: 1, resignations: 1, ..bounds(5, 2, 2, 10) };
    let few = if cfg!(debug_assertions) { 2_000 } else { 1_000_000 };
    let first = from_env("SEED", 0);
    let walks = walk_all(&Setup::new(bounds), first..first + from_env("WALKS", few));
    println!("model: random: {walks}");
    if let Some((seed, trace)) = &walks.broken {
        panic!("SEED={seed} {trace}\n{}", trace.story.join("\n"));
    }
    if !cfg!(debug_assertions) && walks.walks > 1 {
        assert_eq!(walks.missing(), [], "did not happen");
    }
}
