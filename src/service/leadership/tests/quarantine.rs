//! A store that is not trusted, and one that was recovered (S11).

use super::*;

/// What one recovery leaves behind: its own `epoch` record at `epoch`, the `lease` record behind it.
fn recovered(epoch: u64, embargo: u64) -> ShardRead {
    let mut read = left(epoch, epoch + 1, 60_000, true);
    if let (Some((_, epoch)), Some((_, lease))) = (&mut read.epoch, &mut read.lease) {
        epoch.recovers = true;
        lease.embargo = span(embargo);
    }
    read
}

/// Lets the time to take over come, and takes over from what is read.
fn takes_over_from(leadership: &mut Leadership, now: u64, read: ShardRead) -> (EpochRecord, LeaseRecord) {
    leadership.handle_timeout(at(now));
    assert!(matches!(actions(leadership)[..], [Action::ReadShard]));
    leadership.handle_shard_read(at(now), Some(read));
    let mut actions = actions(leadership);
    match actions.pop() {
        Some(Action::Takeover { epoch, lease, .. }) => (epoch, lease),
        other => panic!("expected a takeover, not {other:?}"),
    }
}

/// Quarantined since the bucket was made again: its own takeover in it is on its way.
fn quarantined() -> Leadership {
    let (mut leadership, _) = leading();
    leadership.handle_identity(at(2_000), false);
    let done = actions(&mut leadership);
    let expected =
        matches!(done[..], [Action::Quarantine { .. }, Action::StepDown { .. }, Action::ReadShard]);
    assert!(expected, "{done:?}");
    leadership.handle_shard_read(at(2_000), Some(nothing()));
    leadership
}

#[test]
fn a_store_that_went_back_in_time_is_quarantined() {
    let mut leadership = new();
    let mut read = left(5, 9, 0, true);
    if let Some((_, epoch)) = &mut read.epoch {
        epoch.highest = Revision::new(5000);
    }
    leadership.handle_shard_read(at(0), Some(read));
    takeover(&mut leadership);
    leadership.handle_takeover(at(10), WriteOutcome::Acknowledged(Revision::new(11)));
    let done = actions(&mut leadership);
    let expected = matches!(
        done[..],
        [Action::Lead(_), Action::Quarantine { .. }, Action::StepDown { .. }, Action::ReadShard]
    );
    assert!(expected, "{done:?}");
    assert_eq!(leadership.quarantined().unwrap().highest.get(), 5000);
}

/// Leads, and is told for `span` milliseconds from 5000 that its record is at `revision`; with what it does last.
fn denied(revision: u64, span: u64) -> (Leadership, Vec<Action>) {
    let (mut leadership, _) = leading();
    let mut done = Vec::new();
    for now in (5000..=5000 + span).step_by(100) {
        assert!(!done.iter().any(|action| matches!(action, Action::StepDown { .. })), "at {now}");
        leadership.handle_timeout(at(now));
        lease_write(&mut leadership);
        leadership.handle_lease_written(at(now), WriteOutcome::Mismatch(Some(Revision::new(revision))));
        done = actions(&mut leadership);
    }
    (leadership, done)
}

/// The interleaving: the stream's leader is stopped, its successor stores a `lease` record, the old one wakes and
/// refuses the next by what it knows. Its word is not taken.
#[test]
fn a_server_that_slept_denies_what_was_stored_and_is_not_believed() {
    let (mut leadership, done) = denied(60, 900);
    assert!(done.is_empty(), "{done:?}");
    leadership.handle_timeout(at(6000));
    lease_write(&mut leadership);
    leadership.handle_lease_written(at(6010), WriteOutcome::Acknowledged(Revision::new(102)));
    assert!(matches!(actions(&mut leadership)[..], [Action::Extend { .. }]));
    assert!(leadership.quarantined().is_none());
}

#[test]
fn a_lease_record_that_went_back_for_good_is_found_out_by_a_takeover() {
    for (lease, went_back) in [(62, true), (111, false)] {
        let (mut leadership, done) = denied(60, 1000);
        assert!(matches!(done[..], [Action::StepDown { .. }, Action::ReadShard]), "{done:?}");
        assert!(leadership.quarantined().is_none(), "not yet");
        leadership.handle_shard_read(at(6010), Some(left(50, 60, 0, false)));
        takeover(&mut leadership);
        leadership.handle_takeover(at(6020), WriteOutcome::Acknowledged(Revision::new(lease)));
        assert!(matches!(actions(&mut leadership)[0], Action::Lead(_)));
        let highest = leadership.quarantined().map(|found| found.highest.get());
        assert_eq!(highest, went_back.then_some(101), "a takeover at {lease}");
    }
}

#[test]
fn a_lease_record_that_is_gone_is_looked_into() {
    for (same, lasted, found) in [(false, 0, true), (true, 0, false), (true, 900, false), (true, 1000, true)]
    {
        let (mut leadership, done) = denied(0, lasted);
        assert!(matches!(done[..], [Action::CheckIdentity]), "{done:?}");
        leadership.handle_identity(at(5000 + lasted), same);
        let done = actions(&mut leadership);
        let quarantined = matches!(done.first(), Some(Action::Quarantine { .. }));
        assert_eq!(quarantined, found, "the same store: {same}, for {lasted} ms");
    }
}

#[test]
fn whoever_takes_over_from_a_quarantined_coordinator_is_quarantined() {
    let mut leadership = quarantined();
    let Some(Action::Takeover { epoch, .. }) = leadership.poll_action() else { panic!("takes over") };
    assert!(epoch.quarantine.is_some(), "the record says so");
    leadership.handle_takeover(at(2_010), WriteOutcome::Acknowledged(Revision::new(9_001)));
    let done = actions(&mut leadership);
    assert!(matches!(done[..], [Action::Lead(_), Action::Quarantine { .. }]), "once is enough: {done:?}");

    let mut fresh = new();
    let mut read = left(9_000, 9_001, 0, true);
    read.epoch = Some((Revision::new(9_000), epoch));
    fresh.handle_shard_read(at(0), Some(read));
    let (_, handed_on, _) = takeover(&mut fresh);
    assert!(handed_on.quarantine.is_some());
    fresh.handle_takeover(at(10), WriteOutcome::Acknowledged(Revision::new(9_011)));
    let done = actions(&mut fresh);
    assert!(matches!(done[..], [Action::Lead(_), Action::Quarantine { .. }]), "{done:?}");
}

#[test]
fn a_standby_that_finds_no_records_any_more_is_quarantined() {
    let mut leadership = new();
    leadership.handle_shard_read(at(0), Some(left(5, 9, T_L, false)));
    let (epoch, _) = takes_over_from(&mut leadership, 1_000, nothing());
    assert!(epoch.quarantine.is_some());
    leadership.handle_takeover(at(1_010), WriteOutcome::Acknowledged(Revision::new(9_001)));
    let done = actions(&mut leadership);
    assert!(matches!(done[..], [Action::Lead(_), Action::Quarantine { .. }]), "{done:?}");
    assert_eq!(leadership.quarantined().unwrap().highest.get(), 9, "what is new does not count");
}

#[test]
fn a_recovery_above_all_that_was_seen_ends_the_quarantine_and_is_handed_on() {
    let mut leadership = quarantined();
    actions(&mut leadership);
    leadership.handle_takeover(at(2_010), WriteOutcome::Acknowledged(Revision::new(102)));
    actions(&mut leadership);
    leadership.handle_epoch_seen(at(3_000), Revision::new(9_000));
    actions(&mut leadership);
    leadership.handle_timeout(at(6_000));
    actions(&mut leadership);
    leadership.handle_shard_read(at(6_000), Some(recovered(9_000, 50_000)));
    let done = actions(&mut leadership);
    let [Action::Recovered, Action::Takeover { epoch, lease, .. }] = &done[..] else { panic!("{done:?}") };
    assert_eq!((epoch.quarantine.clone(), epoch.recovered.get()), (None, 9_000));
    assert_eq!(lease.embargo, span(50_500), "with drift");
    leadership.handle_takeover(at(6_010), WriteOutcome::Acknowledged(Revision::new(9_011)));
    let done = actions(&mut leadership);
    let [Action::Lead(term)] = &done[..] else { panic!("{done:?}") };
    assert_eq!(term.embargo_until, at(6_010 + 50_500));
    leadership.handle_timeout(at(16_010));
    assert_eq!(lease_write(&mut leadership).embargo, span(40_500), "what remains");
}

#[test]
fn a_recovery_that_knew_less_ends_nothing() {
    let mut leadership = quarantined();
    actions(&mut leadership);
    leadership.handle_takeover(at(2_010), WriteOutcome::Mismatch(Some(Revision::new(50))));
    actions(&mut leadership);
    leadership.handle_shard_read(at(2_020), Some(recovered(50, 0)));
    let (epoch, _) = takes_over_from(&mut leadership, 10_000, recovered(50, 0));
    assert!(epoch.quarantine.is_some(), "tokens up to 101 may be out");
}

/// The interleaving: the leader is paused, the store goes back, an operator recovers it, the leader wakes.
#[test]
fn a_leader_that_slept_through_it_all_is_deposed_and_inherits_the_embargo() {
    let (mut leadership, term) = leading();
    assert!(!term.acts(at(40_000)), "awake again, it says nothing");
    leadership.handle_timeout(at(40_000));
    lease_write(&mut leadership);
    leadership.handle_lease_written(at(40_010), WriteOutcome::Mismatch(Some(Revision::new(9_001))));
    assert!(matches!(actions(&mut leadership)[..], [Action::ReadLease { .. }]));
    let Some((revision, record)) = recovered(9_000, 50_000).lease else { panic!("a lease record") };
    leadership.handle_lease_read(at(40_020), revision, Some(record));
    assert!(matches!(actions(&mut leadership)[..], [Action::StepDown { .. }]));
    let (epoch, lease) = takes_over_from(&mut leadership, 60_000, recovered(9_000, 50_000));
    // It adopts the bucket that was recovered, whichever it was before.
    assert_eq!((epoch.quarantine, epoch.recovered.get()), (None, 9_000));
    assert_eq!(lease.embargo, span(50_500));
}

/// The interleaving: the bucket is made again under a leader, a coordinator begins that knows only the new one, and
/// leads it at once, without any of the holders.
#[test]
fn a_newcomer_that_leads_a_bucket_made_again_is_found_out_by_all_who_knew_the_old_one() {
    let (leader, _) = leading();
    let mut standby = new();
    standby.handle_shard_read(at(0), Some(left(100, 101, T_L, false)));
    for (mut leadership, leads) in [(leader, true), (standby, false)] {
        leadership.handle_heartbeat(at(2_000), Epoch::new(Revision::new(9_000)));
        let done = actions(&mut leadership);
        let (deposed, looks) = (matches!(done[0], Action::StepDown { .. }), done.last());
        assert!(deposed == leads && matches!(looks, Some(Action::CheckIdentity)), "{done:?}");
        leadership.handle_heartbeat(at(2_250), Epoch::new(Revision::new(9_000)));
        assert!(actions(&mut leadership).is_empty(), "it looks once");
        leadership.handle_identity(at(2_000), false);
        let done = actions(&mut leadership);
        assert!(matches!(done[..], [Action::Quarantine { .. }, Action::ReadShard]), "{done:?}");
        leadership.handle_shard_read(at(2_300), Some(left(9_000, 9_001, T_L, false)));
        let (_, mark, _) = takeover(&mut leadership);
        assert!(mark.quarantine.is_some(), "the newcomer is deposed, and the record says why");
    }
}
