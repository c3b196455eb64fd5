//! Every example runs as its reader would run it: as a process, against a server. And what the examples are
//! built on, against a real server: elections, and the blocking client.

#[cfg(feature = "blocking")]
mod blocking;
mod election;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use natslock::clock::{SystemClock, within};
use tokio::process::Command;

use crate::support::NatsServer;

/// No example takes half of it.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where `cargo test` and `cargo build --examples` put it, beside the folder of this test.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --examples`, or all of `cargo test`",
        path.display()
    );
    path
}

/// Runs it on a server of its own; it must end well, and say all of this in this order.
async fn run(name: &str, lines: &[&str]) {
    let server = NatsServer::start().await;
    let mut command = Command::new(program(name));
    command.env("NATS_URL", server.url()).stdin(Stdio::null()).kill_on_drop(true);
    let began = SystemClock::boot();
    let output = within(&SystemClock, DEADLINE, command.output()).await;
    let output = output.unwrap_or_else(|| panic!("{name} has not ended after {DEADLINE:?}")).unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} ended with {}\n{said}\n{complained}", output.status);
    let mut rest = &*said;
    for line in lines {
        let Some(at) = rest.find(line) else { panic!("{name} does not say {line:?} here:\n{rest}") };
        rest = &rest[at + line.len()..];
    }
    println!("{name} took {:?}", SystemClock::boot().since(began));
}

#[tokio::test]
async fn quickstart() {
    run("quickstart", &["leading", "waits for", "refuses its late", "7 deposits accepted", "1 refused"])
        .await;
}

#[tokio::test]
async fn plain_nats() {
    run("plain_nats", &["\"granted\"", "\"held\"", "\"released\"", "\"free\""]).await;
}

#[tokio::test]
async fn order_workers() {
    let handled = "32 of 32 events handled";
    let lines =
        ["is killed in the middle", "goes on", handled, "0 times an order was in two hands", "1 stale"];
    run("order_workers", &lines).await;
}

#[tokio::test]
async fn singleton_job() {
    run(
        "singleton_job",
        &["runs the job", "leaves it: the lock is held by", "hanoi  leaves it", "ran 1 time(s) on 5 hosts"],
    )
    .await;
}

#[tokio::test]
async fn leader_election() {
    let changes = ["leads at", "is killed", "leads at", "resigns", "leads at", "nobody led for"];
    run("leader_election", &changes).await;
}

#[tokio::test]
async fn concurrency_limit() {
    run("concurrency_limit", &["20 calls by 20 callers; at most 5 at once"]).await;
}

#[tokio::test]
async fn shared_config() {
    run("shared_config", &["version 5", "5 updates; 0 torn reads"]).await;
}

#[tokio::test]
async fn embedded() {
    run("embedded", &["leads after", "leads after", "bob has it", "2 changes of leader, 0 locks lost"]).await;
}

#[test]
fn without_a_server_they_say_how_to_run_them() {
    let examples = [
        "quickstart",
        "plain_nats",
        "order_workers",
        "singleton_job",
        "leader_election",
        "concurrency_limit",
        "shared_config",
        "embedded",
    ];
    for name in examples {
        let output = std::process::Command::new(program(name)).env_remove("NATS_URL").output().unwrap();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(complained.contains(&format!("./nats/run cargo run --example {name}")), "{complained}");
    }
}
