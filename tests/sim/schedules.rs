//! Interleavings as schedules: each passes with a rule, and is noticed where the rule is switched off. The
//! numbered ones broke earlier wordings of the design; the sixth, the confirm lease, was about something that was
//! dropped.

use std::time::Duration;

use natslock::mutant::Mutant;
use natslock::types::Claim;

use super::client::{Wish, lock_name};
use super::clock::{MS, SECOND};
use super::faults::{Cut, Mix};
use super::rng::Rng;
use super::world::{Setting, World};

/// Until everything that can happen has happened.
const END: u64 = 60 * SECOND;

fn world_of(coordinators: usize, mix: Mix, rates: Vec<i64>) -> World {
    let leader_lease = Duration::from_secs(3);
    let setting = Setting { coordinators, clients: 3, leader_lease, mix, scripted: true, rates };
    let mut world = World::with(Rng::new(1), setting, true);
    world.run_until(4 * SECOND);
    world
}

fn world(coordinators: usize) -> World {
    world_of(coordinators, Mix { stale_read: true, ..Mix::default() }, Vec::new())
}

/// Goes on until something has happened; a schedule in which it does not is none.
fn until(world: &mut World, what: &str, happened: impl Fn(&mut World) -> bool) {
    let end = world.now + END;
    while !happened(world) {
        assert!(
            world.broken.is_some() || world.step(end),
            "{what} has not happened:\n{}",
            world.story.join("\n")
        );
        if world.broken.is_some() {
            return;
        }
    }
}

/// Somebody else than `old` leads and serves.
fn successor(world: &mut World, old: usize) -> usize {
    let serves = |world: &World| (0..world.coords.len()).find(|n| *n != old && world.coords[*n].listens());
    until(world, "a takeover", |world| serves(world).is_some());
    serves(world).unwrap_or(1 - old)
}

fn holders(world: &mut World, lock: usize) -> usize {
    world.record(&lock_name(lock)).map_or(0, |(_, record)| record.holders.len())
}

/// A client whose connection the server has seen end, for a moment.
fn disconnect(world: &mut World, node: usize, span: u64) {
    world.nodes[node].cut_down = Cut { until: world.now + span, replays: false, noticed: true };
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

/// 4: a leader stands still between the store's answer and the grant; when it wakes its time is over, and its
/// successor has given the lock to another.
fn leader_wakes_with_a_grant() -> World {
    let mut world = world(2);
    let old = leader(&world);
    let new = 1 - old;
    let first = world.wish(3, wish(10_000));
    pass(&mut world, 50 * MS);
    world.wish(2, wish(10_000));
    pass(&mut world, 50 * MS);
    world.script.deaf.insert((2, new));
    world.finish(3, first, true);
    let before = world.record(&lock_name(0)).map(|(revision, _)| revision);
    until(&mut world, "the write", |world| {
        world.record(&lock_name(0)).map(|(revision, _)| revision) != before
    });
    world.nodes[old].paused_until = world.now + 20 * SECOND;
    pass(&mut world, 3 * SECOND);
    world.wish(3, wish(30_000));
    pass(&mut world, END);
    world
}

/// A leader that does not know that it is deposed hears no renewals any more and takes the lease away, while the
/// holder renews with the successor (S6).
fn deposed_leader_expires() -> World {
    let mut world = world(2);
    let old = leader(&world);
    world.wish(2, wish(1_000));
    pass(&mut world, 100 * MS);
    let before = world.stream.core.last();
    until(&mut world, "a write of the lease record", |world| world.stream.core.last() > before);
    pass(&mut world, 10 * MS);
    world.script.leaseless.insert(old);
    world.script.blind.insert(old);
    world.script.no_beats = true;
    successor(&mut world, old);
    world.script.deaf.insert((2, old));
    world.wish(3, wish(10_000));
    pass(&mut world, END);
    world
}

/// The acknowledgement of a `lease` write comes so late that its coordinator was deposed, and leads again, and has
/// another such write on its way (S3).
fn old_acknowledgement_comes_late() -> World {
    let mut world = world(2);
    let old = leader(&world);
    pass(&mut world, 500 * MS);
    world.script.no_beats = true;
    world.script.late_ack = Some(1_950 * MS);
    let new = successor(&mut world, old);
    world.script.no_beats = false;
    world.command_stop(new);
    until(&mut world, "the return", |world| !world.coords[new].leads() && world.coords[old].listens());
    world.script.leaseless.insert(old);
    world.wish(2, wish(10_000));
    pass(&mut world, 2 * SECOND);
    world.script.leaseless.clear();
    pass(&mut world, END);
    world
}

/// 8: a leader that was deposed grants lawfully what its successor has not heard of, and the holder renews.
fn lease_is_news_to_the_successor() -> World {
    let mut world = world(2);
    let old = leader(&world);
    world.script.blind.insert(old);
    world.script.leaseless.insert(old);
    world.script.no_beats = true;
    let new = successor(&mut world, old);
    world.script.blind.insert(new);
    world.script.deaf.insert((2, new));
    world.wish(2, wish(1_000));
    until(&mut world, "the grant", |world| world.stats.grants > 0);
    world.script.deaf.clear();
    pass(&mut world, 600 * MS);
    world.script = Default::default();
    pass(&mut world, END);
    world
}

/// A grant finds nobody, so the lease is taken away; the batch is long on its way, its copies are refused for now
/// because of that (S7), and the owner is back and repeats its request meanwhile (S6). Another one waits.
fn batch_is_long_on_its_way() -> World {
    let mut world = world(1);
    let first = world.wish(3, wish(30_000));
    pass(&mut world, 50 * MS);
    world.wish(1, wish(3_000));
    pass(&mut world, 50 * MS);
    world.wish(2, wish(10_000));
    pass(&mut world, 50 * MS);
    world.script.late_batch = Some(4 * SECOND);
    disconnect(&mut world, 1, 100 * MS);
    world.finish(3, first, true);
    pass(&mut world, END);
    world
}

/// A refused write is looked into for longer than a waiter may be silent; its repeats are put off meanwhile, and
/// another one waits behind it (S9).
fn repeats_are_put_off() -> World {
    let mut world = world(1);
    let first = world.wish(3, wish(30_000));
    pass(&mut world, 20 * MS);
    let second = world.wish(3, wish(30_000));
    pass(&mut world, 20 * MS);
    world.wish(1, wish(2_000));
    pass(&mut world, 20 * MS);
    world.wish(2, wish(10_000));
    pass(&mut world, 20 * MS);
    world.script.blind.insert(0);
    world.script.lost_acks = 1;
    world.finish(3, first, true);
    pass(&mut world, 7 * SECOND);
    world.script.blind.clear();
    pass(&mut world, SECOND);
    world.finish(3, second, true);
    pass(&mut world, END);
    world
}

/// The acknowledgement of a grant's write is lost, the repeat is refused, and the standing consumer is behind (S8).
fn own_write_is_refused() -> World {
    let mut world = world(1);
    world.script.blind.insert(0);
    world.script.lost_acks = 1;
    world.wish(1, wish(10_000));
    pass(&mut world, 4 * SECOND);
    world.script.blind.clear();
    pass(&mut world, END);
    world
}

/// A lease is taken away because its grant found nobody; a successor, which knows nothing of that, grants the same
/// request, and the deposed leader says that it is over.
fn deposed_leader_denies() -> World {
    let mut world = world(2);
    let old = leader(&world);
    world.script.blind.insert(old);
    world.script.leaseless.insert(old);
    world.script.no_beats = true;
    disconnect(&mut world, 2, 20 * MS);
    world.wish(2, wish(1_000));
    until(&mut world, "the write", |world| holders(world, 0) == 1);
    world.script.deaf.insert((2, old));
    until(&mut world, "the taking away", |world| holders(world, 0) == 0);
    successor(&mut world, old);
    until(&mut world, "the grant", |world| world.stats.grants > 0);
    world.script.deaf.clear();
    pass(&mut world, SECOND);
    world.script = Default::default();
    pass(&mut world, END);
    world
}

/// The leader's clock is fast and a waiter's is slow: of a long wait that only its first request has begun the two
/// think differently.
fn long_wait_with_drift() -> World {
    let mut world = world_of(1, Mix { drift: true, ..Mix::default() }, vec![4_950, -4_950, 0, 0]);
    let first = world.wish(2, wish(3_000));
    pass(&mut world, 50 * MS);
    world.wish(1, wish(1_000));
    pass(&mut world, 50 * MS);
    world.nodes[1].cut_up = Cut { until: 4 * END, replays: false, noticed: false };
    pass(&mut world, END);
    world.wish(3, wish(3_000));
    world.finish(2, first, true);
    pass(&mut world, END);
    world
}

/// The machine of a holder sleeps (S1).
fn holder_sleeps() -> World {
    let mut world = world(1);
    world.wish(1, wish(3_000));
    pass(&mut world, SECOND);
    world.wish(2, wish(30_000));
    world.suspend(1, 20 * SECOND);
    pass(&mut world, END);
    world
}

/// A leader writes a lock after the storage went back (S11).
fn storage_goes_back() -> World {
    let mut world = world_of(1, Mix { rollback: true, ..Mix::default() }, Vec::new());
    world.wish(1, wish(30_000));
    pass(&mut world, 100 * MS);
    world.wish(2, Wish { lock: 1, ..wish(30_000) });
    pass(&mut world, 100 * MS);
    world.go_back_by(2);
    world.wish(3, Wish { lock: 2, ..wish(30_000) });
    pass(&mut world, END);
    world
}

/// The stream's leader slept, and wakes with the lease record that it knew.
fn stream_leader_wakes() -> World {
    let mut world = world(2);
    world.wish(2, wish(30_000));
    pass(&mut world, 100 * MS);
    world.script.denials = 3;
    until(&mut world, "a denial", |world| world.script.denials == 0);
    pass(&mut world, END);
    world
}

/// A schedule, and what it is called.
#[cfg(feature = "mutants")]
pub(super) type Named = (&'static str, fn() -> World);

/// All of them.
#[cfg(feature = "mutants")]
pub(super) const ALL: [Named; 17] = [
    ("grant is late", grant_is_late),
    ("repeat is answered", repeat_is_answered),
    ("deposed leader answers", deposed_leader_answers),
    ("leader wakes with a grant", leader_wakes_with_a_grant),
    ("old acknowledgement comes late", old_acknowledgement_comes_late),
    ("deposed leader expires", deposed_leader_expires),
    ("successor resigns at once", successor_resigns_at_once),
    ("notice of an older grant", notice_of_an_older_grant),
    ("lease is news to the successor", lease_is_news_to_the_successor),
    ("batch is long on its way", batch_is_long_on_its_way),
    ("repeats are put off", repeats_are_put_off),
    ("own write is refused", own_write_is_refused),
    ("deposed leader denies", deposed_leader_denies),
    ("long wait with drift", long_wait_with_drift),
    ("holder sleeps", holder_sleeps),
    ("storage goes back", storage_goes_back),
    ("stream leader wakes", stream_leader_wakes),
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
fn trace_4_a_grant_obeys_the_leadership_too() {
    holds(leader_wakes_with_a_grant, Mutant::GrantAfterLapse);
}

#[test]
fn trace_5_a_resignation_hides_no_overlap() {
    holds(successor_resigns_at_once, Mutant::ResignWithoutOverlap);
}

#[test]
fn trace_7_a_503_counts_for_the_only_copy() {
    holds(notice_of_an_older_grant, Mutant::HonourAny503);
}

#[test]
fn trace_8_a_token_keeps_a_good_holder_from_being_told_that_it_lost() {
    holds(lease_is_news_to_the_successor, Mutant::AnswerFromStaleCache);
}

#[test]
fn trace_14_a_denial_of_a_deposed_leader_is_not_heard() {
    holds(deposed_leader_denies, Mutant::HearOldEpochs);
}

#[test]
fn a_repeat_of_an_answered_request_waits_no_longer() {
    holds(repeat_is_answered, Mutant::RepeatWithOldWait);
}

#[test]
fn an_acknowledgement_of_an_earlier_term_confirms_nothing() {
    holds(old_acknowledgement_comes_late, Mutant::HearOldTerms);
}

#[test]
fn a_deposed_leader_takes_nothing_away() {
    holds(deposed_leader_expires, Mutant::SkipEpochGuard);
}

#[test]
fn nothing_is_answered_of_a_lease_that_is_being_taken_away() {
    holds(batch_is_long_on_its_way, Mutant::RenewWhileExpiring);
}

#[test]
fn a_batch_without_an_answer_is_in_doubt() {
    holds(batch_is_long_on_its_way, Mutant::TimeoutIsFailure);
}

#[test]
fn not_now_is_no_failure() {
    holds(batch_is_long_on_its_way, Mutant::NotNowIsFailure);
}

#[test]
fn a_waiter_that_repeats_keeps_its_place() {
    holds(repeats_are_put_off, Mutant::PutOffIsSilent);
}

#[test]
fn a_refused_write_proves_nothing() {
    holds(own_write_is_refused, Mutant::RefusedIsKnown);
}

#[test]
fn the_wait_is_reckoned_with_drift() {
    holds(long_wait_with_drift, Mutant::WaitWithoutDrift);
}

#[test]
fn the_clock_counts_sleep() {
    holds(holder_sleeps, Mutant::ClockStopsInSuspend);
}

#[test]
fn a_storage_that_went_back_is_noticed() {
    holds(storage_goes_back, Mutant::SkipQuarantine);
}

#[test]
fn what_a_server_that_slept_denies_is_not_believed() {
    holds(stream_leader_wakes, Mutant::BelieveDenial);
}

/// A release that nobody waits for is answered, and the leader dies before its write has reached the store: the
/// client tells the next leader too (S2), so that nobody waits for the lease to end.
#[test]
fn a_release_that_was_answered_early_outlives_its_leader() {
    let mut world = world(2);
    let old = leader(&world);
    let first = world.wish(2, wish(30_000));
    until(&mut world, "the grant", |world| world.stats.grants == 1);
    world.script.storeless.insert(old);
    world.finish(2, first, true);
    pass(&mut world, 4 * MS);
    let serving = world.coords[old].serving.as_ref();
    let answered = serving.is_some_and(|serving| serving.engine.census().holders == 0);
    assert!(answered && holders(&mut world, 0) == 1, "answered, and not stored:\n{}", world.story.join("\n"));
    world.crash(old, END);
    let died = world.now;
    successor(&mut world, old);
    world.wish(3, wish(3_000));
    until(&mut world, "the next grant", |world| world.stats.grants == 2);
    let took = world.now - died;
    assert!(world.broken.is_none() && took < 3 * SECOND, "after {} ms", took / MS);
}
