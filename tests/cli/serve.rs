//! `natslock serve`

use std::time::Duration;

use natslock::clock::SystemClock;
use natslock::nats::{ConnectOptions, connect};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::Program;
use super::program::elapsed_since;
use crate::support::{NatsServer, eventually};

#[tokio::test]
async fn it_waits_for_a_server_that_starts_later() {
    let mut server = NatsServer::start().await;
    server.kill();
    let program = Program::new(&server.url());
    let mut serving = program.start(&["serve"]);
    let waits = serving.told_until("waiting for NATS");
    assert!(waits.contains("no NATS server at"), "{waits}");
    server.resume().await;
    program.run(&["acquire", "a"]).done();
    serving.signal(Signal::INT);
    let (code, stdout, stderr) = serving.end().await;
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    assert!(stderr.contains("resigned"), "{stderr}");
}

#[tokio::test]
async fn while_it_waits_a_signal_ends_it() {
    let mut serving = Program::new("nats://127.0.0.1:1").start(&["serve", "--log-format", "json"]);
    let line = serving.told_until("waiting for NATS");
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["level"], &line["message"]), (&"WARN".into(), &"waiting for NATS".into()));
    serving.signal(Signal::TERM);
    assert_eq!(serving.end().await.0, Some(0));
}

#[tokio::test]
async fn a_bucket_that_is_not_fit_ends_it_and_the_field_is_named() {
    let server = NatsServer::start().await;
    let stream = json!({
        "name": "KV_natslock_default_0", "subjects": ["$KV.natslock_default_0.>"], "storage": "memory",
        "max_msgs_per_subject": 1, "discard": "new", "deny_delete": true, "allow_atomic": true,
        "allow_msg_ttl": true,
    });
    let connection = server.connect().await;
    let create = "$JS.API.STREAM.CREATE.KV_natslock_default_0";
    let made = connection.client().request(create, stream.to_string().into()).await.unwrap();
    assert!(!String::from_utf8_lossy(&made.payload).contains("\"error\""));
    let refused = Program::new(&server.url()).run(&["serve"]);
    assert_eq!(refused.code, 3);
    let last: Vec<&str> = refused.stderr.lines().filter(|line| !line.contains("Z  ")).collect();
    insta::assert_snapshot!("bucket_refused", last.join("\n"));
}

#[tokio::test]
async fn no_jetstream_ends_it() {
    let server = NatsServer::start_bare("").await;
    let refused = Program::new(&server.url()).run(&["serve"]);
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains("JetStream is not enabled"), "{}", refused.stderr);
}

#[tokio::test]
async fn a_second_signal_ends_it_without_a_resignation() {
    let server = NatsServer::start().await;
    let mut serving = Program::new(&server.url()).start(&["serve"]);
    serving.told_until("leading");
    // The resignation cannot be written. A server that is told to pause may go on for a moment.
    server.pause().await;
    let hasty = ConnectOptions { timeout: Duration::from_millis(100), ..server.options() };
    eventually("the server is silent", async || connect(&hasty).await.is_err()).await;
    serving.signal(Signal::TERM);
    serving.told_until("resigning");
    let began = SystemClock::boot();
    serving.signal(Signal::INT);
    let (code, _, stderr) = serving.end().await;
    assert_eq!(code, Some(255));
    assert!(stderr.contains("error: a second signal (SIGINT): ended without having resigned\n"), "{stderr}");
    let elapsed = elapsed_since(began);
    assert!(elapsed.as_secs() < 2, "it took {elapsed:?}");
}

#[tokio::test]
async fn on_sigterm_it_resigns_and_a_successor_acts_at_once() {
    let server = NatsServer::start().await;
    let program = Program::new(&server.url());
    let leader = || program.run(&["info", "--json"]).done().json()["leaders"][0]["pid"].clone();
    let mut first = program.start(&["serve"]);
    first.told_until("leading");
    let mut second = program.start(&["serve"]);
    second.told_until("begins");
    assert_eq!(leader(), first.id());
    let id = program.run(&["acquire", "a", "--ttl", "2h"]).done().field("id").to_owned();
    let began = SystemClock::boot();
    first.signal(Signal::TERM);
    assert_eq!(first.end().await.0, Some(0));
    // The leadership lease of the first is 12 s: nobody waits for its end.
    program.run(&["acquire", "b"]).done();
    let elapsed = elapsed_since(began);
    assert!(elapsed.as_secs() < 4, "the successor took {elapsed:?}");
    assert_eq!(leader(), second.id());
    program.run(&["release", "a", "--id", &id]).done();
    eventually("the lock is free", async || program.run(&["check", "a"]).stdout == "free\n").await;
}

#[tokio::test]
async fn another_inbox_prefix_is_answered_where_it_is_configured() {
    let server = NatsServer::start().await;
    let mut serving = Program::new(&server.url()).start(&["serve", "--inbox-prefix", "_ELSEWHERE"]);
    serving.told_until("leading");
    let told = Program::new(&server.url()).run(&["info", "--inbox-prefix", "_ELSEWHERE.alice"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let refused = Program::new(&server.url()).run(&["info"]);
    assert_eq!(refused.code, 3, "answers to other inboxes are refused: {}", refused.stdout);
}

#[tokio::test]
async fn the_log_tells_what_happens_in_json_and_no_ids() {
    let server = NatsServer::start().await;
    let program = Program::new(&server.url()).with("NATSLOCK_LOG", "natslock=trace");
    let serving = program.start(&["serve", "--log-format", "json", "--leader-lease", "3s"]);
    let id = "a-secret-that-releases";
    let mut held = program.run(&["acquire", "jobs.a", "--id", id, "--json"]).done().json();
    assert_eq!(program.run(&["acquire", "jobs.a", "--wait", "0"]).code, 1);
    program.run(&["release", "jobs.a", "--id", id]).done();
    serving.signal(Signal::TERM);
    let (code, _, log) = serving.end().await;
    assert_eq!(code, Some(0));
    assert!(!log.contains(id), "{log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let granted = lines.iter().find(|line| line["message"] == "granted").expect("the grant is logged");
    let told = json!({ "lock": granted["lock"], "owner": granted["owner"], "token": granted["token"], "epoch": granted["epoch"] });
    let wanted = json!({ "lock": "jobs.a", "owner": "ada=40host", "token": held["token"].take(), "epoch": held["epoch"].take() });
    assert_eq!(told, wanted);
    assert!(lines.iter().any(|line| line["message"] == "released" && line["held_ms"].is_u64()), "{log}");
}
