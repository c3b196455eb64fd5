//! What a client believes, and for how long. Times are in milliseconds; T is the handle of the first lease.

use super::*;
use crate::client::AcquireOptions;
use crate::client::core::SendNumber;
use crate::engine::message::{Code, LostReason as Told};
use crate::types::{Epoch, Mode, Revision};
use crate::wire::reply::Answer;

const T: Handle = Handle(1);
const TTL: u64 = 10_000;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn epoch(number: u64) -> Epoch {
    Epoch::new(Revision::new(number))
}

fn core() -> Core {
    Core::new(CoreConfig { patience: Duration::from_secs(5), seed: 42 })
}

fn name() -> LockName {
    LockName::encode("a.lock").unwrap()
}

fn options(wait_ms: u64) -> AcquireOptions {
    AcquireOptions::new().ttl(Duration::from_millis(TTL)).wait(Duration::from_millis(wait_ms))
}

/// Begins to acquire, and returns the number of the request and the id in it.
fn acquire(core: &mut Core, now: u64, handle: Handle, options: AcquireOptions) -> (SendNumber, LeaseId) {
    core.acquire(at(now), handle, name(), options.check().unwrap());
    match sends(core).pop() {
        Some((number, Ask::Acquire(acquire))) => (number, acquire.id),
        other => panic!("expected an acquire request, not {other:?}"),
    }
}

fn effects(core: &mut Core) -> Vec<Effect> {
    std::iter::from_fn(|| core.poll_effect()).collect()
}

fn sends(core: &mut Core) -> Vec<(SendNumber, Ask)> {
    let sends = effects(core).into_iter().filter_map(|effect| match effect {
        Effect::Send { number, ask, .. } => Some((number, ask)),
        _ => None,
    });
    sends.collect()
}

fn granted(id: &LeaseId, token: u64, waited_ms: u64) -> Answer {
    Answer::Granted(Granted {
        id: id.clone(),
        token: Token::from_raw(token),
        ttl: Ttl::from_millis(TTL).unwrap(),
        waited: Duration::from_millis(waited_ms),
        permits: None,
    })
}

fn refused(code: Code) -> Answer {
    let (word, message) = (code.as_str().to_owned(), String::new());
    Answer::Error(Refused { code: Some(code), word, message, retry_after: None, limit: None })
}

fn held() -> Answer {
    let (holders, waiters) = (Vec::new(), Vec::new());
    Answer::Held(LockView { mode: Mode::Exclusive, holders, holder_count: 1, waiters, waiter_count: 0 })
}

fn deadline_of(effects: &[Effect]) -> Option<Timestamp> {
    effects.iter().find_map(|effect| match effect {
        Effect::Outcome(_, Outcome::Granted { deadline, .. }) | Effect::Extended(_, deadline) => {
            Some(*deadline)
        }
        _ => None,
    })
}

/// Holds a lease since 1000.
fn holding(core: &mut Core, handle: Handle) -> LeaseId {
    let (number, id) = acquire(core, 1_000, handle, options(0));
    core.handle_answer(at(1_010), number, epoch(1), granted(&id, 256, 0));
    effects(core);
    id
}

#[test]
fn a_lease_is_counted_from_the_sending_that_was_answered() {
    let mut core = core();
    let (first, id) = acquire(&mut core, 1_000, T, options(60_000));
    core.handle_timeout(at(2_000));
    let (second, Ask::Acquire(repeat)) = sends(&mut core).remove(0) else { panic!("repeats") };
    assert_eq!(repeat.id, id, "a repeat is the same acquisition");
    assert_ne!(first, second);
    // The answer to the first one comes last, after 3 s on its way back.
    core.handle_answer(at(5_000), first, epoch(1), granted(&id, 256, 500));
    assert_eq!(deadline_of(&effects(&mut core)), Some(at(1_000 + (500 + 10_000) * 99 / 100)));
}

#[test]
fn a_grant_that_comes_too_late_is_not_believed_but_renewed() {
    let mut core = core();
    let (number, id) = acquire(&mut core, 1_000, T, options(60_000));
    core.handle_answer(
        at(1_010),
        number,
        epoch(1),
        Answer::Queued { id: id.clone(), position: 1, holder_count: 1 },
    );
    core.handle_answer(at(20_000), number, epoch(1), granted(&id, 256, 0));
    assert!(deadline_of(&effects(&mut core)).is_none());
    core.handle_timeout(at(20_000));
    let (number, _) = sends(&mut core).remove(0);
    core.handle_answer(at(20_005), number, epoch(1), granted(&id, 256, 0));
    assert_eq!(deadline_of(&effects(&mut core)), Some(at(20_000 + 9_900)));
}

#[test]
fn an_answer_to_an_unknown_sending_confers_nothing() {
    let mut core = core();
    let (_, id) = acquire(&mut core, 1_000, T, options(0));
    core.handle_answer(at(1_001), SendNumber(99), epoch(1), granted(&id, 256, 0));
    assert!(effects(&mut core).is_empty());
}

#[test]
fn what_an_old_epoch_denies_is_not_heard() {
    let mut core = core();
    let (number, id) = acquire(&mut core, 1_000, T, options(60_000));
    core.handle_answer(at(1_001), number, epoch(7), Answer::Queued { id, position: 1, holder_count: 1 });
    effects(&mut core);
    core.handle_answer(at(1_002), number, epoch(6), held());
    assert!(effects(&mut core).is_empty(), "a deposed leader's answer");
    core.handle_answer(at(1_003), number, epoch(7), held());
    assert!(matches!(effects(&mut core)[..], [Effect::Outcome(T, Outcome::Held { .. }), ..]));
}

#[test]
fn a_lease_is_renewed_in_time_and_counted_from_the_renewals_sending() {
    let mut core = core();
    let id = holding(&mut core, T);
    assert!(core.poll_timeout().unwrap() <= at(1_010 + TTL / 3));
    core.handle_timeout(at(4_400));
    let (number, Ask::RenewMany { leases }) = sends(&mut core).remove(0) else { panic!("renews") };
    assert_eq!(leases[0].token, Some(Token::from_raw(256)));
    let renewed = Answer::RenewedMany { renewed: vec![id], lost: Vec::new() };
    core.handle_answer(at(6_000), number, epoch(1), renewed);
    assert_eq!(deadline_of(&effects(&mut core)), Some(at(4_400 + 9_900)));
}

#[test]
fn a_thousand_leases_are_renewed_by_one_message() {
    let mut core = core();
    for number in 0..1_500 {
        holding(&mut core, Handle(number));
    }
    core.handle_timeout(at(4_400));
    let counts: Vec<_> = sends(&mut core)
        .iter()
        .map(|(_, ask)| match ask {
            Ask::RenewMany { leases } => leases.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(counts, [1_000, 500]);
}

#[test]
fn a_lease_is_lost_at_its_own_deadline_and_then_released() {
    let mut core = core();
    holding(&mut core, T);
    let lost = loop {
        let now = core.poll_timeout().unwrap();
        core.handle_timeout(now);
        let effects = effects(&mut core);
        if effects.iter().any(|effect| matches!(effect, Effect::Lost(T, LostReason::Unreachable))) {
            break now;
        }
    };
    assert_eq!(lost, at(1_000 + 9_900), "not a renewal later");
    core.handle_timeout(lost + Duration::from_millis(1));
    assert!(matches!(sends(&mut core)[..], [] | [(_, Ask::Release { .. }), ..]));
}

#[test]
fn a_lease_that_the_coordinator_ended_is_lost_at_once_and_an_unknown_one_is_not() {
    let mut core = core();
    let id = holding(&mut core, T);
    core.handle_timeout(at(4_400));
    let (number, _) = sends(&mut core).remove(0);
    let answer = |why| Answer::RenewedMany { renewed: Vec::new(), lost: vec![(id.clone(), why)] };
    core.handle_answer(at(4_410), number, epoch(1), answer(Told::Unknown));
    assert!(!effects(&mut core).iter().any(|effect| matches!(effect, Effect::Lost(..))));
    core.handle_timeout(at(5_500));
    let (number, _) = sends(&mut core).remove(0);
    core.handle_answer(at(5_510), number, epoch(1), answer(Told::Revoked));
    assert!(effects(&mut core).iter().any(|effect| matches!(effect, Effect::Lost(T, LostReason::Revoked))));
}

#[test]
fn what_is_given_up_is_released_until_that_is_answered() {
    let mut core = core();
    let (number, id) = acquire(&mut core, 1_000, T, options(60_000));
    core.release(at(1_100), T, Duration::ZERO);
    assert!(matches!(&sends(&mut core)[..], [(_, Ask::Release { lease, .. })] if lease.id == id));
    // The grant was on its way; nobody wants it any more, and the release goes on.
    core.handle_answer(at(1_200), number, epoch(1), granted(&id, 256, 0));
    assert!(deadline_of(&effects(&mut core)).is_none());
    core.handle_timeout(at(2_500));
    let (number, Ask::Release { .. }) = sends(&mut core).remove(0) else { panic!("releases again") };
    core.handle_answer(at(2_510), number, epoch(1), refused(Code::NotHolder));
    assert!(core.is_empty());
}

#[test]
fn a_release_is_repeated_until_the_lease_has_ended_by_itself() {
    let mut core = core();
    holding(&mut core, T);
    core.release(at(2_000), T, Duration::ZERO);
    let mut releases = 0;
    while let Some(next) = core.poll_timeout() {
        core.handle_timeout(next);
        releases += sends(&mut core).len();
    }
    assert!(releases >= 3, "{releases}");
    assert!(core.is_empty());
}

#[test]
fn a_new_leader_hears_of_everything_at_once() {
    let mut core = core();
    holding(&mut core, T);
    let (number, id) = acquire(&mut core, 1_100, Handle(2), options(60_000));
    core.handle_answer(at(1_110), number, epoch(1), Answer::Queued { id, position: 1, holder_count: 1 });
    effects(&mut core);
    core.handle_new_leader(at(1_200), 0);
    core.handle_timeout(at(1_300));
    let asks: Vec<_> = sends(&mut core).into_iter().map(|(_, ask)| ask).collect();
    assert!(asks.iter().any(|ask| matches!(ask, Ask::RenewMany { .. })), "{asks:?}");
    assert!(asks.iter().any(|ask| matches!(ask, Ask::Acquire(_))), "{asks:?}");
}

#[test]
fn nobody_there_is_told_when_the_patience_is_over() {
    let mut core = core();
    let (mut number, _) = acquire(&mut core, 1_000, T, options(60_000));
    let mut now = at(1_000);
    loop {
        core.handle_nobody(now, number);
        now = core.poll_timeout().unwrap();
        core.handle_timeout(now);
        let effects = effects(&mut core);
        if effects.iter().any(|effect| matches!(effect, Effect::Outcome(T, Outcome::NoCoordinator))) {
            break;
        }
        let send = effects.iter().find_map(|effect| match effect {
            Effect::Send { number, .. } => Some(*number),
            _ => None,
        });
        number = send.expect("asks again");
    }
    assert_eq!(now, at(6_000));
}

#[test]
fn a_passing_refusal_is_tried_again_and_a_lasting_one_is_told() {
    let mut core = core();
    let (number, _) = acquire(&mut core, 1_000, T, options(0));
    core.handle_answer(at(1_010), number, epoch(1), refused(Code::ShuttingDown));
    core.handle_timeout(at(1_200));
    let (number, _) = sends(&mut core).remove(0);
    core.handle_answer(at(1_210), number, epoch(1), refused(Code::QueueFull));
    assert!(matches!(effects(&mut core)[..], [Effect::Outcome(T, Outcome::Refused(_)), ..]));
}

/// Whoever releases a lock just after it was lost used to wait for ever: it was being given back already, and
/// nobody was told of the end of that.
#[test]
fn a_release_of_what_was_just_lost_is_answered() {
    let mut core = core();
    holding(&mut core, T);
    core.handle_timeout(at(1_000 + TTL));
    core.release(at(1_000 + TTL), T, Duration::ZERO);
    let (number, Ask::Release { .. }) = sends(&mut core).remove(0) else { panic!("releases") };
    core.handle_answer(at(1_010 + TTL), number, epoch(1), refused(Code::NotHolder));
    assert!(effects(&mut core).iter().any(|effect| matches!(effect, Effect::Released(T, None))));
}

#[test]
fn a_copy_that_still_travels_is_taken_back_when_the_answer_to_another_was_no() {
    // Found by the protocol tests of the clients in other languages: the copy would be granted to nobody.
    let mut core = core();
    let (first, id) = acquire(&mut core, 1_000, T, options(0));
    core.handle_timeout(at(2_000));
    assert_eq!(sends(&mut core).len(), 1, "repeated");
    core.handle_answer(at(2_100), first, epoch(1), held());
    assert!(matches!(effects(&mut core)[..], [Effect::Outcome(T, Outcome::Held { .. }), ..]));
    core.handle_timeout(at(2_100));
    assert!(matches!(&sends(&mut core)[..], [(_, Ask::Release { lease, .. })] if lease.id == id));
}

#[test]
fn a_late_place_in_the_old_leaders_queue_does_not_put_off_the_announcement_to_the_new_one() {
    let mut core = core();
    let (number, id) = acquire(&mut core, 1_000, T, options(60_000));
    core.handle_new_leader(at(1_200), 0);
    core.handle_answer(at(1_210), number, epoch(1), Answer::Queued { id, position: 1, holder_count: 1 });
    effects(&mut core);
    core.handle_timeout(at(1_300));
    assert!(matches!(sends(&mut core)[..], [(_, Ask::Acquire(_))]));
}

/// With a lease time of a day it used to be eight hours until a leader learnt of a waiter that had missed the
/// takeover.
#[test]
fn a_waiter_repeats_soon_also_where_its_lease_time_is_long() {
    let mut core = core();
    let options = AcquireOptions::new().ttl(Duration::from_secs(86_400));
    let (number, id) = acquire(&mut core, 1_000, T, options);
    core.handle_answer(at(1_010), number, epoch(1), Answer::Queued { id, position: 1, holder_count: 1 });
    effects(&mut core);
    assert!(core.poll_timeout().unwrap() <= at(1_010) + REPEAT_EVERY_MAX);
}

#[test]
fn a_waiter_whose_grant_found_nobody_waits_on_under_another_id() {
    // Found by restarting the server under a waiter: the grant was sent before it had subscribed again.
    let mut core = core();
    let (number, id) = acquire(&mut core, 1_000, T, options(60_000));
    core.handle_answer(at(1_010), number, epoch(1), refused(Code::Finished));
    core.handle_timeout(at(1_010));
    let again = sends(&mut core).pop();
    assert!(matches!(again, Some((_, Ask::Acquire(acquire))) if acquire.id != id));
    // One who named the id has to know that it is over.
    let (number, _) = acquire(&mut core, 2_000, Handle(2), options(60_000).id(id));
    core.handle_answer(at(2_010), number, epoch(1), refused(Code::Finished));
    assert!(matches!(effects(&mut core)[..], [Effect::Outcome(Handle(2), Outcome::Refused(_)), ..]));
}

/// The number of the only release that is sent at this time.
fn releases(core: &mut Core, now: u64) -> Vec<SendNumber> {
    core.handle_timeout(at(now));
    let releases = sends(core).into_iter().filter(|(_, ask)| matches!(ask, Ask::Release { .. }));
    releases.map(|(number, _)| number).collect()
}

fn released(id: &LeaseId) -> Answer {
    Answer::Released { id: Some(id.clone()), held: Duration::from_millis(5) }
}

/// A coordinator may answer a release before it has written it.
#[test]
fn what_was_released_is_released_again_to_a_new_leader() {
    let mut core = core();
    let id = holding(&mut core, T);
    core.release(at(2_000), T, Duration::ZERO);
    let (number, _) = sends(&mut core).remove(0);
    core.handle_answer(at(2_001), number, epoch(1), released(&id));
    assert!(core.is_empty(), "it is answered");
    assert!(effects(&mut core).iter().any(|effect| matches!(effect, Effect::Released(T, Some(_)))));
    core.handle_new_leader(at(3_000), 2);
    let again = releases(&mut core, 3_100);
    assert_eq!(again.len(), 1);
    core.handle_answer(at(3_101), again[0], epoch(2), released(&id));
    assert!(core.is_empty() && !effects(&mut core).iter().any(|e| matches!(e, Effect::Released(..))));
    core.handle_new_leader(at(3_000 + 2 * TTL), 3);
    assert!(releases(&mut core, 4_000 + 2 * TTL).is_empty(), "by now it has ended by itself");
}

#[test]
fn a_new_leader_that_was_not_announced_is_told_when_it_is_heard_of() {
    let mut core = core();
    let id = holding(&mut core, T);
    core.release(at(2_000), T, Duration::ZERO);
    let (number, _) = sends(&mut core).remove(0);
    core.handle_answer(at(2_001), number, epoch(1), released(&id));
    let (other, _) = acquire(&mut core, 3_000, Handle(2), options(0));
    core.handle_answer(at(3_001), other, epoch(2), held());
    assert_eq!(releases(&mut core, 3_200).len(), 1);
}

/// The deposed leader does not know of its successor yet, and will not write what it has answered.
#[test]
fn the_answer_of_a_leader_that_was_deposed_does_not_end_a_release() {
    let mut core = core();
    let id = holding(&mut core, T);
    core.handle_new_leader(at(1_900), 2);
    core.release(at(2_000), T, Duration::ZERO);
    let (number, _) = sends(&mut core).remove(0);
    core.handle_answer(at(2_001), number, epoch(1), released(&id));
    let told = |core: &mut Core| effects(core).iter().any(|effect| matches!(effect, Effect::Released(T, _)));
    assert!(told(&mut core), "nobody waits for a leader that is not there yet");
    let again = releases(&mut core, 3_000);
    assert_eq!(again.len(), 1);
    core.handle_answer(at(3_001), again[0], epoch(2), refused(Code::NotHolder));
    assert!(core.is_empty() && !told(&mut core));
}

#[test]
fn a_grant_to_one_alone_shows_that_earlier_releases_are_written() {
    let mut core = core();
    let id = holding(&mut core, T);
    core.release(at(2_000), T, Duration::ZERO);
    let (number, _) = sends(&mut core).remove(0);
    core.handle_answer(at(2_001), number, epoch(1), released(&id));
    let (number, id) = acquire(&mut core, 2_002, Handle(2), options(0));
    core.handle_answer(at(2_003), number, epoch(1), granted(&id, 512, 0));
    effects(&mut core);
    core.handle_new_leader(at(2_100), 2);
    assert!(releases(&mut core, 2_300).is_empty());
}

#[test]
fn a_detached_release_is_one_message_and_another_to_a_new_leader() {
    let mut core = core();
    let id = holding(&mut core, T);
    core.release_detached(at(2_000), T, Duration::ZERO);
    let told = effects(&mut core);
    let [Effect::Tell { ask: Ask::Release { lease, .. }, .. }] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&lease.id, core.is_empty()), (&id, true));
    core.handle_new_leader(at(3_000), 2);
    assert_eq!(releases(&mut core, 3_100).len(), 1);
}
