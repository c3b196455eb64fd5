//! Ids are secrets: whoever sees one can release the lock.

use natslock::nats::ConnectOptions;
use natslock::transport::Message;
use serde_json::json;

use crate::cli::program::Program;
use crate::support::NatsServer;
use crate::support::service::{Wire, heard_until};

/// Ids that no other text contains by chance.
fn id(number: usize) -> String {
    format!("s3cret-{number:04}-{:x}", 0x9e37_79b9_u64.wrapping_mul(number as u64 + 1))
}

async fn wire(server: &NatsServer, owner: &str) -> Wire {
    let inbox_prefix = Some(format!("_INBOX.{owner}"));
    Wire::new(&ConnectOptions { inbox_prefix, ..server.options() }).await
}

/// All that a lock goes through, and all that goes wrong. Returns how many ids were used.
async fn busy_run([mut alice, mut bob, mut waiter]: [Wire; 3]) -> usize {
    for round in 0..10 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|n| id(4 * round + n));
        let lock = format!("busy.{}", round % 3);
        let at = |verb: &str, owner: &str| format!("natslock.default.{verb}.{owner}.{lock}");
        alice.json(&at("acquire", "alice"), &json!({"id": a, "note": "n"}).to_string()).await;
        bob.json(&at("acquire", "bob"), &json!({"id": b}).to_string()).await;
        let queued = json!({"id": c, "wait_ms": 60_000, "progress": true}).to_string();
        assert_eq!(waiter.json(&at("acquire", "bob"), &queued).await["status"], "queued");
        bob.json(&at("check", "bob"), "").await;
        bob.json("natslock.default.list.bob", "").await;
        // Repeats, conflicts, another's and an unknown id, forged tokens.
        for body in
            [json!({"id": a, "mode": "shared"}), json!({"id": a}), json!({"id": d, "token": u64::MAX})]
        {
            bob.json(&at("renew", "bob"), &body.to_string()).await;
            alice.json(&at("acquire", "alice"), &body.to_string()).await;
        }
        bob.json(&at("release", "bob"), &json!({"id": a}).to_string()).await;
        let many = json!({"leases": [{"id": a}, {"id": d}]}).to_string();
        alice.json("natslock.default.renew.alice", &many).await;
        bob.json(&at("admin_release", "bob"), r#"{"reason":"tidy"}"#).await;
        let granted: serde_json::Value = serde_json::from_slice(&waiter.next().await).unwrap();
        assert_eq!((&granted["status"], &granted["id"]), (&json!("granted"), &json!(c)));
        alice.json(&at("release", "alice"), &json!({"id": a}).to_string()).await;
        bob.json(&at("release", "bob"), &json!({"id": c}).to_string()).await;
        // Bodies that do not decode, with an id in them.
        alice.json(&at("acquire", "alice"), &format!("{{\"id\":\"{d}\",\"id\":\"{d}\"}}")).await;
        alice.json(&at("acquire", "alice"), &format!("{{\"id\":\"{d}\",\"ttl_ms\":1}}")).await;
        alice.json(&at("acquire", "alice"), &format!("{{\"id\":\"{d}\" {d}")).await;
    }
    40
}

/// Who may see an id: its owner asks with it, and is answered with it.
fn may_carry_ids(message: &Message, owner: &str) -> bool {
    let asks = message.subject.starts_with("natslock.default.");
    asks || message.subject.starts_with(&format!("_INBOX.{owner}."))
}

#[tokio::test]
async fn no_id_is_stored_published_told_to_others_or_logged() {
    let server = NatsServer::start().await;
    let program = Program::new(&server.url()).with("NATSLOCK_LOG", "trace");
    let mut serving = program.start(&["serve"]);
    serving.told_until("leading");
    // Before anybody listens to their inboxes: a subscription is confirmed by a message there that nobody hears. Bob
    // waits on a connection of its own, where nothing but the grant comes.
    let wires = [wire(&server, "alice").await, wire(&server, "bob").await, wire(&server, "bob").await];
    let ear = wire(&server, "ear").await;
    let trees = [
        "natslock.>",
        "natslock-event.>",
        "natslock-int.>",
        "$KV.>",
        "$JS.>",
        "_INBOX.alice.>",
        "_INBOX.bob.>",
    ];
    let mut heard = ear.subscribe_all(&[&trees[..], &["the.end"]].concat()).await;
    let used = busy_run(wires).await;
    let taken = program.run(&["acquire", "busy.cli", "--id", &id(used), "--owner", "alice"]).done();
    assert!(!taken.stderr.contains(&id(used)), "the client logged it: {}", taken.stderr);
    ear.send("the.end", None, "").await;

    let ids: Vec<String> = (0..=used).map(id).collect();
    let carries = |text: &str| ids.iter().find(|id| text.contains(id.as_str()));
    let (mut messages, mut records, mut events) = (0, 0, 0);
    for message in heard_until(&mut heard, "the.end").await {
        messages += 1;
        records += usize::from(message.subject.starts_with("$KV."));
        events += usize::from(message.subject.starts_with("natslock-event."));
        let text = String::from_utf8_lossy(&message.payload);
        // Bob asks with ids of Alice's, which he would not know; what he is told must not repeat them.
        if !may_carry_ids(&message, "alice") && !message.subject.starts_with("_INBOX.bob.") {
            assert_eq!(carries(&text), None, "on {}: {text}", message.subject);
        }
        let errs = text.contains(r#""status":"error""#);
        assert!(!errs || carries(&text).is_none(), "a refusal repeats an id: {text}");
        let looks = [r#""status":"held""#, r#""locks":"#].iter().any(|part| text.contains(part));
        assert!(!looks || carries(&text).is_none(), "a look shows an id: {text}");
    }
    assert!(messages > 300 && records > 20 && events > 20, "{messages} {records} {events}");

    serving.signal(rustix::process::Signal::TERM);
    let (_, _, log) = serving.end().await;
    assert!(log.lines().count() > 50, "it logs at trace: {log}");
    let leak = log.lines().find(|line| carries(line).is_some());
    assert_eq!(leak, None);
}
