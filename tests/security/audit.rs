//! Who was refused what, and who took what: the coordinator's log tells it, and the server's.

use natslock::service::Config;
use serde_json::{Value, json};

use super::Site;
use crate::cli::program::Program;
use crate::support::NatsServer;
use crate::support::service::{Wire, lock};

/// The lines below `natslock::audit`.
fn audited(log: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "natslock::audit").collect()
}

fn tells(lines: &[Value], fields: &Value) -> bool {
    lines.iter().any(|line| fields.as_object().unwrap().iter().all(|(name, value)| line[name] == *value))
}

#[tokio::test]
async fn who_was_refused_what_is_in_the_log() {
    let server = NatsServer::start().await;
    let program = Program::new(&server.url()).with("NATSLOCK_LOG", "natslock=info,natslock::audit=debug");
    let mut serving = program.start(&["serve", "--log-format", "json"]);
    serving.told_until("leading");
    let mut wire = Wire::new(&server.options()).await;
    let mut ask = async |subject: &str, body: Value| {
        wire.json(&format!("natslock.default.{subject}"), &body.to_string()).await
    };
    let token = ask("acquire.alice.target", json!({"id": "s3cret-a"})).await["token"].clone();
    ask("release.eve.target", json!({"id": "s3cret-e", "token": token})).await;
    ask("renew.eve", json!({"leases": []})).await;
    ask("admin_release.oncall.target", json!({"reason": "it \u{1b}[31m hangs"})).await;
    ask("admin_release.oncall.target", json!({})).await;
    wire.send("natslock.default.release.eve.target", Some("$KV.natslock_default_0.lock.a".into()), "").await;
    // When this is answered, all before it was dealt with.
    wire.json("natslock.default.check.eve.target", "").await;
    serving.signal(rustix::process::Signal::TERM);
    let (_, _, log) = serving.end().await;
    let lines = audited(&log);
    for expected in [
        json!({"message": "granted", "level": "DEBUG", "owner": "alice", "lock": "target", "token": token}),
        json!({"message": "refused", "level": "DEBUG", "owner": "eve", "verb": "release", "lock": "target",
            "code": "not_holder"}),
        json!({"message": "refused", "subject": "natslock.default.renew.eve", "code": "bad_request"}),
        json!({"message": "refused", "subject": "natslock.default.release.eve.target", "code": "forbidden"}),
        json!({"message": "admin_release was asked for", "level": "INFO", "owner": "oncall", "lock": "target",
            "reason": "it \u{1b}[31m hangs"}),
        json!({"message": "admin_release was carried out", "level": "INFO", "owner": "oncall", "lock": "target"}),
        json!({"message": "revoked", "owner": "alice", "lock": "target", "token": token}),
        json!({"message": "refused", "level": "INFO", "owner": "oncall", "verb": "admin_release",
            "lock": "target", "code": "not_holder"}),
    ] {
        assert!(tells(&lines, &expected), "{expected} is not in {log}");
    }
    assert!(!log.contains("s3cret"), "an id is in the log: {log}");
}

/// What the server refuses never comes to the coordinator: the server's own log tells it, with the user's key.
#[tokio::test]
async fn what_the_server_refused_is_in_its_own_log() {
    let site = Site::start("secure.conf").await;
    let coordinator = site.serve(Config::default()).await;
    let alice = site.client("alice").await;
    let refused = alice.caller().admin_release(&lock("orders.42"), None).await;
    assert!(refused.is_err(), "it was carried out");
    let seed = std::fs::read_to_string(site.seed("alice")).unwrap();
    let key = nkeys::KeyPair::from_seed(seed.trim()).unwrap().public_key();
    let log = site.server.log();
    let violation = log.lines().find(|line| line.contains("Publish Violation"));
    let violation = violation.unwrap_or_else(|| panic!("nothing of it in {log}"));
    assert!(violation.contains(&key), "{violation}");
    assert!(violation.contains("natslock.default.admin_release.alice.orders.42"), "{violation}");
    coordinator.shutdown().await;
}
