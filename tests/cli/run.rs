//! `natslock run`

use natslock::clock::SystemClock;
use rustix::process::Signal;

use super::program::elapsed_since;
use super::redact::redact;
use super::{Program, Running, Site};
use crate::support::proxy::Proxy;
use crate::support::{NatsServer, eventually};

const NOWHERE: &str = "nats://127.0.0.1:1";

/// The words of `natslock run NAME OPTIONS -- sh -c SCRIPT`.
fn words<'a>(name: &'a str, options: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["run", name], options, &["--", "sh", "-c", script]].concat()
}

/// True while the process is there, and more than an entry in a table.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

fn is_free(site: &Site, name: &str) -> bool {
    site.run(&["check", name]).done().stdout == "free\n"
}

/// The number behind a word that the script has printed: the boot clock in seconds.
fn seconds(line: &str) -> f64 {
    line.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

/// The last time of which the script has told, when it has ended.
fn last_seconds(running: &mut Running) -> f64 {
    let last = std::iter::from_fn(|| running.line_if_any()).last();
    seconds(&last.expect("it went on for a while"))
}

/// Tells the time again and again, and takes no notice of being told to end.
const STUBBORN: &str = "trap 'read at _ </proc/uptime; echo told $at' TERM
    echo ready; while :; do read at _ </proc/uptime; echo alive $at; sleep 0.02; done";

#[tokio::test]
async fn the_code_is_passed_through() {
    let site = Site::shared().await;
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -s TERM $$", 143), ("kill -s KILL $$", 137)] {
        let ran = site.run(&words("run.code", &["--wait", "0"], script));
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (code, "", ""), "{script}");
        assert!(is_free(&site, "run.code"), "{script}");
    }
    let missing = site.run(&["run", "run.code", "--", "/nonexistent"]);
    assert_eq!(missing.code, 127);
    assert!(missing.stderr.starts_with("natslock: cannot run /nonexistent: "), "{}", missing.stderr);
    assert_eq!(site.run(&["run", "run.code", "--", "/etc/passwd"]).code, 126);
    assert!(is_free(&site, "run.code"));
}

#[tokio::test]
async fn the_command_finds_the_lock_in_its_environment_and_has_the_output_to_itself() {
    let site = Site::shared().await;
    let script = r#"echo "$NATSLOCK_TOKEN $NATSLOCK_ID $NATSLOCK_NAME"; "$0" --json renew "$NATSLOCK_NAME"
        "$0" --json check "$NATSLOCK_NAME""#;
    let natslock = env!("CARGO_BIN_EXE_natslock");
    let mut line = words("run.订单 42", &["--id", "run-1", "--note", "nightly", "--json"], script);
    line.push(natslock);
    let ran = site.program().with("NATSLOCK_ID", "another").run(&line).done();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let [environment, renewed, checked] = lines[..] else { panic!("{}", ran.stdout) };
    let (token, rest) = environment.split_once(' ').unwrap();
    assert_eq!(rest, "run-1 run.订单 42");
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(json(renewed)["status"], "renewed");
    let holder = &json(checked)["holders"][0];
    assert_eq!((holder["token"].to_string().as_str(), &holder["note"]), (token, &"nightly".into()));
    assert_eq!(ran.stderr, "");
}

#[tokio::test]
async fn signals_are_passed_on() {
    let site = Site::shared().await;
    let script = "for signal in INT HUP QUIT USR1 USR2 WINCH; do trap \"echo $signal\" $signal; done
        trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done";
    let mut running = site.program().start(&words("run.signals", &[], script));
    assert_eq!(running.line(), "ready");
    for (signal, name) in [
        (Signal::INT, "INT"),
        (Signal::HUP, "HUP"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::WINCH, "WINCH"),
    ] {
        running.signal(signal);
        assert_eq!(running.line(), name);
    }
    running.signal(Signal::TERM);
    assert_eq!(running.end().await.0, Some(9));
}

#[tokio::test]
async fn what_was_to_be_ignored_is_ignored() {
    let site = Site::shared().await;
    let line = "trap '' HUP; natslock run run.nohup -- sh -c 'kill -s HUP $PPID; kill -s HUP $$; exit 3'";
    assert_eq!(site.program().shell(line).code, 3);
}

#[tokio::test]
async fn it_has_exit_codes_of_its_own() {
    for line in ["run", "run a", "run a true", "run a..b -- true", "run a --ttl 0 -- true", "run a --json"] {
        let ran = Program::new(NOWHERE).run(&line.split(' ').collect::<Vec<_>>());
        assert_eq!((ran.code, ran.stdout.as_str()), (64, ""), "{line}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{line}: {}", ran.stderr);
    }
    assert_eq!(Program::new(NOWHERE).run(&["--bogus", "run", "a", "--", "true"]).code, 64);
    assert_eq!(Program::new(NOWHERE).run(&["run", "a", "--json", "--", "true"]).code, 69);
    let server = NatsServer::start().await;
    let leaderless = Program::new(&server.url()).run(&["run", "a", "--", "true"]);
    assert_eq!((leaderless.code, leaderless.stdout.as_str()), (69, ""));
    assert!(leaderless.stderr.contains("no coordinator"), "{}", leaderless.stderr);
}

#[tokio::test]
async fn a_held_lock_is_told_as_by_acquire() {
    let site = Site::shared().await;
    site.hold("run.held", "worker-7");
    let acquire = site.run(&["acquire", "run.held", "--wait", "0"]);
    for options in [&["--wait", "0"][..], &["--wait", "0", "--json"]] {
        let run = site.run(&words("run.held", options, "echo never"));
        assert_eq!((run.code, run.stdout.as_str()), (75, ""));
        assert_eq!(redact(&run.stderr), redact(&acquire.stderr));
    }
    let waiting = site.program().start(&words("run.held", &["--wait", "1h"], "echo never"));
    eventually("it waits", async || {
        let checked = site.run(&["check", "run.held", "--json"]).done();
        checked.json()["waiter_count"] == 1
    })
    .await;
    waiting.signal(Signal::TERM);
    let (code, stdout, stderr) = waiting.end().await;
    assert_eq!((code, stdout.as_str()), (Some(75), ""));
    assert!(stderr.contains("cancelled"), "{stderr}");
}

#[tokio::test]
async fn the_lock_can_be_kept_beyond_the_end() {
    let site = Site::shared().await;
    assert_eq!(site.run(&words("run.keep", &["--keep", "1h"], "exit 4")).code, 4);
    let kept = site.run(&["check", "run.keep", "--json"]).done();
    assert!(kept.json()["holders"][0]["expires_in_ms"].as_u64() > Some(3_000_000), "{}", kept.stdout);
}

#[tokio::test]
async fn what_the_command_leaves_running_does_not_outlive_the_lock() {
    let site = Site::shared().await;
    // What is left is stubborn: it is killed.
    let script = "trap '' TERM; sleep 1000 & echo $!";
    let mut running = site.program().start(&words("run.left", &[], script));
    let left = running.line();
    running.told_until("ending what it has left running");
    assert!(is_alive(&left) && !is_free(&site, "run.left"));
    let next = site.run(&words("run.left", &["--wait", "20s"], &format!("test -d /proc/{left}")));
    assert_eq!(next.code, 1, "what was left has ended");
    assert_eq!(running.end().await.0, Some(0), "the command had ended by itself");
}

#[tokio::test]
async fn a_lock_that_is_taken_away_ends_the_command() {
    let site = Site::shared().await;
    let script = "trap 'echo told; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    let mut running = site.program().start(&words("run.revoked", &["--ttl", "1s"], script));
    assert_eq!(running.line(), "ready");
    let began = SystemClock::boot();
    site.run(&["admin", "release", "run.revoked"]).done();
    assert_eq!(running.line(), "told");
    assert!(elapsed_since(began).as_millis() < 2_000);
    let (code, _, stderr) = running.end().await;
    assert_eq!(code, Some(124));
    assert!(stderr.contains("lock `run.revoked` is lost: an administrator took it away"), "{stderr}");
}

#[tokio::test]
async fn whoever_does_not_end_when_the_lock_is_lost_is_killed() {
    let site = Site::shared().await;
    let mut running = site.program().start(&words("run.stubborn", &["--ttl", "1s"], STUBBORN));
    assert_eq!(running.line(), "ready");
    site.run(&["admin", "release", "run.stubborn"]).done();
    running.told_until("is lost");
    running.told_until("it has not ended in time: killed");
    assert_eq!(running.end().await.0, Some(124));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_cut_off_is_told_and_then_dead_before_another_gets_the_lock() {
    let site = Site::shared().await;
    let proxy = Proxy::start(&site.server.url()).await;
    let options = ["--ttl", "4s", "--wait", "20s"];
    let mut victim = Program::new(&proxy.url()).start(&words("run.cut", &options, STUBBORN));
    assert_eq!(victim.line(), "ready");
    let script = "read at _ </proc/uptime; echo began $at";
    let mut next = site.program().start(&words("run.cut", &options, script));
    eventually("it waits", async || {
        site.run(&["check", "run.cut", "--json"]).done().json()["waiter_count"] == 1
    })
    .await;
    proxy.close();
    let told = loop {
        let line = victim.line();
        if line.starts_with("told ") {
            break seconds(&line);
        }
    };
    victim.told_until("no renewal gets through");
    victim.told_until("killed");
    let began = seconds(&next.line());
    let ended = last_seconds(&mut victim);
    assert!(told + 0.5 < ended, "it has time to end: told at {told}, killed after {ended}");
    assert!(ended < began, "alive at {ended}, the next began at {began}");
    assert_eq!(victim.end().await.0, Some(124));
    assert_eq!(next.end().await.0, Some(0));
}

#[tokio::test]
async fn whoever_was_stopped_beyond_the_deadline_kills_the_command_at_once() {
    let site = Site::shared().await;
    let script = "trap 'echo told' TERM; echo $$; while :; do sleep 0.01; done";
    let mut running = site.program().start(&words("run.paused", &["--ttl", "1s"], script));
    let pid = running.line();
    running.signal(Signal::STOP);
    let next = site.run(&words("run.paused", &["--wait", "20s", "--ttl", "1h"], "exit 5"));
    assert_eq!(next.code, 5);
    assert!(is_alive(&pid), "nobody could kill it");
    running.signal(Signal::CONT);
    let (code, stdout, stderr) = running.end().await;
    assert_eq!((code, stdout.as_str()), (Some(124), ""));
    assert!(stderr.contains("lock `run.paused` was lost while natslock stood still: killed"), "{stderr}");
    assert!(!is_alive(&pid));
}

#[tokio::test]
async fn nothing_goes_on_when_natslock_is_killed() {
    let site = Site::shared().await;
    let script = "trap '' TERM HUP; sleep 1000 & echo $! $$; wait";
    let program = site.program().with("NATSLOCK_LOG", "natslock=debug");
    let mut running = program.start(&words("run.killed", &["--ttl", "1s"], script));
    running.told_until("under its watchdog");
    let line = running.line();
    let (grandchild, child) = line.split_once(' ').unwrap();
    assert!(is_alive(grandchild) && is_alive(child));
    running.signal(Signal::KILL);
    eventually("both are dead", async || !is_alive(grandchild) && !is_alive(child)).await;
    assert_eq!(running.end().await.0, None);
    assert_eq!(site.run(&["acquire", "run.killed", "--wait", "5s"]).code, 0);
}
