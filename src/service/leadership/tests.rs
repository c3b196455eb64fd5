//! The rules of leadership, one at a time. Times are in milliseconds.

mod quarantine;

use std::time::Duration;

use super::*;
use crate::engine::Term;
use crate::engine::message::{Ticket, WriteOutcome};
use crate::types::CoordinatorId;
use crate::wire::record::{EpochRecord, LeaseRecord};

const T_L: u64 = 12_000;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn span(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn new() -> Leadership {
    let mut leadership = Leadership::new(Identity {
        coordinator: CoordinatorId(1),
        host: "here".into(),
        pid: 7,
        leader_lease: span(T_L),
    });
    assert!(matches!(leadership.poll_action(), Some(Action::ReadShard)));
    leadership
}

/// What a predecessor left behind.
fn left(epoch: u64, lease: u64, t_l: u64, resigned: bool) -> ShardRead {
    let attempt = AttemptId { coordinator: CoordinatorId(2), number: 1 };
    let coordinator = CoordinatorId(2);
    let record = LeaseRecord {
        coordinator,
        host: "there".into(),
        pid: 8,
        epoch: Epoch::new(Revision::new(epoch)),
        t_l: span(t_l),
        attempt,
        resigned,
        embargo: Duration::ZERO,
    };
    ShardRead {
        epoch: Some((Revision::new(epoch), epoch_record(coordinator, attempt))),
        lease: Some((Revision::new(lease), record)),
    }
}

const fn epoch_record(coordinator: CoordinatorId, attempt: AttemptId) -> EpochRecord {
    EpochRecord {
        coordinator,
        attempt,
        highest: Revision::NONE,
        quarantine: None,
        recovers: false,
        recovered: Revision::NONE,
    }
}

fn nothing() -> ShardRead {
    ShardRead { epoch: None, lease: None }
}

fn takeover(leadership: &mut Leadership) -> (Revision, EpochRecord, LeaseRecord) {
    match leadership.poll_action() {
        Some(Action::Takeover { expected, epoch, lease }) => (expected, epoch, lease),
        other => panic!("expected a takeover, not {other:?}"),
    }
}

fn lease_write(leadership: &mut Leadership) -> LeaseRecord {
    loop {
        match leadership.poll_action() {
            Some(Action::WriteLease { lease, .. }) => return lease,
            Some(Action::Heartbeat { .. } | Action::Extend { .. } | Action::Confirmed { .. }) => {}
            other => panic!("expected a lease write, not {other:?}"),
        }
    }
}

fn actions(leadership: &mut Leadership) -> Vec<Action> {
    std::iter::from_fn(|| leadership.poll_action()).collect()
}

/// Leads since 1000, on a fresh bucket.
fn leading() -> (Leadership, Term) {
    let mut leadership = new();
    leadership.handle_shard_read(at(990), Some(nothing()));
    takeover(&mut leadership);
    leadership.handle_takeover(at(1000), WriteOutcome::Acknowledged(Revision::new(101)));
    match actions(&mut leadership).remove(0) {
        Action::Lead(term) => (leadership, term),
        other => panic!("expected to lead, not {other:?}"),
    }
}

#[test]
fn a_fresh_bucket_is_taken_at_once_and_without_overlap() {
    let (_, term) = leading();
    assert_eq!(term.epoch.get(), 100);
    assert_eq!(term.act_until, at(990 + T_L * 99 / 100), "counted from sending");
    assert_eq!(term.overlap_until, at(1000));
}

#[test]
fn a_leader_that_may_live_is_listened_for() {
    let mut leadership = new();
    leadership.handle_shard_read(at(0), Some(left(5, 9, T_L, false)));
    leadership.handle_timeout(at(999));
    leadership.handle_heartbeat(at(900), Epoch::new(Revision::new(5)));
    leadership.handle_timeout(at(1899));
    assert!(matches!(actions(&mut leadership)[..], [Action::CheckIdentity]));
    leadership.handle_timeout(at(1900));
    assert!(matches!(actions(&mut leadership)[..], [Action::ReadShard]));
}

#[test]
fn a_leader_that_has_resigned_is_not_waited_for() {
    let mut leadership = new();
    leadership.handle_shard_read(at(0), Some(left(5, 9, T_L, false)));
    leadership.handle_farewell();
    assert!(matches!(actions(&mut leadership)[..], [Action::ReadShard]));
    leadership.handle_shard_read(at(10), Some(left(5, 10, 0, true)));
    takeover(&mut leadership);
}

#[test]
fn a_lease_record_older_than_the_epoch_is_read_again() {
    // The answer about the lease came from a replica that has not seen the last takeover: it speaks of an
    // earlier leader, whose overlap may be shorter.
    let mut leadership = new();
    leadership.handle_shard_read(at(0), Some(left(50, 9, 0, true)));
    assert!(actions(&mut leadership).is_empty());
    leadership.handle_timeout(at(100));
    assert!(matches!(actions(&mut leadership)[..], [Action::ReadShard]));
}

#[test]
fn the_overlap_is_the_predecessors_lease_and_drift_from_the_acknowledgement() {
    let mut leadership = new();
    leadership.handle_shard_read(at(0), Some(left(5, 9, 3000, false)));
    leadership.handle_timeout(at(1000));
    leadership.poll_action();
    leadership.handle_shard_read(at(1010), Some(left(5, 9, 3000, false)));
    let (expected, ..) = takeover(&mut leadership);
    assert_eq!(expected, Revision::new(5));
    leadership.handle_takeover(at(1500), WriteOutcome::Acknowledged(Revision::new(21)));
    let Some(Action::Lead(term)) = leadership.poll_action() else { panic!("leads") };
    assert_eq!(term.overlap_until, at(1500 + 3030));
}

#[test]
fn a_resignation_writes_the_overlap_that_remains() {
    let (mut leadership, _) = leading();
    leadership.resign(at(2000));
    let lease = lease_write(&mut leadership);
    assert!(lease.resigned && lease.t_l.is_zero(), "nothing was inherited");

    let mut leadership = new();
    leadership.handle_shard_read(at(0), Some(left(5, 9, 10_000, true)));
    takeover(&mut leadership);
    leadership.handle_takeover(at(100), WriteOutcome::Acknowledged(Revision::new(21)));
    actions(&mut leadership);
    leadership.resign(at(4100));
    let lease = lease_write(&mut leadership);
    assert!(lease.resigned);
    assert_eq!(lease.t_l, span(10_100 - 4000), "what the predecessors conferred is not forgotten");
    leadership.handle_lease_written(at(4110), WriteOutcome::Acknowledged(Revision::new(30)));
    assert!(matches!(actions(&mut leadership)[..], [Action::Farewell { .. }, Action::Over]));
}

#[test]
fn an_inherited_overlap_longer_than_ones_own_is_passed_on() {
    let mut leadership = new();
    leadership.handle_shard_read(at(0), Some(left(5, 9, 60_000, true)));
    let (_, _, lease) = takeover(&mut leadership);
    assert_eq!(lease.t_l, span(60_600));
}

#[test]
fn the_lease_is_written_every_third_of_its_time_and_counted_from_sending() {
    let (mut leadership, _) = leading();
    leadership.handle_timeout(at(990 + 3999));
    assert!(actions(&mut leadership).iter().all(|action| matches!(action, Action::Heartbeat { .. })));
    leadership.handle_timeout(at(990 + 4000));
    lease_write(&mut leadership);
    leadership.handle_lease_written(at(9000), WriteOutcome::Acknowledged(Revision::new(120)));
    let extended = at(4990 + T_L * 99 / 100);
    assert!(
        actions(&mut leadership).iter().any(|a| matches!(a, Action::Extend { until } if *until == extended))
    );
}

#[test]
fn a_write_in_doubt_is_sent_again_and_counts_from_its_first_sending() {
    let (mut leadership, _) = leading();
    leadership.handle_timeout(at(5000));
    let first = lease_write(&mut leadership);
    leadership.handle_lease_written(at(7000), WriteOutcome::Unknown);
    assert_eq!(lease_write(&mut leadership), first, "the same write");
    leadership.handle_lease_written(at(7010), WriteOutcome::Mismatch(Some(Revision::new(120))));
    assert!(matches!(actions(&mut leadership)[..], [Action::ReadLease { .. }]));
    leadership.handle_lease_read(at(7020), Revision::new(120), Some(first));
    let extended = at(5000 + T_L * 99 / 100);
    assert!(
        actions(&mut leadership).iter().any(|a| matches!(a, Action::Extend { until } if *until == extended))
    );
}

#[test]
fn a_write_that_was_refused_for_now_counts_from_its_last_sending() {
    let (mut leadership, _) = leading();
    leadership.handle_timeout(at(5000));
    lease_write(&mut leadership);
    leadership.handle_lease_written(at(5010), WriteOutcome::NotNow);
    leadership.handle_timeout(at(5110));
    lease_write(&mut leadership);
    leadership.handle_lease_written(at(5120), WriteOutcome::Acknowledged(Revision::new(120)));
    let extended = at(5110 + T_L * 99 / 100);
    assert!(
        actions(&mut leadership).iter().any(|a| matches!(a, Action::Extend { until } if *until == extended))
    );
}

#[test]
fn another_coordinators_record_deposes() {
    let (mut leadership, _) = leading();
    leadership.handle_timeout(at(5000));
    lease_write(&mut leadership);
    leadership.handle_lease_written(at(5010), WriteOutcome::Mismatch(Some(Revision::new(130))));
    actions(&mut leadership);
    let theirs = left(129, 130, T_L, false).lease.map(|(_, record)| record);
    leadership.handle_lease_read(at(5020), Revision::new(130), theirs);
    assert!(matches!(actions(&mut leadership)[..], [Action::StepDown { .. }]));
}

#[test]
fn a_refusal_whose_record_cannot_be_had_proves_nothing() {
    let (mut leadership, _) = leading();
    leadership.handle_timeout(at(5000));
    let first = lease_write(&mut leadership);
    leadership.handle_lease_written(at(5010), WriteOutcome::Mismatch(Some(Revision::new(130))));
    actions(&mut leadership);
    leadership.handle_lease_read(at(5020), Revision::new(130), None);
    leadership.handle_timeout(at(5120));
    assert_eq!(lease_write(&mut leadership), first);
}

#[test]
fn a_later_epoch_deposes_and_an_own_one_does_not() {
    for depose in [
        (|l: &mut Leadership| l.handle_epoch_seen(at(2000), Revision::new(140))) as fn(&mut Leadership),
        |l| l.handle_heartbeat(at(2000), Epoch::new(Revision::new(140))),
    ] {
        let (mut leadership, term) = leading();
        leadership.handle_epoch_seen(at(1500), term.epoch.revision());
        assert!(actions(&mut leadership).is_empty());
        depose(&mut leadership);
        assert!(matches!(actions(&mut leadership)[0], Action::StepDown { .. }));
    }
}

#[test]
fn a_wish_needs_a_write_that_is_sent_after_it() {
    let (mut leadership, _) = leading();
    leadership.handle_timeout(at(5000));
    lease_write(&mut leadership);
    leadership.confirm(at(5001), Ticket(1));
    assert!(actions(&mut leadership).is_empty(), "one is on its way already, and proves too little");
    leadership.handle_lease_written(at(5010), WriteOutcome::Acknowledged(Revision::new(120)));
    lease_write(&mut leadership);
    leadership.handle_lease_written(at(5020), WriteOutcome::Acknowledged(Revision::new(121)));
    let confirmed = actions(&mut leadership);
    let fulfils =
        |a: &Action| matches!(a, Action::Confirmed { ticket: Ticket(1), revision } if revision.get() == 121);
    assert!(confirmed.iter().any(fulfils), "{confirmed:?}");
}

#[test]
fn a_lost_takeover_whose_answer_was_lost_is_recognised() {
    let mut leadership = new();
    leadership.handle_shard_read(at(0), Some(nothing()));
    let (_, epoch, lease) = takeover(&mut leadership);
    leadership.handle_takeover(at(2000), WriteOutcome::Unknown);
    takeover(&mut leadership);
    leadership.handle_takeover(at(2010), WriteOutcome::Mismatch(Some(Revision::new(100))));
    assert!(matches!(actions(&mut leadership)[..], [Action::ReadShard]));
    let read =
        ShardRead { epoch: Some((Revision::new(100), epoch)), lease: Some((Revision::new(101), lease)) };
    leadership.handle_shard_read(at(2020), Some(read));
    let Some(Action::Lead(term)) = leadership.poll_action() else { panic!("leads") };
    assert_eq!((term.epoch.get(), term.act_until), (100, at(T_L * 99 / 100)));
}

#[test]
fn a_race_that_is_lost_is_watched_and_short_terms_back_off() {
    let mut leadership = new();
    leadership.handle_shard_read(at(0), Some(nothing()));
    takeover(&mut leadership);
    leadership.handle_takeover(at(10), WriteOutcome::Mismatch(Some(Revision::new(100))));
    leadership.poll_action();
    leadership.handle_shard_read(at(20), Some(left(100, 101, T_L, false)));
    assert_eq!(leadership.poll_timeout(), Some(at(1020)));

    let (mut leadership, _) = leading();
    leadership.handle_epoch_seen(at(2000), Revision::new(200));
    assert_eq!(leadership.poll_timeout(), Some(at(2000 + 2000)), "a term of one second was a short one");
}

/// A coordinator that finds a leader listens first; what it has read by then was there.
#[test]
fn what_was_only_read_was_there_once() {
    let mut leadership = new();
    leadership.handle_shard_read(at(0), Some(left(100, 150, T_L, false)));
    leadership.handle_timeout(at(1_000));
    actions(&mut leadership);
    leadership.handle_shard_read(at(1_010), Some(left(100, 101, T_L, false)));
    takeover(&mut leadership);
    leadership.handle_takeover(at(1_020), WriteOutcome::Acknowledged(Revision::new(131)));
    let done = actions(&mut leadership);
    assert!(matches!(done[..], [Action::Lead(_), Action::Quarantine { .. }, ..]), "{done:?}");
}

/// Of two answers that are on their way the later write's may come first: that proves nothing.
#[test]
fn a_takeover_is_compared_with_what_was_known_when_it_was_sent() {
    let mut leadership = new();
    leadership.handle_shard_read(at(0), Some(nothing()));
    takeover(&mut leadership);
    assert!(leadership.handle_stored(Revision::NONE, Revision::new(104)).is_none());
    leadership.handle_takeover(at(10), WriteOutcome::Acknowledged(Revision::new(103)));
    let done = actions(&mut leadership);
    assert!(matches!(done[..], [Action::Lead(_)]), "{done:?}");
}

#[test]
fn a_copy_of_a_takeover_is_compared_with_what_was_known_when_that_copy_was_sent() {
    let mut leadership = new();
    leadership.handle_shard_read(at(0), Some(left(36, 37, 0, true)));
    takeover(&mut leadership);
    leadership.saw(Revision::new(48));
    leadership.handle_takeover(at(10), WriteOutcome::Unknown);
    let (_, copy, _) = takeover(&mut leadership);
    assert_eq!(copy.highest.get(), 37, "it is the same record");
    // The store went back, and went on: its record 36 is another one.
    leadership.handle_takeover(at(20), WriteOutcome::Acknowledged(Revision::new(39)));
    let done = actions(&mut leadership);
    assert!(matches!(done[..2], [Action::Lead(_), Action::Quarantine { .. }]), "{done:?}");
}

#[test]
fn a_takeover_does_not_wait_for_a_record_that_is_gone() {
    let mut leadership = new();
    leadership.handle_shard_read(at(0), Some(left(36, 37, 0, true)));
    takeover(&mut leadership);
    leadership.handle_takeover(at(10), WriteOutcome::Mismatch(Some(Revision::new(6))));
    actions(&mut leadership);
    leadership.handle_shard_read(at(20), Some(left(6, 23, 0, true)));
    leadership.handle_timeout(at(120));
    assert!(matches!(actions(&mut leadership)[..], [Action::ReadShard]));
    leadership.handle_shard_read(at(130), Some(left(6, 23, 0, true)));
    let (expected, epoch, _) = takeover(&mut leadership);
    assert_eq!((expected.get(), epoch.highest.get()), (6, 37));
    leadership.handle_takeover(at(140), WriteOutcome::Acknowledged(Revision::new(25)));
    assert!(leadership.quarantined().is_some());
}
