//! The store on real servers: the contract, and what only a real server can do.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::{join, join_all};
use natslock::clock::{Clock as _, SystemClock, within};
use natslock::nats::{BucketConfig, ConnectOptions, Connection, NatsStore, connect};
use natslock::store::contract::{answered, cas, contract, lock, next_entry, written};
use natslock::store::{Batch, Delivery, Guard, Store as _, Write, WriteOutcome};
use natslock::types::{Key, Revision};
use serde_json::Value;

use super::{bucket, open};
use crate::support::{NatsCluster, NatsServer, eventually};

async fn served(server: &NatsServer) -> NatsStore {
    open(&server.connect().await, &bucket("test")).await
}

#[tokio::test]
async fn one_server_keeps_the_contract() {
    let server = NatsServer::start().await;
    contract(served(&server).await).await;
}

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    let cluster = NatsCluster::start().await;
    let connection = connect(&cluster.options()).await.unwrap();
    let config = BucketConfig { replicas: 3, ..bucket("test") };
    contract(open(&connection, &config).await).await;
}

#[tokio::test]
async fn writes_that_go_together_keep_the_contract() {
    let server = NatsServer::start().await;
    contract(served(&server).await.always_together()).await;
    let cluster = NatsCluster::start().await;
    let connection = connect(&cluster.options()).await.unwrap();
    let config = BucketConfig { replicas: 3, ..bucket("test") };
    contract(open(&connection, &config).await.always_together()).await;
}

/// A batch is refused as a whole; its members then go one by one.
#[tokio::test]
async fn of_writes_that_go_together_each_has_its_own_outcome() {
    const ABSENT: Revision = Revision::new(7);
    let server = NatsServer::start().await;
    let store = served(&server).await.always_together();
    let wrong = |number: u64| number % 10 == 3;
    let write = |number: u64| {
        let expected = if wrong(number) { ABSENT } else { Revision::NONE };
        let (store, key) = (store.clone(), lock(&format!("l.{number}")));
        async move { (store.write(cas(key.clone(), expected, "value")).await, key, number) }
    };
    for (outcome, key, number) in join_all((0..300).map(write)).await {
        let found = answered(store.read(key).await);
        match outcome {
            WriteOutcome::Acknowledged(revision) => assert_eq!(found.unwrap().revision, revision),
            WriteOutcome::Mismatch(Some(Revision::NONE)) => assert!(wrong(number) && found.is_none()),
            other => panic!("{other:?} for {number}"),
        }
    }
}

#[tokio::test]
async fn revisions_begin_at_the_first_sequence() {
    let server = NatsServer::start().await;
    let store = served(&server).await;
    let first = written(&store, cas(lock("a"), Revision::NONE, "a")).await;
    assert_eq!(first, bucket("test").first_sequence);
}

#[tokio::test]
async fn batches_stay_together_while_others_write() {
    let server = NatsServer::start().await;
    let store = served(&server).await;
    let epoch = written(&store, cas(Key::Epoch, Revision::NONE, "epoch")).await;
    let others = (0..400).map(|number| {
        let write = cas(lock(&format!("other.{number}")), Revision::NONE, "other");
        let store = store.clone();
        async move { assert!(matches!(store.write(write).await, WriteOutcome::Acknowledged(_))) }
    });
    let batches = async {
        for round in 0..10 {
            let keys: Vec<Key> = (0..20).map(|number| lock(&format!("batch.{round}.{number}"))).collect();
            let writes = keys.iter().map(|key| cas(key.clone(), Revision::NONE, "batch")).collect();
            let guard = Guard { key: Key::Journal, value: "j".into(), holds: (Key::Epoch, epoch) };
            let outcome = store.write_batch(Batch { writes, guard: Some(guard) }).await;
            let WriteOutcome::Acknowledged(last) = outcome else { panic!("{outcome:?}") };
            for (key, revision) in keys.iter().zip(last.get() - 20..) {
                let entry = answered(store.read(key.clone()).await).unwrap();
                assert_eq!(entry.revision.get(), revision);
            }
        }
    };
    tokio::join!(join_all(others), batches);
}

/// The consumer is asked for 4 096 records at a time, and such an answer has no end of its own.
#[tokio::test]
async fn more_than_one_answer_holds_is_delivered_without_a_gap() {
    const BATCHES: u64 = 9;
    const EACH: u64 = 999;
    let server = NatsServer::start().await;
    let store = served(&server).await;
    for batch in 0..BATCHES {
        let key = |number: u64| lock(&format!("l.{batch}.{number}"));
        let writes = (0..EACH).map(|number| cas(key(number), Revision::NONE, "batch")).collect();
        let outcome = store.write_batch(Batch { writes, guard: None }).await;
        assert!(matches!(outcome, WriteOutcome::Acknowledged(_)), "{outcome:?}");
    }
    let mut deliveries = answered(store.follow().await);
    let first = bucket("test").first_sequence.get();
    for revision in first..first + BATCHES * EACH {
        assert_eq!(next_entry(&mut deliveries).await.revision.get(), revision);
    }
    let last = written(&store, cas(lock("a"), Revision::NONE, "a")).await;
    assert_eq!(next_entry(&mut deliveries).await.revision, last);
}

#[tokio::test]
async fn the_largest_batch_is_taken() {
    let server = NatsServer::start().await;
    let store = served(&server).await;
    let epoch = written(&store, cas(Key::Epoch, Revision::NONE, "epoch")).await;
    let writes = (0..999).map(|number| cas(lock(&format!("l.{number}")), Revision::NONE, "batch")).collect();
    let guard = Guard { key: Key::Journal, value: "j".into(), holds: (Key::Epoch, epoch) };
    let outcome = store.write_batch(Batch { writes, guard: Some(guard) }).await;
    assert_eq!(outcome, WriteOutcome::Acknowledged(Revision::new(epoch.get() + 1_000)));
}

#[tokio::test]
async fn a_thousand_writes_fly_at_once() {
    let server = NatsServer::start().await;
    let store = served(&server).await;
    let write = |number| store.write(cas(lock(&format!("many.{number}")), Revision::NONE, "value"));
    let mut revisions = Vec::new();
    for outcome in join_all((0..1_000).map(write)).await {
        let WriteOutcome::Acknowledged(revision) = outcome else { panic!("{outcome:?}") };
        revisions.push(revision.get());
    }
    revisions.sort_unstable();
    let first = bucket("test").first_sequence.get();
    assert!(revisions.into_iter().eq(first..first + 1_000), "each write has a revision of its own");
}

#[tokio::test]
async fn writes_that_nobody_waits_for_hold_nothing_up() {
    let server = NatsServer::start().await;
    let store = served(&server).await;
    for number in 0..6_000 {
        let abandoned = store.write(cas(lock(&format!("gone.{number}")), Revision::NONE, "value"));
        within(&SystemClock, Duration::ZERO, abandoned).await;
    }
    written(&store, cas(lock("after"), Revision::NONE, "value")).await;
}

#[tokio::test]
async fn a_foreign_marker_has_no_value() {
    let server = NatsServer::start().await;
    let connection = server.connect().await;
    let store = open(&connection, &bucket("test")).await;
    let revision = written(&store, cas(lock("a"), Revision::NONE, "a")).await;
    let mut deliveries = answered(store.follow().await);
    assert_eq!(next_entry(&mut deliveries).await.revision, revision);
    let mut headers = HeaderMap::new();
    headers.insert("KV-Operation", "DEL");
    let client = connection.client();
    client.publish("$KV.test.notes.of.others", "ignored".into()).await.unwrap();
    client.publish_with_headers("$KV.test.lock.a", headers, Bytes::new()).await.unwrap();
    let marker = next_entry(&mut deliveries).await;
    assert_eq!((&marker.key, &marker.value), (&lock("a"), &None));
    assert_eq!(answered(store.read(lock("a")).await), Some(marker.clone()));
    assert_eq!(answered(store.read_at(marker.revision).await), Some(marker.clone()));
    assert_eq!(marker.revision.get(), revision.get() + 2, "the record of others took a revision");
    written(&store, cas(lock("a"), marker.revision, "again")).await;
}

#[tokio::test]
async fn following_survives_a_restart() {
    let mut server = NatsServer::start().await;
    let store = served(&server).await;
    let mut deliveries = answered(store.follow().await);
    let mut last = written(&store, cas(lock("a"), Revision::NONE, "before")).await;
    assert_eq!(next_entry(&mut deliveries).await.revision, last);
    for round in 0..2 {
        server.restart().await;
        let write = cas(lock("a"), last, "after");
        last = settled(&store, write).await;
        let mut interrupted = false;
        loop {
            match deliveries.next().await.unwrap() {
                Delivery::Interrupted(_) => interrupted = true,
                Delivery::Entry(entry) => {
                    assert_eq!((entry.key, entry.revision), (lock("a"), last), "each record once");
                    break;
                }
            }
        }
        // The second restart may find it still making a consumer after the first.
        assert!(interrupted || round > 0, "a follower is told of the gap");
    }
}

/// Relying on a new consumer alone took up to 13 s here, while the server could make none. It is about 2.5 s now.
#[tokio::test]
async fn following_survives_the_server_that_hosts_its_consumer() {
    let mut cluster = NatsCluster::start().await;
    let connection = connect(&cluster.options()).await.unwrap();
    let store = open(&connection, &BucketConfig { replicas: 3, ..bucket("test") }).await;
    let mut deliveries = answered(store.follow().await);
    let first = written(&store, cas(lock("a"), Revision::NONE, "before")).await;
    assert_eq!(next_entry(&mut deliveries).await.revision, first);
    cluster.nodes[consumer_host(&connection, "KV_test").await].kill();
    let last = settled(&store, cas(lock("a"), first, "after")).await;
    let delivered = within(&SystemClock, Duration::from_secs(8), next_entry(&mut deliveries)).await;
    assert_eq!(delivered.expect("soon").revision, last);
}

/// The number of the node that hosts the one consumer of a stream.
async fn consumer_host(connection: &Connection, stream: &str) -> usize {
    let ask = async |call: String| -> Value {
        let answer = connection.client().request(format!("$JS.API.CONSUMER.{call}"), Bytes::new()).await;
        serde_json::from_slice(&answer.unwrap().payload).unwrap()
    };
    let names = ask(format!("NAMES.{stream}")).await;
    let info = ask(format!("INFO.{stream}.{}", names["consumers"][0].as_str().unwrap())).await;
    info["cluster"]["leader"].as_str().and_then(|name| name.strip_prefix('n')?.parse().ok()).unwrap()
}

#[tokio::test]
async fn a_write_into_a_dead_server_is_unknown_and_can_be_settled() {
    let mut server = NatsServer::start().await;
    let store = served(&server).await;
    let before = written(&store, cas(lock("a"), Revision::NONE, "before")).await;
    server.pause().await;
    let write = cas(lock("a"), before, "attempt 1");
    assert_eq!(store.write(write.clone()).await, WriteOutcome::Unknown);
    server.unpause();
    settled(&store, write.clone()).await;
    server.kill();
    let write = Write { expected: None, ..write };
    assert_eq!(store.write(write).await, WriteOutcome::Unknown);
    server.resume().await;
}

/// S7: the same write again until it is known what became of it.
async fn settled(store: &NatsStore, write: Write) -> Revision {
    let mut revision = None;
    eventually("the write is settled", async || {
        match store.write(write.clone()).await {
            WriteOutcome::Acknowledged(done) => revision = Some(done),
            WriteOutcome::Mismatch(Some(named)) => {
                let entry = answered(store.read_at(named).await).unwrap();
                assert_eq!(entry.value.as_ref(), Some(&write.value), "an earlier copy of this write");
                revision = Some(named);
            }
            WriteOutcome::Unknown | WriteOutcome::NotNow => {}
            other => panic!("{other:?}"),
        }
        revision.is_some()
    })
    .await;
    revision.unwrap()
}

/// A consumer may be on a replica that has not caught up. Then it delivers records that are overwritten already, and
/// what overwrote them before the epoch that was written last (S5).
#[tokio::test]
async fn a_replica_that_lags_loses_no_record() {
    const STALL: Duration = Duration::from_millis(50);
    const LOCKS: usize = 300;
    let cluster = NatsCluster::start().await;
    let config = BucketConfig { replicas: 3, ..bucket("test") };
    drop(open(&connect(&cluster.options()).await.unwrap(), &config).await);
    let leader = leader_of(&cluster.nodes[0]).await;
    // What the leader is asked does not pass through another.
    let at_leader = ConnectOptions { urls: vec![cluster.nodes[leader].url()], ..ConnectOptions::default() };
    let store = open(&connect(&at_leader).await.unwrap(), &config).await;
    let write = async |key: Key| {
        let write = Write { key: key.clone(), expected: None, value: "value".into(), ttl_seconds: None };
        (key, written(&store, write).await)
    };
    for round in 1..=12 {
        let follower = &cluster.nodes[(leader + 1 + round % 2) % 3];
        follower.pause().await;
        let locks = join_all((0..LOCKS).map(|number| write(lock(&format!("l.{number}"))))).await;
        let (_, epoch) = write(Key::Epoch).await;
        let stalled = async {
            SystemClock.sleep_until(SystemClock.now().boot + STALL).await;
            follower.unpause();
        };
        let (deliveries, ()) = join(store.follow(), stalled).await;
        let mut deliveries = answered(deliveries);
        let mut last = BTreeMap::new();
        while last.get(&Key::Epoch).is_none_or(|revision| *revision < epoch) {
            let entry = next_entry(&mut deliveries).await;
            let before = last.insert(entry.key, entry.revision);
            assert!(before.is_none_or(|before| before < entry.revision), "in order");
        }
        for (key, revision) in locks {
            assert_eq!(last.get(&key), Some(&revision), "the last of {key}");
        }
    }
}

/// Which node leads the stream.
async fn leader_of(node: &NatsServer) -> usize {
    let client = async_nats::connect(node.url()).await.unwrap();
    let answer = client.request("$JS.API.STREAM.INFO.KV_test", "".into()).await.unwrap();
    let info: Value = serde_json::from_slice(&answer.payload).unwrap();
    let name = info["cluster"]["leader"].as_str().expect("a stream in a cluster has a leader");
    name.trim_start_matches('n').parse().unwrap()
}
