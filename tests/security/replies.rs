//! A client chooses where its answer goes: never where the coordinator would write, obey or disturb others.

use natslock::nats::{NatsTransport, connect};
use natslock::service::Config;
use natslock::transport::Transport as _;
use natslock::types::ShardId;
use natslock::wire::subject::SubjectSpace;
use serde_json::json;

use super::Site;
use crate::support::NatsServer;
use crate::support::service::{Service, Wire, heard_until};

/// Where no answer may go, whatever the configuration.
fn tricks() -> Vec<String> {
    let mut tricks: Vec<String> = [
        "$KV.natslock_default_0.lock.target",
        "$KV.natslock_default_0.epoch",
        "$KV.natslock_default_0.lease",
        "$JS.API.STREAM.PURGE.KV_natslock_default_0",
        "$JS.API.STREAM.DELETE.KV_natslock_default_0",
        "$JS.API.STREAM.MSG.DELETE.KV_natslock_default_0",
        "$JS.ACK.KV_natslock_default_0.x.1.1.1.1.0",
        "$JS.FC.KV_natslock_default_0.x",
        "$SYS.REQ.SERVER.PING",
        "natslock.default.release.alice.target",
        "natslock.default.admin_release.alice.target",
        "natslock-event.default.released.target",
        "natslock-int.default.heartbeat.0",
        "natslock-int.default.inbox.x",
        "_INBOX",
        "_INBOX.*",
        "_INBOX.>",
        "_INBOX.eve.*",
        "_INBOX.eve.>",
        "elsewhere",
    ]
    .map(str::to_owned)
    .into();
    tricks.push(format!("_INBOX.eve.{}", "x".repeat(3_500)));
    tricks
}

/// A coordinator with every right there is, so that only its own checks stand between a trick and its end.
#[tokio::test]
async fn no_trick_reaches_its_end() {
    let service = Service::start_with(Config::default().reply_per_owner(true)).await;
    let mut alice = inbox(&service.server, "alice").await;
    let held = alice.json("natslock.default.acquire.alice.target", r#"{"id":"a"}"#).await;
    assert_eq!(held["status"], "granted");
    let mut eve = inbox(&service.server, "eve").await;
    let everything = service.wire().await;
    let trees = ["$KV.>", "$JS.API.STREAM.*.>", "$JS.ACK.>", "$JS.FC.>", "$SYS.>", "natslock.>"];
    let others = [
        "natslock-event.>",
        "natslock-int.>",
        "_INBOX.alice.>",
        "_INBOX.alicent.>",
        "_INBOX.eve",
        "_INBOX.x",
    ];
    let mut reached =
        everything.subscribe_all(&[&trees[..], &others, &["elsewhere", "the.end"]].concat()).await;
    let mut tricks = tricks();
    // Another's inbox is one where each owner has its own.
    tricks.extend(["_INBOX.alice.x", "_INBOX.alicent.x", "_INBOX.eve", "_INBOX.x"].map(str::to_owned));
    for trick in &tricks {
        eve.send_unchecked("natslock.default.acquire.eve.target", trick, "{").await;
        eve.send_unchecked("natslock.default.check.eve.target", trick, "").await;
        eve.send_unchecked("natslock.default.acquire.eve.other", trick, r#"{"id":"e"}"#).await;
    }
    // The coordinator works in order: when this is answered, all before it was dealt with.
    let free = eve.json("natslock.default.check.eve.other", "").await;
    assert_eq!(free["status"], "free", "what was asked with a trick was not carried out");
    let still = alice.json("natslock.default.renew.alice.target", r#"{"id":"a"}"#).await;
    assert_eq!(still["status"], "renewed");
    everything.send("the.end", None, "").await;
    for message in heard_until(&mut reached, "the.end").await {
        let is_answer = tricks.contains(&message.subject)
            && !message.subject.ends_with(".lease")
            && !message.subject.ends_with(".heartbeat.0");
        assert!(!is_answer, "an answer went to {}", message.subject);
    }
    let bucket = SubjectSpace::new(Config::default().namespace).bucket(ShardId(0));
    let info = service.server.connect().await;
    let info = info.client().request(format!("$JS.API.STREAM.INFO.{}", bucket.stream()), "".into()).await;
    let info: serde_json::Value = serde_json::from_slice(&info.unwrap().payload).unwrap();
    // target, epoch, lease: nothing was written, and nothing is gone.
    assert_eq!(info["state"]["messages"], json!(3), "{info}");
}

/// A protocol line of over 4 KiB ends the sender's connection, and nobody else's.
#[tokio::test]
async fn a_reply_subject_of_5000_bytes_harms_its_sender_only() {
    let service = Service::start().await;
    let mut alice = service.wire().await;
    let transport = NatsTransport::new(connect(&service.server.options()).await.unwrap());
    let reply = format!("_INBOX.{}", "x".repeat(5_000));
    // The server may cut the connection off before it is sent.
    let _ = transport.publish("natslock.default.check.eve.a".into(), Some(reply), "".into()).await;
    assert_eq!(alice.json("natslock.default.check.alice.a", "").await["status"], "free");
}

/// Whatever the coordinator's checks let through: its user for answers may not write where the locks are.
#[tokio::test]
async fn the_user_that_answers_cannot_write_a_record() {
    let site = Site::start("secure.conf").await;
    let coordinator = site.serve(Config::default()).await;
    let front = connect(&site.coordinator_options("front")).await.unwrap();
    front.client().publish("$KV.natslock_default_0.lock.a", "x".into()).await.unwrap();
    let denied = front.denied(|subject| subject == "$KV.natslock_default_0.lock.a");
    let denied =
        natslock::clock::within(&natslock::clock::SystemClock, crate::support::PATIENCE, denied).await;
    assert!(denied.is_some());
    let alice = site.client("alice").await;
    assert!(alice.caller().view(&crate::support::service::lock("orders")).await.unwrap().is_none());
    coordinator.shutdown().await;
}

async fn inbox(server: &NatsServer, owner: &str) -> Wire {
    let inbox_prefix = Some(format!("_INBOX.{owner}"));
    Wire::new(&natslock::nats::ConnectOptions { inbox_prefix, ..server.options() }).await
}
