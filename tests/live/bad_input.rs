//! What makes no sense gets the named error, changes nothing, and harms nobody.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::service::{Service, Wire, acquire, lock, options};

/// The subject below `natslock.default.`, the body, the code.
type Row = (&'static str, &'static str, &'static str);

const ACQUIRE: &str = "acquire.eve.target";

const REQUESTS: &[Row] = &[
    // Bodies.
    (ACQUIRE, "{", "bad_request"),
    (ACQUIRE, r#"{"ttl_ms":30000"#, "bad_request"),
    (ACQUIRE, r#"{"ttl_ms":30000} x"#, "bad_request"),
    (ACQUIRE, r#"{"ttl_ms":30000}{}"#, "bad_request"),
    (ACQUIRE, r#"{"ttl_ms":1000,"ttl_ms":2000}"#, "bad_request"),
    (ACQUIRE, r#"{"x":{"y":1,"y":2}}"#, "bad_request"),
    (ACQUIRE, "[1]", "bad_request"),
    (ACQUIRE, "hello", "bad_request"),
    (ACQUIRE, "   ", "bad_request"),
    // Types.
    (ACQUIRE, r#"{"ttl_ms":1.0}"#, "bad_request"),
    (ACQUIRE, r#"{"ttl_ms":1500.5}"#, "bad_request"),
    (ACQUIRE, r#"{"ttl_ms":"30000"}"#, "bad_request"),
    (ACQUIRE, r#"{"id":7}"#, "bad_request"),
    (ACQUIRE, r#"{"id":""}"#, "bad_request"),
    (ACQUIRE, r#"{"id":"a b"}"#, "bad_request"),
    (ACQUIRE, r#"{"id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#, "bad_request"),
    (ACQUIRE, r#"{"progress":1}"#, "bad_request"),
    (ACQUIRE, r#"{"note":5}"#, "bad_request"),
    (ACQUIRE, r#"{"mode":"both"}"#, "bad_request"),
    // Times.
    (ACQUIRE, r#"{"ttl_ms":0}"#, "invalid_ttl"),
    (ACQUIRE, r#"{"ttl_ms":999}"#, "invalid_ttl"),
    (ACQUIRE, r#"{"ttl_ms":-1}"#, "invalid_ttl"),
    (ACQUIRE, r#"{"ttl_ms":86400001}"#, "invalid_ttl"),
    (ACQUIRE, r#"{"ttl_ms":18446744073709551615}"#, "invalid_ttl"),
    (ACQUIRE, r#"{"wait_ms":-1}"#, "invalid_wait"),
    (ACQUIRE, r#"{"wait_ms":86400001}"#, "invalid_wait"),
    (ACQUIRE, r#"{"wait_ms":18446744073709551615}"#, "invalid_wait"),
    (ACQUIRE, r#"{"wait_ms":0.5}"#, "bad_request"),
    // Permits.
    (ACQUIRE, r#"{"permits":1}"#, "bad_request"),
    (ACQUIRE, r#"{"permits":6,"capacity":5}"#, "bad_request"),
    (ACQUIRE, r#"{"permits":0,"capacity":5}"#, "bad_request"),
    (ACQUIRE, r#"{"permits":1,"capacity":1001}"#, "bad_request"),
    (ACQUIRE, r#"{"mode":"shared","permits":1,"capacity":5}"#, "bad_request"),
    ("acquire.eve.counted", r#"{"permits":1,"capacity":7}"#, "bad_request"),
    ("acquire.eve.counted", r#"{"mode":"shared"}"#, "bad_request"),
    (ACQUIRE, r#"{"permits":1,"capacity":5}"#, "bad_request"),
    // Versions, verbs, names.
    (ACQUIRE, r#"{"v":2}"#, "unsupported_version"),
    (ACQUIRE, r#"{"v":0}"#, "unsupported_version"),
    ("steal.eve.target", "{}", "bad_request"),
    ("acquire.eve", "{}", "bad_request"),
    ("release.eve", r#"{"id":"a"}"#, "bad_request"),
    ("info.eve.target", "{}", "bad_request"),
    ("acquire.eve.a=2fb", "{}", "invalid_name"),
    ("acquire.eve.a=41", "{}", "invalid_name"),
    ("acquire.eve.a%2Fb", "{}", "invalid_name"),
    ("acquire.ev@e.target", "{}", "invalid_name"),
    ("acquire-1.eve.target", "{}", "wrong_shard"),
    // Other verbs.
    ("renew.eve.target", "{}", "bad_request"),
    ("renew.eve", "{}", "bad_request"),
    ("renew.eve", r#"{"leases":[]}"#, "bad_request"),
    ("renew.eve", r#"{"leases":[{"token":1}]}"#, "bad_request"),
    ("release.eve.target", r#"{"id":"a","token":-1}"#, "bad_request"),
    ("release.eve.target", r#"{"id":"a","keep_ms":86400001}"#, "invalid_ttl"),
    ("check.eve.target", r#"{"limit":0}"#, "bad_request"),
    ("check.eve.target", r#"{"limit":1001}"#, "bad_request"),
    ("list.eve", r#"{"limit":1001}"#, "bad_request"),
    ("list.eve", r#"{"after":"a..b"}"#, "invalid_name"),
    // Another's, an unknown and a finished id.
    ("renew.eve.target", r#"{"id":"alices"}"#, "not_holder"),
    ("release.eve.target", r#"{"id":"alices"}"#, "not_holder"),
    ("renew.eve.target", r#"{"id":"nobodys"}"#, "not_holder"),
    ("acquire.eve.target", r#"{"id":"alices"}"#, "finished"),
    ("admin_release.eve.unheld", "{}", "not_holder"),
];

async fn code(wire: &mut Wire, subject: &str, body: impl Into<Bytes>) -> Value {
    let answer = wire.request(&format!("natslock.default.{subject}"), body).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["status"], "error", "{subject}: {answer}");
    assert!(answer["message"].as_str().is_some_and(|message| message.len() > 10), "{answer}");
    answer["code"].clone()
}

/// A lock held by Alice, and one of five permits.
async fn held(service: &Service) -> Value {
    let alice = service.client("alice").await;
    let mut wire = service.wire().await;
    wire.json("natslock.default.acquire.alice.target", r#"{"id":"alices"}"#).await;
    wire.json("natslock.default.acquire.alice.counted", r#"{"permits":2,"capacity":5}"#).await;
    drop(alice);
    seen(&mut wire).await
}

/// Everything that can be seen, without what changes by itself.
async fn seen(wire: &mut Wire) -> Value {
    let mut list = wire.json("natslock.default.list.observer", "").await;
    for lock in list["locks"].as_array_mut().unwrap() {
        for holder in lock["holders"].as_array_mut().unwrap() {
            holder["held_ms"] = json!(0);
            holder["expires_in_ms"] = json!(0);
        }
    }
    list
}

#[tokio::test]
async fn every_row_gets_its_code_and_changes_nothing() {
    let service = Service::start().await;
    let before = held(&service).await;
    let mut wire = service.wire().await;
    for (subject, body, expected) in REQUESTS {
        assert_eq!(code(&mut wire, subject, *body).await, *expected, "{subject} {body}");
    }
    assert_eq!(seen(&mut wire).await, before);
}

#[tokio::test]
async fn large_deep_and_truncated_bodies_are_refused() {
    let service = Service::start().await;
    let before = held(&service).await;
    let mut wire = service.wire().await;
    let long_name = format!("acquire.eve.{}", "a".repeat(256));
    let long_owner = format!("acquire.{}.target", "a".repeat(65));
    let note = format!(r#"{{"note":"{}"}}"#, "n".repeat(257));
    let deep = format!(r#"{{"x":{}1{}}}"#, "[".repeat(100), "]".repeat(100));
    let too_large = format!(r#"{{"x":"{}"}}"#, "x".repeat(128 * 1024));
    let many: Vec<_> = (0..1001).map(|number| json!({ "id": format!("i{number}") })).collect();
    let many = json!({ "leases": many }).to_string();
    for (subject, body, expected) in [
        (long_name.as_str(), "{}".to_owned(), "invalid_name"),
        (long_owner.as_str(), "{}".to_owned(), "invalid_name"),
        (ACQUIRE, note, "bad_request"),
        (ACQUIRE, deep, "bad_request"),
        (ACQUIRE, too_large, "too_large"),
        ("renew.eve", many, "too_large"),
    ] {
        assert_eq!(code(&mut wire, subject, body).await, expected, "{subject}");
    }
    // A map that claims four billion entries in ten bytes is answered in MessagePack; any answer will do.
    for body in [&[0xdf, 0xff, 0xff, 0xff, 0xff, 0xa1, b'x', 0xc0][..], &[0x81][..], &[0x81, 0xa1][..]] {
        let subject = format!("natslock.default.{ACQUIRE}");
        let answer = wire.request(&subject, Bytes::copy_from_slice(body)).await;
        assert!(answer.windows(11).any(|window| window == b"bad_request"), "{answer:?}");
    }
    assert_eq!(seen(&mut wire).await, before);
}

#[tokio::test]
async fn replies_go_to_inboxes_only_and_only_a_release_needs_none() {
    let service = Service::start().await;
    let before = held(&service).await;
    let mut wire = service.wire().await;
    let mut records = wire.subscribe("$KV.natslock_default_0.lock.>").await;
    let long = format!("_INBOX.{}", "x".repeat(3000));
    for reply in [
        "$KV.natslock_default_0.lock.target",
        "$JS.API.STREAM.DELETE.KV_natslock_default_0",
        "natslock.default.release.alice.target",
        "elsewhere",
        long.as_str(),
    ] {
        let subject = format!("natslock.default.{ACQUIRE}");
        wire.send(&subject, Some(reply.to_owned()), "{").await;
        wire.send("natslock.default.acquire.eve.other", Some(reply.to_owned()), "{}").await;
    }
    wire.send("natslock.default.acquire.eve.other", None, "{}").await;
    // An answer to a later request of the same connection: all before it has been dealt with.
    assert_eq!(seen(&mut wire).await, before);
    let alice = service.client("alice").await;
    let lease = acquire(&alice, &lock("given.back"), &options(30_000, 0)).await;
    let body = json!({ "id": lease.id.reveal() }).to_string();
    wire.send("natslock.default.release.alice.given=2Eback", None, body.clone()).await;
    wire.send("natslock.default.release.alice.given.back", None, body).await;
    crate::support::eventually("released without an answer", async || {
        alice.caller().view(&lease.name).await.unwrap().is_none()
    })
    .await;
    // Nobody but the coordinator has written a record: the acquire and the release of `given.back`.
    for _ in 0..2 {
        let record = futures_util::StreamExt::next(&mut records).await.unwrap();
        assert_eq!(record.subject, "$KV.natslock_default_0.lock.given.back");
    }
}

#[tokio::test]
async fn an_id_is_used_once() {
    let service = Service::start().await;
    let mut wire = service.wire().await;
    let mut ask =
        async |subject: &str, body: &str| wire.json(&format!("natslock.default.{subject}"), body).await;
    let granted = ask("acquire.eve.one", r#"{"id":"x"}"#).await;
    assert_eq!(granted["status"], "granted");
    let again = ask("acquire.eve.one", r#"{"id":"x"}"#).await;
    assert_eq!(
        (&again["status"], &again["token"], &again["waited_ms"]),
        (&json!("granted"), &granted["token"], &json!(0))
    );
    assert_eq!(ask("acquire.eve.one", r#"{"id":"x","mode":"shared"}"#).await["code"], "id_conflict");
    assert_eq!(ask("acquire.eve.two", r#"{"id":"x"}"#).await["code"], "id_conflict");
    assert_eq!(ask("renew.eve.two", r#"{"id":"x"}"#).await["code"], "id_conflict");
    let token = granted["token"].as_u64().unwrap();
    let forged = format!(r#"{{"id":"x","token":{}}}"#, token - 1);
    assert_eq!(ask("release.eve.one", &forged).await["code"], "not_holder");
    let future = format!(r#"{{"id":"unseen","token":{}}}"#, token + 256_000);
    assert_eq!(ask("release.eve.one", &future).await["code"], "unavailable", "S8: a token from the future");
    assert_eq!(ask("release.eve.one", r#"{"id":"x"}"#).await["status"], "released");
    assert_eq!(ask("release.eve.one", r#"{"id":"x"}"#).await["status"], "released");
    assert_eq!(ask("acquire.eve.one", r#"{"id":"x"}"#).await["code"], "finished");
    assert_eq!(ask("renew.eve.one", r#"{"id":"x"}"#).await["code"], "finished");
    // Ids are scoped to their owner.
    assert_eq!(ask("acquire.adam.one", r#"{"id":"x"}"#).await["status"], "granted");
}
