//! `natslock bench`: whether what it tells is whole and can be true. How fast anything is, no test says.

use serde_json::Value;

use super::Program;
use crate::support::{Folder, NatsServer};

/// One of the steps of a report.
fn step<'a>(report: &'a Value, name: &str) -> &'a Value {
    let steps = report["steps"].as_array().unwrap();
    steps.iter().find(|step| step["step"] == name).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The times of one part of a step: p50, p99 and the longest.
fn times(report: &Value, name: &str, of: &str) -> [f64; 3] {
    let times = step(report, name)["times"].as_array().unwrap();
    let time = times.iter().find(|time| time["of"] == of).unwrap();
    ["p50_us", "p99_us", "max_us"].map(|field| number(&time[field]))
}

fn ratio(report: &Value, name: &str) -> f64 {
    let ratios = report["ratios"].as_array().unwrap();
    number(&ratios.iter().find(|ratio| ratio["name"] == name).unwrap()["value"])
}

fn near(found: f64, wanted: f64, tolerance: f64) {
    assert!((found - wanted).abs() <= tolerance, "{found} is not {wanted} +- {tolerance}");
}

fn check_times(report: &Value) {
    for (name, parts) in [
        ("L1", &["request"][..]),
        ("L2", &["write"]),
        ("W1", &["acquire", "release"]),
        ("W1d", &["acquire"]),
        ("W2", &["acquire", "release"]),
        ("W3", &["gap", "wait"]),
        ("W4", &["gap", "wait"]),
    ] {
        let spread = &step(report, name)["per_second"];
        let [least, median, most] = ["least", "median", "most"].map(|field| number(&spread[field]));
        assert!(0.0 < least && least <= median && median <= most, "{name}: {spread}");
        for part in parts {
            let [p50, p99, max] = times(report, name, part);
            assert!(10.0 < p50 && p50 <= p99 && p99 <= max && max < 60e6, "{name} {part}: {p50} {p99} {max}");
        }
    }
}

/// One at a time: how many there were is how long each took.
fn check_rates(report: &Value) {
    for (name, part) in [("L1", "request"), ("L2", "write")] {
        let time = &step(report, name)["times"][0];
        assert_eq!(time["of"], *part);
        let busy = number(&step(report, name)["per_second"]["median"]) * number(&time["mean_us"]) / 1e6;
        assert!((0.5..=1.05).contains(&busy), "{name}: busy {busy} of the time");
    }
}

fn check_costs(report: &Value) {
    let cost = |name: &str, field: &str| number(&step(report, name)["per_operation"][field]);
    // The leader's sign of life every four seconds: on a busy machine a share of few operations.
    let others = |name: &str| 3.0 / number(&step(report, name)["per_second"]["median"]);
    near(cost("L1", "writes"), 0.0, others("L1"));
    near(cost("L2", "writes"), 1.0, 0.01);
    near(cost("L1", "client_messages"), 2.0, 0.01);
    near(cost("W1d", "client_messages"), 3.0, 0.01);
    for name in ["W3", "W4"] {
        near(cost(name, "writes"), 1.0, 0.1 + others(name));
    }
    for name in ["W1", "W2"] {
        // A release may leave its write to the next acquire.
        near(cost(name, "writes"), 1.5, 0.6 + others(name));
    }
    for name in ["W1", "W2", "W3", "W4"] {
        assert!(
            cost(name, "server_received") >= 3.0,
            "{name}: a request, a write and an answer at the least"
        );
    }
}

fn check_ratios(report: &Value) {
    let p50 = |name, of| times(report, name, of)[0];
    let platform = p50("L1", "request") + p50("L2", "write");
    near(ratio(report, "W1 acquire p50 / (L1 + L2)"), p50("W1", "acquire") / platform, 1e-9);
    near(ratio(report, "W3 gap p50 / (L1 + L2)"), p50("W3", "gap") / platform, 1e-9);
    let per_second = |name| number(&step(report, name)["per_second"]["median"]);
    near(ratio(report, "W4 hand-overs / W3 hand-overs"), per_second("W4") / per_second("W3"), 1e-9);
    for name in ["W3", "W4"] {
        let jain = number(&step(report, name)["jain"]);
        assert!((1.0 / 256.0..=1.0).contains(&jain), "{name}: {jain}");
        assert!(number(&step(report, name)["longest_over_mean"]) >= 1.0);
    }
    let drift = number(&report["drift"]);
    assert_eq!(report["drifted"], drift.abs() > 0.1);
}

#[test]
fn what_it_tells_can_be_true_and_nothing_is_left() {
    let folder = Folder::new();
    let program = Program::new("").with("TMPDIR", folder.0.to_str().unwrap());
    let run = |seconds| program.run(&["bench", "--reps", "1", "--seconds", seconds, "--json"]);
    // On a machine that is very busy nothing ends within a second, and it says so.
    let report = Some(run("1")).filter(|ran| ran.code == 0).unwrap_or_else(|| run("10")).done().json();
    assert_eq!((&report["storage"], &report["replicas"]), (&"page cache".into(), &1.into()));
    check_times(&report);
    check_rates(&report);
    check_costs(&report);
    check_ratios(&report);
    assert!(std::fs::read_dir(&folder.0).unwrap().next().is_none(), "its folders are gone");
}

#[test]
fn people_get_tables() {
    let folder = Folder::new();
    let chart = folder.0.join("chart.svg");
    let words = ["bench", "--reps", "1", "--seconds", "0.2", "--workload", "w3", "--sync", "--svg"];
    let text = Program::new("").run(&[&words[..], &[chart.to_str().unwrap()]].concat()).done().stdout;
    let parts = ["fsync, one replica: medians of 1 x 0.2 s", "hand-overs", "MAX US", "W3 Jain index", "L1 "];
    assert!(parts.iter().all(|part| text.contains(part)) && !text.contains("W1"), "{text}");
    let chart = std::fs::read_to_string(&chart).unwrap();
    assert!(
        ["L1 request", "L2 write", "W3 gap", "W3 wait"].iter().all(|name| chart.contains(name)),
        "{chart}"
    );
}

#[tokio::test]
async fn what_runs_already_is_measured_only_where_it_is_typed() {
    let server = NatsServer::start().await;
    let url = server.url();
    let _coordinator = Program::new(&url).start(&["serve"]);
    Program::new(&url).run(&["info"]).done();
    let streams = async || {
        let connection = server.connect().await;
        let answer = connection.client().request("$JS.API.STREAM.NAMES", "".into()).await.unwrap();
        serde_json::from_slice::<Value>(&answer.payload).unwrap()["streams"].clone()
    };
    let words = ["bench", "--reps", "1", "--seconds", "0.1", "--workload", "w1", "--json"];
    let typed = [&words[..], &["--nats", &url]].concat();
    let report = Program::new("").run(&typed).done().json();
    assert_eq!(report["storage"], "as the servers are configured");
    near(number(&step(&report, "W1")["per_operation"]["client_messages"]), 4.0, 0.01);
    assert_eq!(
        streams().await,
        serde_json::json!(["KV_natslock_default_0"]),
        "the bucket of the limits is gone"
    );
    let refused = Program::new("").run(&[&typed[..], &["--sync"]].concat());
    assert_eq!((refused.code, &refused.json()["code"]), (2, &"usage".into()));

    let nobody = Program::new("nats://127.0.0.1:1").run(&words).done().json();
    assert_eq!(nobody["storage"], "page cache");
}

#[test]
fn costs_are_told_for_each_size() {
    let words =
        ["bench", "scale", "--largest", "100", "--json", "waiters", "takeover", "names", "namespaces"];
    let told = Program::new("").run(&words).done().json();
    let value = |what: &str, size: u64| {
        let points = told.as_array().unwrap().iter();
        let mut points = points.filter(|point| point["what"] == what && point["size"] == size);
        number(&points.next().unwrap_or_else(|| panic!("{what} at {size} is in {told}"))["value"])
    };
    for (what, sizes) in [
        ("hand-over to one of", [1, 10, 100]),
        ("takeover with records", [1, 10, 100]),
        ("pair on a new name, of", [1, 10, 100]),
        ("start of namespaces", [1, 10, 100]),
    ] {
        assert!(sizes.iter().all(|size| value(what, *size) > 0.0), "{what}: {told}");
    }
    assert!(value("memory of namespaces", 100) > value("memory of namespaces", 1), "{told}");
}

#[tokio::test]
async fn a_bare_coordinator_counts_nothing_and_tells_of_nothing() {
    let server = NatsServer::start().await;
    let program = Program::new(&server.url());
    let _coordinator = program.start(&["serve", "--without", "figures,events"]);
    let mut watching = program.start(&["watch"]);
    watching.told_until("watching all locks");
    let granted = program.run(&["acquire", "a", "--json"]).done().json();
    program.run(&["release", "a", "--id", granted["id"].as_str().unwrap()]).done();
    let stats = program.run(&["stats", "--json"]).done().json();
    assert_eq!(
        (&stats["total"]["acquires"], &stats["total"]["acquire_ms"]["max"]),
        (&0.into(), &Value::Null)
    );
    // Whatever was told before the answers came before them.
    assert!(watching.line_if_any().is_none_or(|line| line.contains("leader")));
}

#[test]
fn the_overhead_is_told_with_how_sure_it_is() {
    let words = ["bench", "overhead", "--workload", "w1,w3", "--pairs", "6", "--seconds", "0.5s", "--json"];
    let found = Program::new("").run(&words).done().json();
    let found = found.as_array().unwrap();
    let told: Vec<_> = found.iter().map(|found| (&found["workload"], &found["part"])).collect();
    let [events, figures] = [&"events".into(), &"figures, http".into()];
    let [w1, w3] = [&"W1".into(), &"W3".into()];
    assert_eq!(told, [(w1, events), (w1, figures), (w3, events), (w3, figures)]);
    for compared in found.iter().flat_map(|found| [&found["rate"], &found["processor_us"]]) {
        let [low, high] = [0, 1].map(|end| number(&compared["interval"][end]));
        let change = number(&compared["change"]);
        assert!(-1.0 < low && low <= change && change <= high && high < 100.0, "{compared}");
        assert!(compared["ratios"].as_array().unwrap().len() == 6 && number(&compared["without"]) > 0.0);
    }
    let goal = |found: &Value| (number(&found["rate"]["interval"][0]), found["goal"].clone());
    for (low, verdict) in [&found[1], &found[3]].map(goal) {
        assert_eq!(verdict == "met", low > -0.03, "{verdict} {low}");
    }
    assert_eq!((&found[0]["goal"], &found[2]["goal"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_few_pairs_make_nothing_sure() {
    let words = ["bench", "overhead", "--workload", "w1-detached", "--pairs", "1", "--seconds", "3s"];
    let text = Program::new("").run(&words).done().stdout;
    let parts = ["W1d", "figures, http", "too few pairs", "open", "95 % SURE"];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
}
