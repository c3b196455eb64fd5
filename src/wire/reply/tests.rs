//! Round trips, what replies look like, and the bound on their size.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::engine::message::{Code, HolderView, LockView, LostReason};
use crate::types::{Mode, OwnerName, Revision, Token, Ttl};
use crate::wire::arbitrary;

const EPOCH: Epoch = Epoch::new(Revision::new(9));

fn json(reply: &Reply) -> String {
    String::from_utf8(encode(Format::Json, EPOCH, reply).to_vec()).unwrap()
}

fn id(text: &str) -> LeaseId {
    text.parse().unwrap()
}

fn view(holders: Vec<HolderView>, waiter_count: usize) -> LockView {
    let holder_count = holders.len();
    LockView { mode: Mode::Exclusive, holders, holder_count, waiters: Vec::new(), waiter_count }
}

fn holder(note: Option<&str>) -> HolderView {
    HolderView {
        owner: OwnerName::encode("alice@db").unwrap(),
        token: Token::from_raw(513),
        mode: Mode::Exclusive,
        permits: None,
        held: Duration::from_micros(1_999),
        expires_in: None,
        note: note.map(|note| note.parse().unwrap()),
    }
}

#[test]
fn replies_look_so() {
    let grant = |permits| Grant {
        id: id("a"),
        token: Token::from_raw(513),
        ttl: Ttl::default(),
        waited: Duration::from_micros(1_999),
        permits,
    };
    assert_eq!(
        json(&Reply::Granted(grant(None))),
        r#"{"status":"granted","id":"a","token":513,"ttl_ms":30000,"waited_ms":1,"epoch":9}"#
    );
    assert_eq!(
        json(&Reply::Granted(grant(Permits::new(2, 3).ok()))),
        r#"{"status":"granted","id":"a","token":513,"ttl_ms":30000,"waited_ms":1,"epoch":9,"permits":2,"capacity":3}"#
    );
    assert_eq!(
        json(&Reply::Queued { id: id("a"), position: 1, holder_count: 2 }),
        r#"{"status":"queued","id":"a","position":1,"holder_count":2,"epoch":9}"#
    );
    assert_eq!(
        json(&Reply::Renewed { id: id("a"), ttl: Ttl::default(), expires_in: Duration::from_secs(1) }),
        r#"{"status":"renewed","id":"a","ttl_ms":30000,"expires_in_ms":1000,"epoch":9}"#
    );
    assert_eq!(
        json(&Reply::RenewedMany { renewed: vec![id("a")], lost: vec![(id("b"), LostReason::Unknown)] }),
        r#"{"status":"renewed","renewed":["a"],"lost":[{"id":"b","reason":"unknown"}],"epoch":9}"#
    );
    assert_eq!(
        json(&Reply::Released { id: Some(id("a")), held: Duration::from_secs(1) }),
        r#"{"status":"released","id":"a","held_ms":1000,"epoch":9}"#
    );
    assert_eq!(
        json(&Reply::Released { id: None, held: Duration::ZERO }),
        r#"{"status":"released","held_ms":0,"epoch":9}"#
    );
    assert_eq!(json(&Reply::Free), r#"{"status":"free","epoch":9}"#);
    assert_eq!(
        json(&Reply::Error(
            Refusal::new(Code::BadRequest, "no").limit(3).retry_after(Duration::from_secs(2))
        )),
        r#"{"status":"error","code":"bad_request","message":"no","retry_after_ms":2000,"limit":3,"epoch":9}"#
    );
}

#[test]
fn views_look_so() {
    let shown = r#"{"owner":"alice=40db","token":513,"mode":"exclusive","held_ms":1,"expires_in_ms":null,"note":"n"}"#;
    let held = view(vec![holder(Some("n"))], 2);
    assert_eq!(
        json(&Reply::Held(held.clone())),
        format!(
            r#"{{"status":"held","mode":"exclusive","holders":[{shown}],"holder_count":1,"waiter_count":2,"epoch":9}}"#
        )
    );
    let nobody_waits = LockView { waiter_count: 0, mode: Mode::Counting { capacity: 3 }, ..held.clone() };
    assert_eq!(
        json(&Reply::Timeout { view: nobody_waits, waited: Duration::from_secs(1) }),
        format!(
            r#"{{"status":"timeout","mode":"counting","capacity":3,"holders":[{shown}],"holder_count":1,"waiter_count":0,"waiters":[],"epoch":9,"waited_ms":1000}}"#
        )
    );
    let name = LockName::encode("a b").unwrap();
    assert_eq!(
        json(&Reply::List { locks: vec![(name.clone(), held)], next: Some(name) }),
        format!(
            r#"{{"status":"list","locks":[{{"name":"a=20b","mode":"exclusive","holders":[{shown}],"holder_count":1,"waiter_count":2}}],"next":"a=20b","epoch":9}}"#
        )
    );
}

#[test]
fn every_code_of_the_protocol_is_read() {
    let words = "bad_request unsupported_version invalid_name invalid_ttl invalid_wait too_large wrong_shard \
        forbidden rate_limited queue_full id_conflict finished not_holder unavailable quarantined shutting_down";
    assert_eq!(Code::ALL.map(Code::as_str).join(" "), words);
    let refused = |word: &str| {
        let body = format!(r#"{{"status":"error","code":"{word}","message":"m","epoch":1,"later":{{}}}}"#);
        match decode(body.as_bytes()) {
            Ok((_, Answer::Error(refused))) => (refused.code, refused.word),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused("id_conflict"), (Some(Code::IdConflict), "id_conflict".into()));
    assert_eq!(refused("of_a_later_version"), (None, "of_a_later_version".into()));
}

#[test]
fn what_is_no_reply_is_refused() {
    for bad in [
        "",
        "[]",
        "{}",
        r#"{"status":"free"}"#,
        r#"{"status":"borrowed","epoch":1}"#,
        r#"{"status":"granted","epoch":1,"id":"a","token":1,"ttl_ms":0,"waited_ms":0}"#,
        r#"{"status":"granted","epoch":1,"id":"a","token":-1,"ttl_ms":1000,"waited_ms":0}"#,
        r#"{"status":"renewed","epoch":1,"renewed":[1]}"#,
        r#"{"status":"free","status":"free","epoch":1}"#,
    ] {
        assert!(decode(bad.as_bytes()).is_err(), "{bad} was taken");
    }
    let later = br#"{"status":"renewed","epoch":1,"renewed":[],"lost":[{"id":"a","reason":"abducted"}]}"#;
    let Ok((_, Answer::RenewedMany { lost, .. })) = decode(later) else { panic!("not taken") };
    assert_eq!(lost[0].1, LostReason::Unknown, "a reason of a later version");
}

#[test]
fn no_reply_is_over_its_limit() {
    let note = "\u{1}".repeat(256);
    let crowd = view(vec![holder(Some(&note)); 1_000], 5);
    for format in [Format::Json, Format::MessagePack] {
        let held = encode(format, EPOCH, &Reply::Held(crowd.clone()));
        assert!(held.len() <= REPLY_BYTES_MAX);
        let Ok((_, Answer::Held(held))) = decode(&held) else { panic!("no view") };
        assert!(held.holders.len() >= 250 && held.holder_count == 1_000, "{}", held.holders.len());

        let name = |number: usize| LockName::encode(&format!("n{number:03}")).unwrap();
        let some = view(vec![holder(Some(&note)); 10], 0);
        let locks = (0..1_000).map(|number| (name(number), some.clone())).collect();
        let list = encode(format, EPOCH, &Reply::List { locks, next: None });
        assert!(list.len() <= REPLY_BYTES_MAX);
        let Ok((_, Answer::List { locks, next })) = decode(&list) else { panic!("no list") };
        assert!(locks.len() >= 16 && locks.len() < 1_000);
        assert_eq!(next.as_ref(), locks.last().map(|(name, _)| name), "the rest is on the next page");
    }
}

/// What an answer says, the hidden ids too, in the words of the reply that it was.
fn told(answer: &Answer) -> String {
    let granted = |granted: &Granted| {
        let Granted { id, token, ttl, waited, permits } = granted.clone();
        format!("{:?} {}", Grant { id: id.clone(), token, ttl, waited, permits }, id.reveal())
    };
    match answer {
        Answer::Granted(grant) => granted(grant),
        Answer::Queued { id, .. } | Answer::Renewed { id, .. } => format!("{answer:?} {}", id.reveal()),
        Answer::Released { id, .. } => format!("{answer:?} {:?}", id.as_ref().map(LeaseId::reveal)),
        Answer::RenewedMany { renewed, lost } => {
            let renewed: Vec<_> = renewed.iter().map(LeaseId::reveal).collect();
            let lost: Vec<_> = lost.iter().map(|(id, reason)| (id.reveal(), reason)).collect();
            format!("{renewed:?} {lost:?}")
        }
        Answer::Error(refused) => {
            format!("{:?}", (&refused.code, &refused.message, &refused.retry_after, &refused.limit))
        }
        other => format!("{other:?}"),
    }
}

/// The answer that a reply is to be read as.
fn mirrored(reply: &Reply) -> Answer {
    match reply.clone() {
        Reply::Granted(Grant { id, token, ttl, waited, permits }) => {
            Answer::Granted(Granted { id, token, ttl, waited, permits })
        }
        Reply::Queued { id, position, holder_count } => Answer::Queued { id, position, holder_count },
        Reply::Held(view) => Answer::Held(view),
        Reply::Timeout { view, waited } => Answer::Timeout { view, waited },
        Reply::Renewed { id, ttl, expires_in } => Answer::Renewed { id, ttl, expires_in },
        Reply::RenewedMany { renewed, lost } => Answer::RenewedMany { renewed, lost },
        Reply::Released { id, held } => Answer::Released { id, held },
        Reply::Free => Answer::Free,
        Reply::List { locks, next } => Answer::List { locks, next },
        Reply::Error(Refusal { code, message, retry_after, limit }) => Answer::Error(Refused {
            code: Some(code),
            word: code.as_str().into(),
            message,
            retry_after,
            limit,
        }),
    }
}

fn reply() -> impl Strategy<Value = Reply> {
    let id = arbitrary::lease_id;
    let span = arbitrary::span;
    let reasons = vec![LostReason::Expired, LostReason::Revoked, LostReason::Released, LostReason::Unknown];
    let grant = (id(), arbitrary::token(), arbitrary::ttl(), span(), prop::option::of(arbitrary::permits()));
    let lost = prop::collection::vec((id(), prop::sample::select(reasons)), 0..3);
    let locks = prop::collection::vec((arbitrary::lock_name(), arbitrary::lock_view()), 0..3);
    prop_oneof![
        grant.prop_map(|(id, token, ttl, waited, permits)| {
            Reply::Granted(Grant { id, token, ttl, waited, permits })
        }),
        (id(), any::<usize>(), any::<usize>()).prop_map(|(id, position, holder_count)| Reply::Queued {
            id,
            position,
            holder_count
        }),
        arbitrary::lock_view().prop_map(Reply::Held),
        (arbitrary::lock_view(), span()).prop_map(|(view, waited)| Reply::Timeout { view, waited }),
        (id(), arbitrary::ttl(), span()).prop_map(|(id, ttl, expires_in)| Reply::Renewed {
            id,
            ttl,
            expires_in
        }),
        (prop::collection::vec(id(), 0..3), lost)
            .prop_map(|(renewed, lost)| Reply::RenewedMany { renewed, lost }),
        (prop::option::of(id()), span()).prop_map(|(id, held)| Reply::Released { id, held }),
        Just(Reply::Free),
        (locks, prop::option::of(arbitrary::lock_name()))
            .prop_map(|(locks, next)| Reply::List { locks, next }),
        (prop::sample::select(Code::ALL.to_vec()), ".*", prop::option::of(span()), any::<Option<u64>>())
            .prop_map(|(code, message, retry_after, limit)| Reply::Error(Refusal {
                code,
                message,
                retry_after,
                limit
            })),
    ]
}

proptest! {
    #[test]
    fn replies_round_trip(reply in reply(), epoch in arbitrary::epoch()) {
        for format in [Format::Json, Format::MessagePack] {
            let encoded = encode(format, epoch, &reply);
            let (heard, answer) = decode(&encoded).unwrap();
            prop_assert_eq!(heard, epoch);
            prop_assert_eq!(told(&answer), told(&mirrored(&reply)));
        }
    }

    #[test]
    fn no_truncation_is_taken(reply in reply()) {
        for format in [Format::Json, Format::MessagePack] {
            let encoded = encode(format, EPOCH, &reply);
            for end in 0..encoded.len() {
                prop_assert!(decode(&encoded[..end]).is_err());
            }
        }
    }
}
