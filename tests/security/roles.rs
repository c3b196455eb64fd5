//! Each role, both ways: what it may do works, what it may not is refused by the server.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use natslock::client::Watched;
use natslock::clock::{SystemClock, within};
use natslock::nats::{Connection, NatsTransport, connect};
use natslock::service::{Config, Coordinator};
use natslock::transport::{Transport as _, TransportError};

use super::Site;
use super::site::leading;
use crate::support::PATIENCE;
use crate::support::service::{acquire, lock, options, release};

/// What a user may publish to and may not, may subscribe to and may not.
struct Rights {
    user: &'static str,
    publishes: &'static [&'static str],
    not_publishes: &'static [&'static str],
    subscribes: &'static [&'static str],
    not_subscribes: &'static [&'static str],
}

/// What nobody may who is no coordinator.
const NOBODY_PUBLISHES: &[&str] = &[
    "$KV.natslock_default_0.lock.orders",
    "$KV.natslock_default_0.epoch",
    "$JS.API.INFO",
    "$JS.API.STREAM.INFO.KV_natslock_default_0",
    "$JS.API.STREAM.PURGE.KV_natslock_default_0",
    "$JS.API.STREAM.DELETE.KV_natslock_default_0",
    "$JS.API.STREAM.MSG.GET.KV_natslock_default_0",
    "$JS.API.STREAM.MSG.DELETE.KV_natslock_default_0",
    "$JS.API.DIRECT.GET.KV_natslock_default_0.$KV.natslock_default_0.lock.orders",
    "$JS.API.CONSUMER.CREATE.KV_natslock_default_0.x",
    "$JS.API.CONSUMER.MSG.NEXT.KV_natslock_default_0.x",
    "$JS.ACK.KV_natslock_default_0.x",
    "$JS.FC.KV_natslock_default_0.x",
    "$SYS.REQ.SERVER.PING",
    "$JS.API.STREAM.DELETE.KV_natslock_default_0_recovery.x",
    "$SRV.SCHEMA.natslock",
    "$SRV.PING.other",
    "natslock-event.default.released.orders",
    "natslock-event.default.leader.0",
    "natslock-int.default.heartbeat.0",
    "natslock-int.default.inbox.x",
    "natslock.other.acquire.alice.orders",
    "natslock.default.acquire-0.alice.orders",
    "natslock.default.acquire.nobody.orders",
    "natslock.default.renew.nobody",
    "_INBOX.alice.x",
    "_INBOX.bob.x",
    "_INBOX.nobody.x",
    "anything",
];

const NOBODY_SUBSCRIBES: &[&str] = &[
    ">",
    "*.>",
    "_INBOX.>",
    "_INBOX.*",
    "_INBOX.*.>",
    "_INBOX.nobody.>",
    "$KV.>",
    "$KV.natslock_default_0.>",
    "$JS.>",
    "$JS.API.>",
    "$SYS.>",
    "$SRV.>",
    "$SRV.PING",
    "natslock.>",
    "natslock.default.*.>",
    "natslock.default.acquire.>",
    "natslock-int.>",
    "natslock-int.default.inbox.>",
    "natslock-int.default.heartbeat.0",
    "natslock-event.>",
    "natslock-event.other.>",
    "anything",
];

const RIGHTS: &[Rights] = &[
    Rights {
        user: "alice",
        publishes: &[
            "natslock.default.acquire.alice.orders",
            "natslock.default.acquire.alice.orders.42.eu",
            "natslock.default.renew.alice.orders",
            "natslock.default.renew.alice",
            "natslock.default.release.alice.orders.42",
            "natslock.default.check.alice.orders",
            "natslock.default.info.alice",
        ],
        not_publishes: &[
            "natslock.default.acquire.alice",
            "natslock.default.acquire.alice.payroll",
            "natslock.default.acquire.alice.orders2",
            "natslock.default.check.alice.payroll",
            "natslock.default.release.bob.orders.1",
            "natslock.default.renew.bob",
            "natslock.default.list.alice",
            "natslock.default.list.bob",
            "natslock.default.stats.alice",
            "natslock.default.admin_release.alice.orders",
            "natslock-int.default.heartbeat.ask-0",
            "$SRV.PING.natslock",
        ],
        subscribes: &[
            "_INBOX.alice.>",
            "_INBOX.alice.x.*",
            "natslock-event.default.*.orders",
            "natslock-event.default.*.orders.>",
            "natslock-event.default.released.orders.42",
            "natslock-event.default.revoked.>",
            "natslock-event.default.leader.*",
        ],
        not_subscribes: &[
            "_INBOX.bob.>",
            "natslock-event.default.>",
            "natslock-event.default.released.>",
            "natslock-event.default.*.payroll",
            "natslock-event.default.*.payroll.>",
        ],
    },
    Rights {
        user: "bob",
        publishes: &[
            "natslock.default.acquire.bob.orders.1",
            "natslock.default.acquire.bob.payroll.march",
            "natslock.default.list.bob",
            "natslock.default.stats.bob",
        ],
        not_publishes: &[
            "natslock.default.acquire.bob.orders",
            "natslock.default.acquire.bob.payroll.march.x",
            "natslock.default.list.alice",
            "natslock.default.admin_release.bob.orders.1",
        ],
        subscribes: &["_INBOX.bob.>", "natslock-event.default.>", "natslock-event.default.*.attic"],
        not_subscribes: &["_INBOX.alice.>"],
    },
    Rights {
        user: "observer",
        publishes: &[
            "natslock.default.check.observer.orders",
            "natslock.default.check.observer.payroll.march",
            "natslock.default.list.observer",
            "natslock.default.stats.observer",
            "natslock.default.info.observer",
            "$SRV.PING",
            "$SRV.INFO.natslock",
            "$SRV.STATS.natslock.00000000000000ab",
        ],
        not_publishes: &[
            "natslock.default.acquire.observer.orders",
            "natslock.default.renew.observer.orders",
            "natslock.default.renew.observer",
            "natslock.default.release.observer.orders",
            "natslock.default.admin_release.observer.orders",
            "natslock.default.check.alice.orders",
            "natslock.default.list.alice",
        ],
        subscribes: &["_INBOX.observer.>", "natslock-event.default.>", "natslock-event.default.released.>"],
        not_subscribes: &["_INBOX.alice.>"],
    },
    Rights {
        user: "operator",
        publishes: &[
            "natslock.default.admin_release.operator.orders",
            "natslock.default.admin_release.operator.payroll.march",
            "natslock.default.check.operator.orders",
            "natslock.default.list.operator",
            "natslock.default.stats.operator",
            "natslock.default.info.operator",
            "$SRV.PING.natslock",
        ],
        not_publishes: &[
            "natslock-int.default.heartbeat.ask-0",
            "natslock.default.acquire.operator.orders",
            "natslock.default.release.operator.orders",
            "natslock.default.renew.operator",
            "natslock.default.admin_release.alice.orders",
        ],
        subscribes: &["_INBOX.operator.>", "natslock-event.default.>"],
        not_subscribes: &["_INBOX.alice.>"],
    },
];

/// An operator that may recover reaches the store, unlike all above.
const MENDER: Rights = Rights {
    user: "mender",
    publishes: &[
        "natslock.default.admin_release.mender.orders",
        "natslock-int.default.heartbeat.ask-0",
        "$KV.natslock_default_0_recovery.lock.a",
        "$JS.API.STREAM.INFO.KV_natslock_default_0",
        "$JS.API.STREAM.DELETE.KV_natslock_default_0_recovery",
    ],
    not_publishes: &[
        "$JS.API.STREAM.DELETE.KV_natslock_default_0",
        "$JS.API.STREAM.CREATE.KV_natslock_default_0",
        "$JS.API.STREAM.PURGE.KV_natslock_default_0_recovery",
        "$JS.API.STREAM.INFO.other",
        "$JS.API.CONSUMER.CREATE.KV_natslock_default_0.x",
        "$KV.other.a",
        "natslock-int.default.heartbeat.0",
        "natslock-event.default.released.orders",
        "natslock.default.acquire.mender.orders",
        "natslock.default.admin_release.alice.orders",
        "_INBOX.alice.x",
    ],
    subscribes: &["_INBOX.mender.>"],
    not_subscribes: &["_INBOX.alice.>"],
};

#[tokio::test]
async fn coordinators_are_found_by_those_who_may_look_for_them() {
    let site = Site::start("secure.conf").await;
    let coordinator = site.serve(Config::default().reply_per_owner(true)).await;
    for (user, finds) in [("observer", true), ("operator", true), ("bob", true), ("alice", false)] {
        let connection = connect(&site.options(user)).await.unwrap();
        let asked = connection.client().request("$SRV.PING.natslock", "".into());
        let denied = connection.denied(|subject| subject == "$SRV.PING.natslock");
        let found = tokio::select! {
            answer = asked => serde_json::from_slice(&answer.unwrap().payload).unwrap(),
            _ = denied => serde_json::Value::Null,
        };
        assert_eq!(found["metadata"]["role"] == "leading", finds, "{user}: {found}");
    }
    coordinator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_recovers_only_where_it_may() {
    let site = Site::start("secure.conf").await;
    let coordinator = site.serve(Config::default().leader_lease(Duration::from_secs(2))).await;
    let alice = site.client("alice").await;
    let kept = acquire(&alice, &lock("orders.kept"), &options(3_600_000, 0)).await;
    let auditor = connect(&site.auditor()).await.unwrap();
    let subject = "$KV.natslock_default_0.lock.orders.garbled";
    auditor.client().request(subject, "no record of ours".into()).await.unwrap();
    let run = async |user: &str, words: &[&str]| {
        let program = site.program(user);
        let words: Vec<String> =
            ["admin", "recover"].iter().chain(words).map(|word| (*word).to_owned()).collect();
        tokio::task::spawn_blocking(move || {
            program.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .await
        .unwrap()
    };
    for words in [&["orders.garbled", "--yes"][..], &["--force", "--yes", "--wait", "0s"]] {
        let refused = run("operator", words).await;
        assert_eq!(refused.code, 3, "{}{}", refused.stdout, refused.stderr);
        let hint = "admin permissions --role operator --may-recover";
        assert!(
            refused.stderr.contains("no permission to") && refused.stderr.contains(hint),
            "{}",
            refused.stderr
        );
    }
    run("mender", &["orders.garbled", "--yes"]).await.done();
    assert!(alice.caller().view(&lock("orders.garbled")).await.unwrap().is_none());
    let done = run("mender", &["--force", "--yes", "--wait", "0s", "--json"]).await.done().json();
    assert_eq!((&done["status"], &done["leading"]), (&"recovered".into(), &true.into()), "{done}");
    // The record and its holder are as before, and tokens begin anew above all others.
    let view = alice.caller().view(&kept.name).await.unwrap().expect("it is held");
    assert_eq!(view.holders[0].token, kept.token);
    let next = acquire(&alice, &lock("orders.next"), &options(30_000, 10_000)).await;
    assert!(next.token.get() >= done["first_token"].as_u64().unwrap(), "{done}");
    coordinator.shutdown().await;
}

/// A subject that no user may publish to. Refusals come in order, so when it is refused, all before it were.
const CANARY: &str = "canary";

/// Whether the server lets this connection publish to a subject. (Each is asked about once a connection.)
async fn may_publish(connection: &Connection, subject: &str, round: usize) -> bool {
    let canary = format!("{CANARY}.{round}");
    for subject in [subject, canary.as_str()] {
        connection.client().publish(subject.to_owned(), "".into()).await.unwrap();
    }
    let refused = within(&SystemClock, PATIENCE, connection.denied(|subject| subject == canary)).await;
    assert!(refused.is_some(), "the canary is refused");
    connection.denied(|denied| denied == subject).now_or_never().is_none()
}

async fn may_subscribe(connection: &Connection, subject: &str) -> bool {
    match NatsTransport::new(connection.clone()).subscribe(subject.to_owned()).await {
        Ok(_) => true,
        Err(TransportError::Refused(_)) => false,
        Err(error) => panic!("{subject}: {error}"),
    }
}

async fn check(site: &Site, rights: &Rights) {
    let Rights { user, publishes, not_publishes, subscribes, not_subscribes } = rights;
    let connection = connect(&site.options(user)).await.unwrap();
    let mut round = 0..;
    for subject in *publishes {
        assert!(may_publish(&connection, subject, round.next().unwrap()).await, "{user} to {subject}");
    }
    let nobody = if *user == MENDER.user { &[][..] } else { NOBODY_PUBLISHES };
    for subject in not_publishes.iter().chain(nobody) {
        assert!(!may_publish(&connection, subject, round.next().unwrap()).await, "{user} to {subject}");
    }
    for subject in *subscribes {
        assert!(may_subscribe(&connection, subject).await, "{user} on {subject}");
    }
    for subject in not_subscribes.iter().chain(NOBODY_SUBSCRIBES) {
        assert!(!may_subscribe(&connection, subject).await, "{user} on {subject}");
    }
}

#[tokio::test]
async fn those_who_ask_may_do_what_their_role_says_and_nothing_else() {
    let site = Site::start("secure.conf").await;
    for rights in RIGHTS.iter().chain([&MENDER]) {
        check(&site, rights).await;
    }
}

#[tokio::test]
async fn a_coordinator_may_touch_its_bucket_only_and_its_front_not_even_that() {
    let site = Site::start("secure.conf").await;
    for (user, allowed, refused) in [
        (
            "coordinator",
            &["$KV.natslock_default_0.lock.a", "_INBOX.alice.x", "natslock-event.default.leader.0"][..],
            &["natslock.default.release.alice.orders", "$JS.API.STREAM.DELETE.KV_natslock_default_0"][..],
        ),
        (
            "front",
            &["_INBOX.alice.x", "natslock-event.default.leader.0", "natslock-int.default.heartbeat.0"][..],
            &["$KV.natslock_default_0.lock.a", "$JS.API.STREAM.INFO.KV_natslock_default_0"][..],
        ),
        (
            "store",
            &["$KV.natslock_default_0.lock.a", "$JS.API.STREAM.INFO.KV_natslock_default_0"][..],
            &["_INBOX.alice.x", "natslock-event.default.leader.0", "natslock-int.default.inbox.x"][..],
        ),
    ] {
        let connection = connect(&site.coordinator_options(user)).await.unwrap();
        let everybody_not = [
            "$KV.other.a",
            "$JS.API.STREAM.PURGE.KV_natslock_default_0",
            "$JS.API.STREAM.UPDATE.KV_natslock_default_0",
            "$JS.API.STREAM.INFO.other",
            "$SYS.REQ.SERVER.PING",
            "natslock.default.acquire.alice.orders",
        ];
        let cases = allowed.iter().map(|subject| (subject, true));
        let refused = refused.iter().chain(&everybody_not).map(|subject| (subject, false));
        for (round, (subject, may)) in cases.chain(refused).enumerate() {
            assert_eq!(may_publish(&connection, subject, round).await, may, "{user} to {subject}");
        }
    }
}

#[tokio::test]
async fn each_role_can_do_its_work() {
    let site = Site::start("secure.conf").await;
    // With one user, then with two, whose second term finds the records of the first.
    let one = site.coordinator_options("coordinator");
    let one = leading(Coordinator::connect(&one, Config::default(), 1).await.unwrap()).await;
    works(&site).await;
    one.shutdown().await;
    let two = site.serve(Config::default().reply_per_owner(true)).await;
    works(&site).await;
    two.shutdown().await;
}

async fn works(site: &Site) {
    let (alice, bob) = (site.client("alice").await, site.client("bob").await);
    let mut seen = alice.caller().watch(Watched::Below(&lock("orders"))).await.unwrap();
    let lease = acquire(&alice, &lock("orders.42"), &options(30_000, 0)).await;
    alice.caller().renew(&lease.name, lease.to_ref()).await.unwrap();
    assert!(alice.caller().view(&lease.name).await.unwrap().is_some());
    assert!(bob.try_acquire("orders.42").await.is_err(), "Alice holds it");
    // A guard waits, is granted by message and is renewed in the background; an operator takes it away.
    let waiting = tokio::spawn(async move { bob.acquire("orders.42").await.unwrap() });
    release(&alice, &lease).await;
    let guard = within(&SystemClock, PATIENCE, waiting).await.expect("in time").unwrap();
    assert!(within(&SystemClock, PATIENCE, seen.next()).await.flatten().is_some(), "an event is heard");
    let observer = site.client("observer").await;
    observer.caller().info().await.unwrap();
    observer.caller().list("", 10, None).await.unwrap();
    let operator = site.client("operator").await;
    operator.caller().admin_release(&lock("orders.42"), Some("it hangs".into())).await.unwrap();
    assert!(within(&SystemClock, Duration::from_secs(10), guard.lost()).await.is_some(), "it is told");
}
