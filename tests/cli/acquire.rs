//! `natslock acquire`

use std::process::{Command, Stdio};

use natslock::clock::SystemClock;
use rustix::process::Signal;

use super::program::elapsed_since;
use super::{Program, Site};
use crate::support::eventually;

#[tokio::test]
async fn a_free_lock_is_acquired_and_the_release_command_works_as_printed() {
    let site = Site::shared().await;
    let words = ["acquire", "acquire.订单 42", "--ttl", "1m", "--keep", "1s500ms", "--owner", "b c"];
    let acquired = site.run(&words).done();
    insta::assert_snapshot!("acquired", acquired.transcript());
    let released = site.program().shell(acquired.field("release")).done();
    assert!(released.stdout.starts_with("released acquire.订单 42: it was held for "), "{}", released.stdout);
    assert!(released.stdout.ends_with("keeps others out for another 1.5 s\n"), "{}", released.stdout);
}

#[tokio::test]
async fn programs_get_the_reply_as_it_came() {
    let site = Site::shared().await;
    let words = ["acquire", "acquire.json", "--id", "json-1", "--capacity", "3", "--permits", "2", "--json"];
    let first = site.run(&words).done();
    insta::assert_snapshot!("acquired_json", first.transcript());
    // The same id again is the same acquisition.
    assert_eq!(site.run(&words).done().json()["token"], first.json()["token"]);
}

#[tokio::test]
async fn a_held_lock_is_not_acquired_and_its_holder_is_named() {
    let site = Site::shared().await;
    site.hold("acquire.held", "worker-7");
    let words = ["acquire", "acquire.held", "--wait", "0"];
    insta::assert_snapshot!("held", site.run(&words).transcript());
    let json = site.run(&["acquire", "acquire.held", "--wait", "0", "--json"]);
    insta::assert_snapshot!("held_json", json.transcript());
    let own = site.run(&["acquire", "acquire.held", "--wait", "0", "--owner", "worker-7"]);
    insta::assert_snapshot!("held_by_yourself", own.transcript());
}

#[tokio::test]
async fn a_wait_that_is_over_says_how_long_it_was() {
    let site = Site::shared().await;
    site.hold("acquire.timeout", "worker-7");
    let began = SystemClock::boot();
    let words = ["acquire", "acquire.timeout", "--wait", "200ms"];
    insta::assert_snapshot!("timeout", site.run(&words).transcript());
    assert!(elapsed_since(began).as_millis() >= 200);
    let json = site.run(&["acquire", "acquire.timeout", "--wait", "1ms", "--json"]);
    assert_eq!((json.code, &json.json()["status"]), (1, &"timeout".into()));
}

#[tokio::test]
async fn several_holders_are_counted() {
    let site = Site::shared().await;
    for owner in ["a", "b"] {
        let shared = ["acquire", "acquire.shared", "--shared", "--ttl", "2h", "--owner", owner];
        site.run(&shared).done();
        let permit = ["acquire", "acquire.permits", "--capacity", "2", "--ttl", "2h", "--owner", owner];
        site.run(&permit).done();
    }
    let shared = site.run(&["acquire", "acquire.shared", "--wait", "0"]);
    insta::assert_snapshot!("shared_by_several", shared.transcript());
    let permits = site.run(&["acquire", "acquire.permits", "--wait", "0", "--capacity", "2"]);
    insta::assert_snapshot!("all_permits_held", permits.transcript());
    // All users of a lock agree on its capacity.
    let other = site.run(&["acquire", "acquire.permits", "--wait", "0", "--capacity", "3"]);
    assert_eq!(other.code, 2);
    assert!(other.stderr.starts_with("error[bad_request]: "), "{}", other.stderr);
}

/// How many wait for a lock.
fn waiters(program: &Program, name: &str) -> u64 {
    let checked = program.run(&["check", name, "--json"]).done();
    checked.json()["waiter_count"].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn an_interrupted_wait_is_cancelled_at_the_coordinator() {
    let site = Site::shared().await;
    for (signal, json) in [(Signal::INT, false), (Signal::TERM, true)] {
        let name = format!("acquire.interrupted.{json}");
        site.hold(&name, "worker-7");
        let program = site.program().with("NATSLOCK_JSON", if json { "1" } else { "0" });
        let waiting = program.start(&["acquire", &name, "--wait", "1h"]);
        eventually("it waits", async || waiters(&program, &name) == 1).await;
        waiting.signal(signal);
        let (code, stdout, stderr) = waiting.end().await;
        assert_eq!(code, Some(1));
        if json {
            assert!(stdout.starts_with(r#"{"status":"error","code":"interrupted","message":"#), "{stdout}");
        } else {
            assert!(stderr.starts_with("interrupted: waited ") && stderr.contains("cancelled"), "{stderr}");
        }
        assert_eq!(waiters(&program, &name), 0);
    }
}

#[tokio::test]
async fn a_waiting_command_gets_the_lock_when_it_is_released() {
    let site = Site::shared().await;
    let program = site.program();
    let id = site.hold("acquire.next", "worker-7");
    let mut waiting = program.start(&["acquire", "acquire.next", "--wait", "1m"]);
    eventually("it waits", async || waiters(&program, "acquire.next") == 1).await;
    site.run(&["release", "acquire.next", "--id", &id, "--owner", "worker-7"]).done();
    assert_eq!(waiting.line(), "acquired acquire.next");
    assert_eq!(waiting.end().await.0, Some(0));
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_failure() {
    let site = Site::shared().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_natslock"));
    command.args(["acquire", "acquire.pipe"]).env("NATS_URL", site.server.url());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}
