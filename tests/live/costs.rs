//! What an operation costs: counted on the wire, where every write of a record is a message.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use natslock::client::{Client, Lease};
use natslock::clock::{Clock as _, SystemClock, within};
use natslock::engine::message::Ask;
use natslock::transport::Message;
use natslock::wire::Format;
use natslock::wire::reply::{Answer, decode};
use natslock::wire::request::encode;

use crate::support::service::{Service, Wire, acquire, lock, options, release};

/// Counts what is published below a subject.
struct Tap {
    messages: BoxStream<'static, Message>,
    marks: BoxStream<'static, Message>,
    wire: Wire,
}

impl Tap {
    /// `below` ends in `.>`.
    async fn new(service: &Service, below: &str) -> Self {
        let wire = service.wire().await;
        let (messages, marks) = (wire.subscribe(below).await, wire.subscribe("mark").await);
        Self { messages, marks, wire }
    }

    /// What was published since the last count, without the first two tokens of the subject. One connection
    /// gets its messages in the order in which the server saw them, so when the mark has come, all before it
    /// has.
    async fn count(&mut self) -> BTreeMap<String, usize> {
        self.wire.send("mark", None, Bytes::new()).await;
        self.marks.next().await.unwrap();
        let mut counts = BTreeMap::new();
        while let Some(Some(message)) = self.messages.next().now_or_never() {
            let tokens: Vec<_> = message.subject.split('.').skip(2).collect();
            *counts.entry(tokens.join(".")).or_default() += 1;
        }
        counts
    }

    /// Waits for these writes; there may be no others.
    async fn await_writes(&mut self, expected: &BTreeMap<String, usize>, what: &str) {
        let mut counts = BTreeMap::new();
        crate::support::eventually(what, async || {
            for (key, count) in self.writes().await {
                *counts.entry(key).or_default() += count;
            }
            assert!(
                counts.keys().all(|key| counts[key] <= *expected.get(key).unwrap_or(&0)),
                "{what}: {counts:?}"
            );
            counts == *expected
        })
        .await;
    }

    /// The same without the leader's own sign of life.
    async fn writes(&mut self) -> BTreeMap<String, usize> {
        let mut counts = self.count().await;
        counts.remove("lease");
        counts
    }
}

/// The sequence of the bucket's stream: what was really stored.
async fn stored(wire: &mut Wire) -> u64 {
    let info = wire.json("$JS.API.STREAM.INFO.KV_natslock_default_0", "").await;
    info["state"]["last_seq"].as_u64().unwrap()
}

fn written(name: &str, count: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([(format!("lock.{name}"), count)])
}

#[tokio::test]
async fn an_uncontended_pair_costs_two_writes_and_a_hand_over_one() {
    let service = Service::start().await;
    let (alice, bob) = (service.client("alice").await, service.client("bob").await);
    let mut tap = Tap::new(&service, "$KV.natslock_default_0.>").await;
    let mut wire = service.wire().await;
    let name = lock("orders.1");
    tap.count().await;
    let before = stored(&mut wire).await;

    let lease = acquire(&alice, &name, &options(30_000, 0)).await;
    assert_eq!(tap.writes().await, written("orders.1", 1), "acquire");
    release(&alice, &lease).await;
    // It is answered before.
    tap.await_writes(&written("orders.1", 1), "the write of the release").await;

    let lease = acquire(&alice, &name, &options(30_000, 0)).await;
    let waiting = {
        let (bob, name) = (bob.clone(), name.clone());
        tokio::spawn(async move { acquire(&bob, &name, &options(30_000, 20_000)).await })
    };
    crate::support::eventually("bob waits", async || {
        alice.caller().view(&name).await.unwrap().is_some_and(|view| view.waiter_count == 1)
    })
    .await;
    tap.count().await;
    release(&alice, &lease).await;
    let handed = waiting.await.unwrap();
    assert_eq!(tap.writes().await, written("orders.1", 1), "a hand-over is one write in all");
    assert!(handed.token > lease.token);
    for _ in 0..10 {
        bob.caller().renew(&name, handed.to_ref()).await.unwrap();
    }
    assert!(tap.writes().await.is_empty(), "a renewal writes nothing");
    // What was published is what was stored: acquire, release, acquire, hand-over, and the leader's leases.
    let leases = stored(&mut wire).await - before - 4;
    assert!(leases <= 1, "{leases} lease writes");
}

#[tokio::test]
async fn a_detached_release_is_one_message_without_an_answer() {
    let service = Service::start().await;
    let alice = service.client("alice").await;
    let mut requests = Tap::new(&service, "natslock.default.>").await;
    let guard = alice.acquire("orders.3").await.unwrap();
    let token = guard.token();
    requests.count().await;
    guard.release_detached();
    let again = alice.acquire("orders.3").await.unwrap();
    assert!(again.token() > token, "the lock is free, or will be: one who asks later comes after it");
    let asked: Vec<_> = requests.count().await.into_keys().collect();
    assert_eq!(asked, ["acquire.alice.orders.3", "release.alice.orders.3"]);
    again.release().await;
}

#[tokio::test]
async fn a_waiting_client_asks_nobody() {
    let service = Service::start().await;
    let (alice, bob) = (service.client("alice").await, service.client("bob").await);
    let name = lock("orders.2");
    let lease = acquire(&alice, &name, &options(30_000, 0)).await;
    let mut requests = Tap::new(&service, "natslock.default.>").await;
    let mut api = Tap::new(&service, "$JS.API.>").await;
    let waiting = tokio::spawn(async move { acquire(&bob, &name, &options(30_000, 20_000)).await });
    crate::support::eventually("bob waits", async || {
        requests.count().await.keys().any(|key| key.starts_with("acquire.bob"))
    })
    .await;
    api.count().await;
    SystemClock.sleep_until(SystemClock::boot() + Duration::from_secs(4)).await;
    assert!(requests.count().await.is_empty(), "no request in four seconds of waiting");
    // The leader asks for the next record when one has come, and for those behind it: twice for each write of its own.
    let asked = api.count().await;
    assert!(asked.keys().all(|key| key.starts_with("CONSUMER.MSG.NEXT.")), "{asked:?}");
    assert!(asked.values().sum::<usize>() <= 4, "and nobody polls the store: {asked:?}");
    release(&alice, &lease).await;
    waiting.await.unwrap();
}

#[tokio::test]
async fn a_thousand_held_locks_add_only_the_leaders_own_writes() {
    const LOCKS: usize = 1_000;
    const SECONDS: u64 = 30;
    let service = Service::start().await;
    let alice = service.client("alice").await;
    let mut leases = Vec::new();
    for number in 0..LOCKS {
        leases.push(acquire(&alice, &lock(&format!("held.{number}")), &options(5_000, 0)).await);
    }
    let mut tap = Tap::new(&service, "$KV.natslock_default_0.>").await;
    let mut wire = service.wire().await;
    tap.count().await;
    let before = stored(&mut wire).await;
    let until = SystemClock::boot() + Duration::from_secs(SECONDS);
    while SystemClock::boot() < until {
        renew_all(&mut wire, &leases).await;
        SystemClock.sleep_until(SystemClock::boot() + Duration::from_millis(1_500)).await;
    }
    let counts = tap.count().await;
    let added = stored(&mut wire).await - before;
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["lease"], "nothing else is written");
    // Every four seconds, with the default leadership lease of twelve.
    assert!((6..=9).contains(&added), "{added} writes in {SECONDS} s");
    still_held(&alice, &leases).await;
}

/// One message for all of them.
async fn renew_all(wire: &mut Wire, leases: &[Lease]) {
    let ask = Ask::RenewMany { leases: leases.iter().map(Lease::to_ref).collect() };
    let answer = wire.request("natslock.default.renew.alice", encode(Format::MessagePack, &ask)).await;
    let Ok((_, Answer::RenewedMany { renewed, lost })) = decode(&answer) else { panic!("{answer:?}") };
    assert_eq!((renewed.len(), lost.len()), (leases.len(), 0));
}

async fn still_held(client: &Client, leases: &[Lease]) {
    let checked = within(&SystemClock, Duration::from_secs(20), async {
        for lease in leases {
            let view = client.caller().view(&lease.name).await.unwrap().expect("held");
            assert_eq!(view.holders[0].token, lease.token);
        }
    });
    assert!(checked.await.is_some());
}
