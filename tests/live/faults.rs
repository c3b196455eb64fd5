//! Faults on real processes: three nats-servers, three coordinators, clients in six processes. The figures are
//! those of `natslock torture`, whose judge is exact: all clocks are one clock.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::quiet;

/// Runs it, and returns its report. It ends with the test process.
fn torture(fault: &str, options: &[&str]) -> Value {
    let _busy = quiet::disturb();
    let mut command = Command::new(env!("CARGO_BIN_EXE_natslock"));
    command.args(["torture", fault, "--json", "--for", "0"]).args(options);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut guard = Command::new("sh");
    guard.args(["-c", "read -r _; kill -9 $1", "guard", &child.id().to_string()]);
    let mut guard = guard.stdin(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    guard.kill().unwrap();
    guard.wait().unwrap();
    let (told, complaints) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{told}{complaints}");
    let report: Value = serde_json::from_str(told.lines().next().unwrap_or_default()).unwrap();
    assert_eq!(report["fault"], fault, "a report, not: {told}");
    report
}

fn number(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("{field} is a number in {report}"))
}

/// Never two holders, tokens rise, the fenced register is whole, and all goes on in the end.
fn nothing_is_broken(report: &Value) {
    assert_eq!(report["violations"], Value::Array(Vec::new()), "{report}");
    assert_eq!(number(report, "fenced_damage"), 0, "{report}");
    assert!(number(report, "operations") > 100 && number(report, "fenced_writes") > 20, "{report}");
}

/// Nobody with a lease time of 15 s lost a lock.
fn nobody_loses(report: &Value) {
    assert_eq!(number(report, "false_losses"), 0, "{report}");
}

#[test]
fn a_killed_stream_leader_costs_nobody_a_lock() {
    let report = torture("kill-stream-leader", &[]);
    nothing_is_broken(&report);
    nobody_loses(&report);
}

#[test]
fn a_stopped_holder_writes_over_others_only_where_there_is_no_fence() {
    let report = torture("stop-holder", &["--ttl", "1s", "--rounds", "4"]);
    nothing_is_broken(&report);
    nobody_loses(&report);
    // The control: without a fence the same writes do harm.
    assert!(number(&report, "refused_stale") >= 1 && number(&report, "unfenced_damage") >= 1, "{report}");
}

#[test]
fn a_leader_stopped_for_three_leases_confers_nothing_when_it_goes_on() {
    let report = torture("stop-leader", &["--leader-lease", "3s"]);
    nothing_is_broken(&report);
    nobody_loses(&report);
}

#[test]
fn a_leader_that_is_heard_by_nobody_is_replaced() {
    let report = torture("mute-leader", &["--leader-lease", "3s"]);
    nothing_is_broken(&report);
    nobody_loses(&report);
}

#[test]
fn connections_that_are_cut_every_two_seconds_cost_nobody_a_lock() {
    let report = torture("cut-connections", &[]);
    nothing_is_broken(&report);
    nobody_loses(&report);
}

#[test]
fn all_servers_killed_at_once_lose_nothing() {
    nothing_is_broken(&torture("kill-servers", &[]));
}

#[test]
fn a_bucket_made_again_is_not_served_and_its_tokens_rise() {
    let report = torture("recreate-bucket", &["--leader-lease", "3s"]);
    nothing_is_broken(&report);
    let said = report["failed"].as_object().unwrap();
    assert!(said.keys().any(|said| said.contains("quarantine")), "{report}");
}

#[test]
fn a_full_disk_is_refused_and_nothing_is_lost() {
    let report = torture("full-disk", &["--leader-lease", "3s"]);
    if let Some(why) = report["not_run"].as_str() {
        println!("not run: {why}");
        return;
    }
    nothing_is_broken(&report);
}
