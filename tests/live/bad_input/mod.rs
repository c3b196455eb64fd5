//! What makes no sense gets the named error, changes nothing, and harms nobody. [`rows`] lists the kinds of input.

mod cases;
mod rows;

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use natslock::engine::Limits;
use natslock::service::Config;
use serde_json::{Value, json};

use crate::support::raw::Raw;
use crate::support::service::{Service, Wire, acquire, lock, options};

use cases::{Case, cases};

/// What one owner may use while the table is gone through.
fn quotas() -> Limits {
    Limits { names_per_owner_max: 4, waiters_per_owner_max: 2, waiters_per_lock_max: 4, ..Limits::default() }
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

/// As many wait for a lock as may.
async fn crowd(wire: &mut Wire) {
    let held = wire.json("natslock.default.acquire.carol.crowded", r#"{"ttl_ms":3600000}"#).await;
    assert_eq!(held["status"], "granted");
    for owner in ["carl", "carla"] {
        for _ in 0..2 {
            let subject = format!("natslock.default.acquire.{owner}.crowded");
            let body = r#"{"wait_ms":3600000,"progress":true}"#;
            assert_eq!(wire.json(&subject, body).await["status"], "queued");
        }
    }
}

/// Somebody writes records that no coordinator would: no map, a map that is cut off, and one of a later version.
async fn spoil(service: &Service) {
    let client = service.server.connect().await;
    let future = json!({"v": 2, "attempt": [7, 8], "epoch": 9, "mode": "exclusive", "holders": []});
    let future = rmp_serde::to_vec_named(&future).unwrap();
    for (name, record) in
        [("garbled", b"no record of ours".to_vec()), ("cut", b"\x86\xa1v\x01".to_vec()), ("future", future)]
    {
        let subject = format!("$KV.natslock_default_0.lock.spoilt.{name}");
        client.client().request(subject, record.into()).await.unwrap();
    }
}

/// How often each code has been answered so far.
async fn refusals(wire: &mut Wire) -> BTreeMap<String, u64> {
    let stats = wire.json("natslock.default.stats.observer", "").await;
    serde_json::from_value(stats["total"]["refusals"].clone()).unwrap()
}

/// An answer in either format.
fn read(answer: &[u8]) -> Value {
    serde_json::from_slice(answer).unwrap_or_else(|_| rmp_serde::from_slice(answer).unwrap())
}

/// Sends what makes no sense; it is refused with its code and in words, and that is counted.
async fn refused(wire: &mut Wire, token: u64, case: Case) {
    let Case { row, subject, body, code } = case;
    let body = match std::str::from_utf8(&body) {
        Ok(text) if text.contains("TOKEN") => text.replace("TOKEN", &token.to_string()).into(),
        _ => body,
    };
    let mut expected = refusals(wire).await;
    // As a hostile client sends it: the library would not send some of these subjects at all.
    let answer = wire.request_unchecked(&format!("natslock.default.{subject}"), body.clone()).await;
    let answer = read(&answer);
    let what = format!("row {row}: {subject:.100} {:.100}: {answer}", format!("{body:?}"));
    assert_eq!((&answer["status"], &answer["code"]), (&json!("error"), &json!(code)), "{what}");
    assert!(answer["message"].as_str().is_some_and(|message| message.len() > 10), "{what}");
    *expected.entry(code.to_owned()).or_default() += 1;
    assert_eq!(refusals(wire).await, expected, "{what}");
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
    let token = held(&service).await["locks"][1]["holders"][0]["token"].as_u64().unwrap();
    let mut wire = service.wire().await;
    // Those who wait hear of nothing more, and on connections of their own.
    greedy(&mut service.wire().await).await;
    crowd(&mut service.wire().await).await;
    spoil(&service).await;
    for name in ["garbled", "cut", "future"] {
        let probe = wire.json(&format!("natslock.default.acquire.probe.spoilt.{name}"), "{}").await;
        assert_eq!(probe["code"], "quarantined", "{name}");
    }
    let before = (seen(&mut wire).await, leader(&mut wire).await);
    let load = Load::start(&service).await;
    for case in cases() {
        refused(&mut wire, token, case).await;
    }
    load.end().await;
    assert_eq!((seen(&mut wire).await, leader(&mut wire).await), before);
}

/// Who leads, and since when.
async fn leader(wire: &mut Wire) -> Value {
    wire.json("natslock.default.info.observer", "").await["leaders"].clone()
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

/// A server takes no larger messages than it is told to (1 MiB by itself), and ends the connection of who sends one.
#[tokio::test]
async fn a_body_over_the_servers_limit_ends_its_senders_connection_only() {
    let service = Service::start().await;
    let mut alice = service.wire().await;
    let library = service.server.connect().await;
    let body = vec![b' '; 1_048_577];
    let subject = "natslock.default.acquire.eve.target";
    let kept = library.client().publish_with_reply(subject, "_INBOX.eve.x", body.clone().into()).await;
    assert!(kept.is_err(), "the library does not send it");
    let mut raw = Raw::connect(&service.server);
    raw.send(format!("PUB {subject} _INBOX.eve.x {}\r\n", body.len()).as_bytes());
    let said = raw.until_closed();
    assert!(said.contains("Maximum Payload Violation"), "{said}");
    assert_eq!(alice.json("natslock.default.check.alice.target", "").await["status"], "free");
}

/// Empty tokens make no subject, which a server gives to nobody; white space makes no line of its protocol, and ends
/// the connection of who sends it.
#[tokio::test]
async fn what_is_no_subject_does_not_arrive() {
    let service = Service::start().await;
    let before = held(&service).await;
    let mut wire = service.wire().await;
    let counted = refusals(&mut wire).await;
    let publish = |name: &str| {
        format!("PUB natslock.default.acquire.eve.{name} _INBOX.eve.x 2\r\n{{}}\r\n").into_bytes()
    };
    let mut raw = Raw::connect(&service.server);
    for name in ["", ".", ".a", "a.", "a..b", ".."] {
        raw.send(&publish(name));
        let said = raw.settle();
        assert!(!said.contains("-ERR"), "{name:?}: {said}");
    }
    for name in ["a b", "a\tb", "a\r\nb"] {
        let mut raw = Raw::connect(&service.server);
        raw.send(&publish(name));
        raw.until_closed();
    }
    // The coordinator gets messages in the order of the server: it has none of those.
    assert_eq!((seen(&mut wire).await, refusals(&mut wire).await), (before, counted));
}

/// A token is a number that anybody can make up. One from the future is waited for a moment, in case that its record
/// is still on its way (S8); it never is a reason to doubt the store.
#[tokio::test]
async fn tokens_that_were_never_given_are_refused_and_alarm_nobody() {
    let service = Service::start().await;
    let before = held(&service).await;
    let mut wire = service.wire().await;
    let leads = leader(&mut wire).await;
    let token = before["locks"][1]["holders"][0]["token"].as_u64().unwrap();
    let mut tries = Vec::new();
    for forged in [0, 1, token - 256, token - 1] {
        // Her own id with an old token, too.
        tries.extend([("alice", "alices".to_owned(), forged), ("alice", format!("guess-{forged}"), forged)]);
    }
    for forged in [0, token - 1, token, token + 1, token + 256_000, u64::MAX] {
        tries.push(("eve", format!("guess-{forged}"), forged));
    }
    for (owner, id, forged) in tries {
        for verb in ["renew", "release"] {
            let subject = format!("natslock.default.{verb}.{owner}.target");
            let code = if forged > token + 1 { "unavailable" } else { "not_holder" };
            let mut expected = refusals(&mut wire).await;
            *expected.entry(code.to_owned()).or_default() += 1;
            let answer = wire.json(&subject, &json!({"id": id, "token": forged}).to_string()).await;
            assert_eq!(answer["code"], code, "{subject} {id} {forged}: {answer}");
            assert_eq!(refusals(&mut wire).await, expected);
        }
    }
    assert_eq!((seen(&mut wire).await, leader(&mut wire).await), (before, leads));
    assert_eq!(wire.json("natslock.default.acquire.eve.next", "{}").await["status"], "granted");
}

#[tokio::test]
async fn replies_go_to_inboxes_only_and_only_a_release_needs_none() {
    let service = Service::start().await;
    let before = held(&service).await;
    let mut wire = service.wire().await;
    let mut records = wire.subscribe("$KV.natslock_default_0.lock.>").await;
    let long = format!("_INBOX.{}", "x".repeat(3000));
    let replies = [
        "$KV.natslock_default_0.lock.target",
        "$JS.API.STREAM.DELETE.KV_natslock_default_0",
        "$JS.API.STREAM.PURGE.KV_natslock_default_0",
        "natslock.default.release.alice.target",
        "elsewhere",
        "_INBOX.*",
        "_INBOX.eve.>",
        long.as_str(),
    ];
    for reply in replies {
        wire.send_unchecked("natslock.default.acquire.eve.target", reply, "{").await;
        wire.send_unchecked("natslock.default.acquire.eve.other", reply, "{}").await;
    }
    // Nobody would hear the answer.
    let unheard = ["acquire.eve.other", "check.eve.target", "renew.eve.target", "info.eve", "stats.eve"];
    for subject in unheard {
        wire.send(&format!("natslock.default.{subject}"), None, r#"{"id":"e"}"#).await;
    }
    // An answer to a later request of the same connection: all before it has been dealt with.
    assert_eq!(seen(&mut wire).await, before);
    let counted = refusals(&mut wire).await;
    let expected = [("bad_request", unheard.len()), ("forbidden", 2 * replies.len())];
    assert_eq!(counted, expected.map(|(code, count)| (code.to_owned(), count as u64)).into());
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
