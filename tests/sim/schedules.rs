//! The interleavings that broke earlier wordings of the design (research/model.md, findings 1 to 8), as
//! schedules: each passes with the rule, and is noticed where the rule is switched off. Finding 6, the confirm
//! lease, is about something that was dropped.

use std::time::Duration;

use natslock::mutant::Mutant;
use natslock::types::Claim;

use super::client::Wish;
use super::clock::{MS, SECOND};
use super::faults::{Cut, Mix};
use super::rng::Rng;
use super::world::{Setting, World};

/// Until everything that can happen has happened.
const END: u64 = 60 * SECOND;

fn world(coordinators: usize) -> World {
    let setting = Setting {
        coordinators,
        clients: 2,
        leader_lease: Duration::from_secs(3),
        mix: Mix::default(),
        scripted: true,
    };
    let mut world = World::with(Rng::new(1), setting, true);
    world.run_until(4 * SECOND);
    world
}

fn wish(ttl_ms: u64) -> Wish {
    Wish { lock: 0, claim: Claim::Exclusive, ttl_ms, wait_ms: None }
}

fn leader(world: &World) -> usize {
    (0..world.coords.len()).find(|node| world.coords[*node].leads()).unwrap()
}

/// Nothing that this node sends arrives any more.
fn mute(world: &mut World, node: usize) {
    world.nodes[node].cut_up = Cut { until: END, replays: false, noticed: false };
}

fn pass(world: &mut World, span: u64) {
    let until = world.now + span;
    world.run_until(until);
}

/// 1: the grant is late, and the client hears nothing any more.
fn grant_is_late() -> World {
    let mut world = world(1);
    world.script.grants = vec![(1, Some(400 * MS))];
    world.wish(1, wish(3_000));
    pass(&mut world, 50 * MS);
    world.wish(2, wish(3_000));
    mute(&mut world, 1);
    pass(&mut world, END);
    world
}

/// 2: the grant is lost, the repeat is answered, and the client hears nothing any more.
fn repeat_is_answered() -> World {
    let mut world = world(1);
    world.script.grants = vec![(1, None)];
    world.wish(1, wish(3_000));
    pass(&mut world, 100 * MS);
    world.wish(2, wish(3_000));
    pass(&mut world, 700 * MS);
    mute(&mut world, 1);
    pass(&mut world, END);
    world
}

/// 3: the leader no longer reaches the store, another has taken over, and it goes on answering the holder.
fn deposed_leader_answers() -> World {
    let mut world = world(2);
    let old = leader(&world);
    let new = 1 - old;
    world.wish(2, wish(2_000));
    pass(&mut world, 100 * MS);
    world.script.storeless.insert(old);
    world.script.no_beats = true;
    world.script.deaf.insert((2, new));
    world.wish(3, wish(2_000));
    pass(&mut world, END);
    world
}

/// 5: a successor resigns at once, while the predecessor may still renew.
fn successor_resigns_at_once() -> World {
    let mut world = world(3);
    let old = leader(&world);
    world.wish(3, wish(1_000));
    pass(&mut world, 100 * MS);
    world.script.deaf.extend((0..3).filter(|node| *node != old).map(|node| (3, node)));
    // It writes its lease anew just before it loses the store.
    pass(&mut world, 300 * MS);
    world.script.storeless.insert(old);
    world.script.no_beats = true;
    for _ in 0..300 {
        pass(&mut world, 10 * MS);
        let next = (0..3).find(|node| *node != old && world.coords[*node].leads());
        if let Some(next) = next {
            world.command_stop(next);
            break;
        }
    }
    world.wish(4, wish(1_000));
    pass(&mut world, END);
    world
}

/// 7: the first grant found nobody, the repeat is answered, and the 503 comes late.
fn notice_of_an_older_grant() -> World {
    let mut world = world(1);
    world.wish(1, wish(10_000));
    world.nodes[1].cut_down = Cut { until: world.now + 300 * MS, replays: false, noticed: true };
    world.script.late_notices = 2 * SECOND;
    pass(&mut world, SECOND);
    world.wish(2, wish(10_000));
    pass(&mut world, END);
    world
}

/// All of them.
#[cfg(feature = "mutants")]
pub(super) const ALL: [fn() -> World; 5] = [
    grant_is_late,
    repeat_is_answered,
    deposed_leader_answers,
    successor_resigns_at_once,
    notice_of_an_older_grant,
];

fn holds(schedule: fn() -> World, mutant: Mutant) {
    let world = schedule();
    assert!(world.broken.is_none(), "{:?}\n{}", world.broken, world.story.join("\n"));
    assert!(world.stats.grants > 0, "nothing was granted:\n{}", world.story.join("\n"));
    #[cfg(feature = "mutants")]
    {
        natslock::mutant::activate(Some(mutant));
        let world = schedule();
        natslock::mutant::activate(None);
        assert!(world.broken.is_some(), "{mutant:?} is not noticed:\n{}", world.story.join("\n"));
    }
    let _ = mutant;
}

#[test]
fn trace_1_a_lease_counts_from_the_request_that_was_answered() {
    holds(grant_is_late, Mutant::CountFromReceipt);
}

#[test]
fn trace_2_a_repeat_is_a_renewal() {
    holds(repeat_is_answered, Mutant::RepeatIsNoRenewal);
}

#[test]
fn trace_3_a_leader_that_is_not_sure_is_silent() {
    holds(deposed_leader_answers, Mutant::AnswerWhileUnsure);
}

#[test]
fn trace_5_a_resignation_hides_no_overlap() {
    holds(successor_resigns_at_once, Mutant::ResignWithoutOverlap);
}

#[test]
fn trace_7_a_503_counts_for_the_only_copy() {
    holds(notice_of_an_older_grant, Mutant::HonourAny503);
}
