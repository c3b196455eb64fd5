//! How a bucket is made and checked.

use std::time::Duration;

use futures_util::future::join_all;
use natslock::clock::{SystemClock, within};
use natslock::nats::{BucketConfig, ConnectOptions, Connection, Credentials, NatsStore, connect};
use natslock::store::contract::answered;
use natslock::store::{Store as _, StoreError};
use natslock::types::Revision;
use serde_json::{Value, json};

use super::{bucket, open};
use crate::support::{NatsCluster, NatsServer};

/// Asks JetStream as any tool would.
async fn ask(connection: &Connection, call: &str, body: &Value) -> Value {
    let payload = body.to_string().into();
    let answer = connection.client().request(format!("$JS.API.{call}"), payload).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(answer["error"], Value::Null, "{call} {body}");
    answer
}

async fn refusal(connection: &Connection, config: &BucketConfig) -> String {
    match NatsStore::open(connection.clone(), config.clone()).await {
        Err(StoreError::Refused(reason)) => reason,
        other => panic!("must be refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_bucket_is_made_once_and_found_again() {
    let server = NatsServer::start().await;
    let connection = server.connect().await;
    let first = open(&connection, &bucket("test")).await;
    let later = BucketConfig { first_sequence: Revision::new(15_000_000_000_000), ..bucket("test") };
    let second = open(&server.connect().await, &later).await;
    assert_eq!(answered(first.identity().await), answered(second.identity().await));
    let info = ask(&connection, "STREAM.INFO.KV_test", &json!({})).await;
    for (field, value) in [
        ("subjects", json!(["$KV.test.>"])),
        ("storage", json!("file")),
        ("discard", json!("new")),
        ("max_msgs_per_subject", json!(1)),
        ("deny_delete", json!(true)),
        ("allow_atomic", json!(true)),
        ("allow_msg_ttl", json!(true)),
        ("allow_direct", json!(false)),
        ("first_seq", json!(bucket("test").first_sequence.get())),
        ("num_replicas", json!(1)),
    ] {
        assert_eq!(info["config"][field], value, "{field}");
    }
}

#[tokio::test]
async fn a_bucket_that_was_made_again_has_another_identity() {
    let server = NatsServer::start().await;
    let connection = server.connect().await;
    let store = open(&connection, &bucket("test")).await;
    let before = answered(store.identity().await);
    ask(&connection, "STREAM.DELETE.KV_test", &json!({})).await;
    assert!(store.identity().await.is_err_and(|error| !error.is_retryable()));
    open(&connection, &bucket("test")).await;
    assert_ne!(answered(store.identity().await), before);
}

#[tokio::test]
async fn of_many_creators_one_wins_and_all_agree() {
    let server = NatsServer::start().await;
    let mut connections = Vec::new();
    for _ in 0..8 {
        connections.push(server.connect().await);
    }
    let opened = connections.iter().enumerate().map(|(number, connection)| async move {
        let first_sequence = Revision::new(1_000 + number as u64);
        let config = BucketConfig { first_sequence, ..bucket("test") };
        answered(NatsStore::open(connection.clone(), config).await)
    });
    let stores = join_all(opened).await;
    let identity = answered(stores[0].identity().await);
    for store in &stores {
        assert_eq!(answered(store.identity().await), identity);
    }
}

#[tokio::test]
async fn each_difference_is_refused_by_name() {
    let server = NatsServer::start().await;
    let connection = server.connect().await;
    open(&connection, &bucket("good")).await;
    let info = ask(&connection, "STREAM.INFO.KV_good", &json!({})).await;
    ask(&connection, "STREAM.CREATE.other", &json!({"name": "other", "subjects": ["other"]})).await;
    let source = json!([{"name": "other"}]);
    let transform = json!({"src": "$KV.bad.x.>", "dest": "$KV.bad.y.>"});
    let republish = json!({"src": "$KV.bad.>", "dest": "elsewhere.>"});
    let differences = [
        ("subjects", json!(["$KV.bad.>", "more"])),
        ("storage", json!("memory")),
        ("retention", json!("interest")),
        ("discard", json!("old")),
        ("max_msgs_per_subject", json!(2)),
        ("max_msgs", json!(1_000)),
        ("max_bytes", json!(1_000_000)),
        ("max_msg_size", json!(1_000)),
        ("max_age", json!(3_600_000_000_000_u64)),
        ("max_consumers", json!(1)),
        ("deny_delete", json!(false)),
        ("allow_atomic", json!(false)),
        ("allow_msg_ttl", json!(false)),
        ("allow_direct", json!(true)),
        ("allow_rollup_hdrs", json!(true)),
        ("no_ack", json!(true)),
        ("sources", source),
        ("subject_transform", transform),
        ("republish", republish),
        ("persist_mode", json!("async")),
    ];
    for (field, value) in differences {
        let mut config = info["config"].clone();
        config["name"] = json!("KV_bad");
        config["subjects"] = json!(["$KV.bad.>"]);
        config[field] = value;
        if field == "persist_mode" {
            config["allow_atomic"] = json!(false);
        }
        ask(&connection, "STREAM.CREATE.KV_bad", &config).await;
        let reason = refusal(&connection, &bucket("bad")).await;
        assert!(reason.contains(&format!("{field} is ")), "{field}: {reason}");
        ask(&connection, "STREAM.DELETE.KV_bad", &json!({})).await;
    }
}

#[tokio::test]
async fn what_natslock_does_not_depend_on_may_differ() {
    let server = NatsServer::start().await;
    let connection = server.connect().await;
    open(&connection, &bucket("test")).await;
    let mut config = ask(&connection, "STREAM.INFO.KV_test", &json!({})).await["config"].take();
    config["description"] = json!("locks");
    config["metadata"] = json!({"team": "a"});
    config["duplicate_window"] = json!(1_000_000_000);
    ask(&connection, "STREAM.UPDATE.KV_test", &config).await;
    open(&connection, &BucketConfig { replicas: 3, ..bucket("test") }).await;
}

#[tokio::test]
async fn a_missing_permission_is_named_at_once() {
    let users = r#"authorization { users: [
        { user: blind, password: x, permissions: { publish: "_INBOX.>", subscribe: ">" } }
        { user: deaf, password: x, permissions: { publish: ">", subscribe: "natslock.>" } }
        { user: reader, password: x, permissions: { publish: ["_INBOX.>", "$JS.API.STREAM.INFO.>"] } }
    ] }"#;
    let server = NatsServer::start_with(users).await;
    for (user, named) in [
        ("blind", "publish to $JS.API.STREAM.INFO.KV_test"),
        ("deaf", "subscribe to _INBOX."),
        ("reader", "publish to $JS.API.STREAM.CREATE.KV_test"),
    ] {
        let credentials = Credentials::User { name: user.into(), password: "x".into() };
        let connection = connect(&ConnectOptions { credentials, ..server.options() }).await.unwrap();
        let config = bucket("test");
        let refused = within(&SystemClock, Duration::from_secs(2), refusal(&connection, &config)).await;
        let reason = refused.expect("at once");
        assert!(reason.contains(named), "{user}: {reason}");
        assert!(connection.denials().last().is_some());
    }
}

#[tokio::test]
async fn a_store_that_must_not_be_followed_says_so() {
    let users = r#"authorization { users: [ { user: a, password: a, permissions: { publish: {
        allow: ">", deny: "$JS.API.CONSUMER.>" } } } ] }"#;
    let server = NatsServer::start_with(users).await;
    let credentials = Credentials::User { name: "a".into(), password: "a".into() };
    let connection = connect(&ConnectOptions { credentials, ..server.options() }).await.unwrap();
    let store = open(&connection, &bucket("test")).await;
    let error = store.follow().await.err().unwrap();
    assert!(!error.is_retryable() && error.to_string().contains("CONSUMER.CREATE.KV_test"), "{error}");
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused() {
    let server = NatsServer::start_bare("").await;
    let reason = refusal(&server.connect().await, &bucket("test")).await;
    assert!(reason.contains("JetStream is not enabled"), "{reason}");

    let accounts = "accounts { A { users: [{ user: a, password: a }] } }\nno_auth_user: a\n";
    let server = NatsServer::start_with(accounts).await;
    let reason = refusal(&server.connect().await, &bucket("test")).await;
    assert!(reason.contains("not enabled for account"), "{reason}");
}

#[tokio::test]
async fn too_many_replicas_are_refused() {
    let server = NatsServer::start().await;
    let config = BucketConfig { replicas: 3, ..bucket("test") };
    let reason = refusal(&server.connect().await, &config).await;
    assert!(reason.contains("replicas"), "{reason}");
}

#[tokio::test]
async fn a_cluster_that_has_lost_its_majority_is_waited_for() {
    let mut cluster = NatsCluster::start().await;
    let connection = cluster.nodes[0].connect().await;
    let config = BucketConfig { replicas: 3, ..bucket("test") };
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let error = NatsStore::open(connection.clone(), config.clone()).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    for node in &mut cluster.nodes[1..] {
        node.resume().await;
    }
    open(&connection, &config).await;
}
