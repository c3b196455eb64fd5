//! Values for the round-trip tests.

use std::time::Duration;

use proptest::prelude::*;

use crate::engine::message::{EventKind, HolderView, LeaseRef, LockView, WaiterView};
use crate::types::{
    AttemptId, CAPACITY_MAX, Claim, CoordinatorId, Epoch, LeaseId, LockName, Mode, Note, OwnerName, Permits,
    Revision, Token, Ttl, WAIT_MS_MAX, Wait, WallTime,
};

pub(super) fn lock_name() -> impl Strategy<Value = LockName> {
    "[a-z]{1,3}(\\.[\\PC--.]{1,6}){0,2}".prop_map(|raw| LockName::encode(&raw).unwrap())
}

pub(super) fn owner() -> impl Strategy<Value = OwnerName> {
    "\\PC{1,5}".prop_map(|raw| OwnerName::encode(&raw).unwrap())
}

pub(super) fn lease_id() -> impl Strategy<Value = LeaseId> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|text| text.parse().unwrap())
}

pub(super) fn token() -> impl Strategy<Value = Token> {
    any::<u64>().prop_map(Token::from_raw)
}

pub(super) fn lease_ref() -> impl Strategy<Value = LeaseRef> {
    (lease_id(), prop::option::of(token())).prop_map(|(id, token)| LeaseRef { id, token })
}

pub(super) fn epoch() -> impl Strategy<Value = Epoch> {
    any::<u64>().prop_map(|sequence| Epoch::new(Revision::new(sequence)))
}

pub(super) fn attempt() -> impl Strategy<Value = AttemptId> {
    (any::<u64>(), any::<u64>())
        .prop_map(|(coordinator, number)| AttemptId { coordinator: CoordinatorId(coordinator), number })
}

pub(super) fn permits() -> impl Strategy<Value = Permits> {
    (1..=CAPACITY_MAX)
        .prop_flat_map(|capacity| (1..=capacity, Just(capacity)))
        .prop_map(|(permits, capacity)| Permits::new(permits, capacity).unwrap())
}

pub(super) fn claim() -> impl Strategy<Value = Claim> {
    prop_oneof![Just(Claim::Exclusive), Just(Claim::Shared), permits().prop_map(Claim::Counting)]
}

pub(super) fn mode() -> impl Strategy<Value = Mode> {
    claim().prop_map(Claim::mode)
}

pub(super) fn ttl() -> impl Strategy<Value = Ttl> {
    (Ttl::MS_MIN..=Ttl::MS_MAX).prop_map(|ms| Ttl::from_millis(ms).unwrap())
}

pub(super) fn wait() -> impl Strategy<Value = Wait> {
    (0..=WAIT_MS_MAX).prop_map(|ms| Wait::from_millis(ms).unwrap())
}

pub(super) fn span() -> impl Strategy<Value = Duration> {
    (0..=u64::MAX / 2).prop_map(Duration::from_millis)
}

pub(super) fn note() -> impl Strategy<Value = Note> {
    "\\PC{0,20}|[\\x00-\\x7f]{0,256}".prop_map(|text| text.parse().unwrap())
}

pub(super) fn wall_time() -> impl Strategy<Value = WallTime> {
    any::<u64>().prop_map(WallTime)
}

pub(super) fn event_kind() -> impl Strategy<Value = EventKind> {
    prop::sample::select(vec![
        EventKind::Granted,
        EventKind::Released,
        EventKind::Expired,
        EventKind::Revoked,
    ])
}

fn holder_view() -> impl Strategy<Value = HolderView> {
    (owner(), token(), claim(), span(), prop::option::of(span()), prop::option::of(note())).prop_map(
        |(owner, token, claim, held, expires_in, note)| HolderView {
            owner,
            token,
            mode: claim.mode(),
            permits: claim.permits().map(Permits::permits),
            held,
            expires_in,
            note,
        },
    )
}

fn waiter_view() -> impl Strategy<Value = WaiterView> {
    (owner(), mode(), span(), 1..10_000_usize).prop_map(|(owner, mode, waited, position)| WaiterView {
        owner,
        mode,
        waited,
        position,
    })
}

pub(super) fn lock_view() -> impl Strategy<Value = LockView> {
    let holders = prop::collection::vec(holder_view(), 0..3);
    let waiters = prop::collection::vec(waiter_view(), 0..3);
    (mode(), holders, waiters, 0..10_usize).prop_map(|(mode, holders, waiters, more)| LockView {
        mode,
        holder_count: holders.len() + more,
        holders,
        waiter_count: waiters.len() + more,
        waiters,
    })
}
