//! What makes no sense gets the named error, changes nothing, and harms nobody.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use bytes::Bytes;
use natslock::engine::Limits;
use natslock::service::Config;
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
    (ACQUIRE, "\u{0}", "bad_request"),
    (ACQUIRE, "null", "bad_request"),
    (ACQUIRE, r#"{"ttl_ms":NaN}"#, "bad_request"),
    (ACQUIRE, r#"{"ttl_ms":1e400}"#, "bad_request"),
    (ACQUIRE, r#"{"ttl_ms":null,"wait_ms":[]}"#, "bad_request"),
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
    (ACQUIRE, r#"{"v":255}"#, "unsupported_version"),
    (ACQUIRE, r#"{"v":-1}"#, "unsupported_version"),
    (ACQUIRE, r#"{"v":"1"}"#, "bad_request"),
    ("steal.eve.target", "{}", "bad_request"),
    ("acquire.eve", "{}", "bad_request"),
    ("release.eve", r#"{"id":"a"}"#, "bad_request"),
    ("info.eve.target", "{}", "bad_request"),
    ("acquire.eve.a=2fb", "{}", "invalid_name"),
    ("acquire.eve.a=41", "{}", "invalid_name"),
    ("acquire.eve.a%2Fb", "{}", "invalid_name"),
    ("acquire.ev@e.target", "{}", "invalid_name"),
    ("acquire-1.eve.target", "{}", "wrong_shard"),
    ("acquire-65536.eve.target", "{}", "bad_request"),
    // Names that could be taken for something else: they never reach a subscription, a filter or a key.
    ("acquire.eve.*", "{}", "invalid_name"),
    ("acquire.eve.>", "{}", "invalid_name"),
    ("acquire.eve.a.>.b", "{}", "invalid_name"),
    ("acquire.*.target", "{}", "invalid_name"),
    ("acquire.eve.$KV.natslock_default_0.epoch", "{}", "invalid_name"),
    ("acquire.eve.$JS.API.INFO", "{}", "invalid_name"),
    ("acquire.eve.a\u{0}b", "{}", "invalid_name"),
    ("acquire.eve.a=0a", "{}", "invalid_name"),
    ("acquire.eve.a=FF", "{}", "invalid_name"),
    ("acquire.eve.订单", "{}", "invalid_name"),
    ("acquire.eve.a\\b", "{}", "invalid_name"),
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
    ("renew.eve.target", r#"{"id":"alices","token":1}"#, "not_holder"),
    ("release.eve.target", r#"{"id":"zero","token":0}"#, "not_holder"),
    ("renew.eve.target", r#"{"id":"alices"}"#, "not_holder"),
    ("release.eve.target", r#"{"id":"alices"}"#, "not_holder"),
    ("renew.eve.target", r#"{"id":"nobodys"}"#, "not_holder"),
    ("acquire.eve.target", r#"{"id":"alices"}"#, "finished"),
    ("admin_release.eve.unheld", "{}", "not_holder"),
    // One whose quotas are used up (`greedy`).
    ("acquire.greedy.g4", "{}", "rate_limited"),
    ("acquire.greedy.target", r#"{"wait_ms":1000}"#, "rate_limited"),
];

/// What one owner may use while the table is gone through.
fn quotas() -> Limits {
    Limits { names_per_owner_max: 4, waiters_per_owner_max: 2, ..Limits::default() }
}

/// Somebody uses all that an owner may.
async fn greedy(wire: &mut Wire) {
    for number in 0..3 {
        let subject = format!("natslock.default.acquire.greedy.g{number}");
        assert_eq!(wire.json(&subject, r#"{"ttl_ms":3600000}"#).await["status"], "granted");
    }
    for _ in 0..2 {
        let body = r#"{"wait_ms":3600000,"progress":true}"#;
        assert_eq!(wire.json("natslock.default.acquire.greedy.target", body).await["status"], "queued");
    }
}

async fn code(wire: &mut Wire, subject: &str, body: impl Into<Bytes>) -> Value {
    // As a hostile client sends it: the library would not send some of these subjects at all.
    let answer = wire.request_unchecked(&format!("natslock.default.{subject}"), body).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["status"], "error", "{subject}: {answer}");
    assert!(answer["message"].as_str().is_some_and(|message| message.len() > 10), "{answer}");
    answer["code"].clone()
}

/// A lock held by Alice, and one of five permits.
async fn held(service: &Service) -> Value {
    let alice = service.client("alice").await;
    let mut wire = service.wire().await;
    wire.json("natslock.default.acquire.alice.target", r#"{"id":"alices","ttl_ms":3600000}"#).await;
    let counted = r#"{"permits":2,"capacity":5,"ttl_ms":3600000}"#;
    wire.json("natslock.default.acquire.alice.counted", counted).await;
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
        for waiter in lock["waiters"].as_array_mut().unwrap() {
            waiter["waited_ms"] = json!(0);
        }
    }
    list
}

#[tokio::test]
async fn every_row_gets_its_code_and_changes_nothing() {
    let service = Service::start_with(Config::default().limits(quotas())).await;
    held(&service).await;
    let mut wire = service.wire().await;
    greedy(&mut service.wire().await).await;
    let before = seen(&mut wire).await;
    let load = Load::start(&service).await;
    let mut refused = BTreeMap::new();
    for (subject, body, expected) in REQUESTS {
        assert_eq!(code(&mut wire, subject, *body).await, *expected, "{subject} {body}");
        *refused.entry((*expected).to_owned()).or_insert(0_u64) += 1;
    }
    load.end().await;
    assert_eq!(seen(&mut wire).await, before);
    // Each was counted, and nobody else was refused anything.
    let stats = wire.json("natslock.default.stats.observer", "").await;
    let counted: BTreeMap<String, u64> = serde_json::from_value(stats["total"]["refusals"].clone()).unwrap();
    assert_eq!(counted, refused);
}

/// Others, who work meanwhile and must not notice anything.
struct Load {
    stop: Vec<tokio::sync::oneshot::Sender<()>>,
    work: Vec<tokio::task::JoinHandle<usize>>,
}

impl Load {
    async fn start(service: &Service) -> Self {
        let mut load = Self { stop: Vec::new(), work: Vec::new() };
        for number in 0..4 {
            let client = service.client(&format!("worker-{number}")).await;
            let (stop, mut stopped) = tokio::sync::oneshot::channel();
            load.stop.push(stop);
            load.work.push(tokio::spawn(async move {
                let name = lock(&format!("work.{}", number % 2));
                let mut count = 0;
                while stopped.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
                    // Two share each lock, so they wait for each other too.
                    let lease = acquire(&client, &name, &options(10_000, 10_000)).await;
                    crate::support::service::release(&client, &lease).await;
                    count += 1;
                }
                count
            }));
        }
        load
    }

    /// Nobody panicked, was refused or waited in vain, and the locks are free again.
    async fn end(self) {
        drop(self.stop);
        for work in self.work {
            let count = work.await.unwrap();
            assert!(count > 5, "{count} times in all that time");
        }
    }
}

#[tokio::test]
async fn every_beginning_of_a_good_body_and_every_byte_is_refused_or_answered() {
    let service = Service::start().await;
    let before = held(&service).await;
    let mut wire = service.wire().await;
    let load = Load::start(&service).await;
    let json = br#"{"id":"e","ttl_ms":30000,"wait_ms":0,"note":"n","x":{"y":[1]}}"#.to_vec();
    let tree: Value = serde_json::from_slice(&json).unwrap();
    let packed = rmp_serde::to_vec_named(&tree).unwrap();
    for whole in [json, packed] {
        for end in 1..whole.len() {
            let answer = wire.request("natslock.default.check.eve.target", whole[..end].to_vec()).await;
            assert!(holds(&answer, b"bad_request"), "{end} bytes of {whole:?}: {answer:?}");
        }
        let answer = wire.request("natslock.default.check.eve.target", whole).await;
        assert!(holds(&answer, b"alice"), "unknown fields are ignored: {answer:?}");
    }
    for byte in 0..=u8::MAX {
        let answer = wire.request("natslock.default.check.eve.target", vec![byte]).await;
        // One byte is an empty map, or nothing that makes sense.
        let expected: &[u8] = if byte == 0x80 { b"alice" } else { b"bad_request" };
        assert!(holds(&answer, expected), "{byte:#x}: {answer:?}");
    }
    load.end().await;
    assert_eq!(seen(&mut wire).await, before);
}

fn holds(answer: &[u8], part: &[u8]) -> bool {
    answer.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn names_that_look_alike_are_different_locks_and_reserved_words_are_names() {
    let service = Service::start().await;
    let mut wire = service.wire().await;
    let names =
        ["a/b", "a.b", "a=25" /* a% */, "A/b", "epoch", "lease", "journal", "_epoch", "=24KV.a", "0"];
    let mut tokens = std::collections::BTreeSet::new();
    for name in names {
        let granted = wire.json(&format!("natslock.default.acquire.eve.{name}"), "{}").await;
        assert_eq!(granted["status"], "granted", "{name}");
        tokens.insert(granted["token"].as_u64().unwrap());
    }
    assert_eq!(tokens.len(), names.len());
    let list = wire.json("natslock.default.list.eve", "").await;
    assert_eq!(list["locks"].as_array().unwrap().len(), names.len());
    // The coordinator's own keys are untouched: it leads on.
    assert_eq!(wire.json("natslock.default.info.eve", "").await["status"], "info");
}

#[tokio::test]
async fn an_owner_is_who_stands_in_the_subject_and_nobody_else() {
    let service = Service::start().await;
    let mut wire = service.wire().await;
    let body = r#"{"owner":"alice","principal":"alice","id":"x","session":"alices"}"#;
    assert_eq!(wire.json("natslock.default.acquire.eve.claimed", body).await["status"], "granted");
    let view = wire.json("natslock.default.check.eve.claimed", "").await;
    assert_eq!(view["holders"][0]["owner"], "eve");
    assert_eq!(
        wire.json("natslock.default.release.alice.claimed", r#"{"id":"x"}"#).await["code"],
        "not_holder"
    );
}

/// A server adds the header `Nats-Request-Info` to what comes from another account, and says in it who asks. Anybody
/// can write one.
#[tokio::test]
async fn headers_say_nothing_of_who_asks() {
    let service = Service::start().await;
    let client = async_nats::connect(service.server.url()).await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Request-Info", r#"{"acc":"A","user":"alice","svc":"natslock"}"#);
    headers.insert("Nats-Rollup", "all");
    headers.insert("Nats-Expected-Last-Subject-Sequence", "0");
    let subject = "natslock.default.acquire.eve.claimed";
    let answer = client.request_with_headers(subject, headers, r#"{"id":"x"}"#.into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!((&answer["status"], &answer["owner"]), (&json!("granted"), &Value::Null));
    let view = service.wire().await.json("natslock.default.check.alice.claimed", "").await;
    assert_eq!(view["holders"][0]["owner"], "eve");
}

/// Renewals are the leader's own business, however many there are: they never become writes.
#[tokio::test]
async fn a_storm_of_renewals_and_of_cancelled_waits_leaves_nothing_behind() {
    let service = Service::start().await;
    let mut wire = service.wire().await;
    wire.json("natslock.default.acquire.eve.storm", r#"{"id":"x"}"#).await;
    let mut records = wire.subscribe("$KV.natslock_default_0.lock.>").await;
    for number in 0..200 {
        assert_eq!(wire.json("natslock.default.renew.eve.storm", r#"{"id":"x"}"#).await["status"], "renewed");
        let body = json!({"id": format!("w{number}"), "wait_ms": 60_000, "progress": true}).to_string();
        assert_eq!(wire.json("natslock.default.acquire.eve.storm", &body).await["position"], 1, "no growth");
        let body = json!({"id": format!("w{number}")}).to_string();
        // Two answers: to the wait that is over, and to the release.
        wire.send_from("natslock.default.release.eve.storm", body).await;
        while serde_json::from_slice::<Value>(&wire.next().await).unwrap()["status"] != "released" {}
    }
    wire.json("natslock.default.release.eve.storm", r#"{"id":"x"}"#).await;
    let record = futures_util::StreamExt::next(&mut records).await.unwrap();
    let record = natslock::wire::record::decode_lock(&record.payload).unwrap();
    assert!(record.is_free(), "the first write since is that of the release");
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
