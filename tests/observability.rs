//! The dashboard and the alert rules parse, and name only metrics and labels that there are.

use std::collections::BTreeSet;

use natslock::measures::exposition::METRICS;
use serde_json::Value;

const DASHBOARD: &str = include_str!("../nats/observability/dashboard.json");
const ALERTS: &str = include_str!("../nats/observability/alerts.yaml");

/// Everything in an expression that looks like one of our metrics.
fn named(expression: &str) -> BTreeSet<&str> {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    expression.split(|c| !part_of_word(c)).filter(|word| word.starts_with("natslock_")).collect()
}

fn exists(name: &str) -> bool {
    METRICS.iter().any(|(known, kind, _)| match *kind {
        "histogram" => {
            ["_bucket", "_sum", "_count"].iter().any(|part| name.strip_suffix(part) == Some(known))
        }
        _ => name == *known,
    })
}

fn check(expression: &str) {
    let names = named(expression);
    assert!(!names.is_empty(), "{expression:?} names no metric");
    for name in names {
        assert!(exists(name), "{name} in {expression:?} is no metric of natslock");
    }
    let brackets =
        |open: char, close: char| expression.matches(open).count() == expression.matches(close).count();
    assert!(brackets('(', ')') && brackets('[', ']') && brackets('{', '}'), "{expression:?}");
}

fn expressions<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match value {
            Value::String(text) if name == "expr" => found.push(text),
            other => expressions(other, found),
        }),
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_names_only_what_there_is() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() > 20, "{found:?}");
    found.iter().for_each(|expression| check(expression));
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
}

#[test]
fn the_alerts_parse_and_name_only_what_there_is() {
    let rules = serde_norway::from_str::<Value>(ALERTS).unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap().clone();
    assert!(rules.len() >= 10);
    for rule in &rules {
        check(rule["expr"].as_str().unwrap());
        let [alert, severity, summary] =
            [&rule["alert"], &rule["labels"]["severity"], &rule["annotations"]["summary"]]
                .map(|text| text.as_str().unwrap());
        assert!(alert.starts_with("Natslock") && !summary.is_empty());
        assert!(["warning", "critical"].contains(&severity), "{severity}");
    }
}

#[test]
fn what_there_is_not_is_noticed() {
    assert!(exists("natslock_grants_total") && exists("natslock_wait_duration_seconds_bucket"));
    assert!(!exists("natslock_wait_duration_seconds") && !exists("natslock_grants"));
    assert_eq!(named("rate(natslock_a{x=\"natslock_b\"}[5m]) / other").len(), 2);
}
