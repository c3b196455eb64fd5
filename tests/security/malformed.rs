//! Bytes that no client library sends: whoever speaks to the server by himself can.

use crate::cli::program::Program;
use crate::support::raw::Raw;
use crate::support::service::{Service, acquire, lock, options, release};
use crate::support::{NatsServer, eventually};

/// A request whose subject or reply is not UTF-8, or with headers that are none. The server passes them all on.
const MALFORMED: &[(&str, &[u8])] = &[
    ("a subject that is not UTF-8", b"PUB natslock.default.check.eve.a\xff _INBOX.eve.x 0\r\n\r\n"),
    ("a reply that is not UTF-8", b"PUB natslock.default.check.eve.a _INBOX.eve.\xff 0\r\n\r\n"),
    (
        "a header without a colon",
        b"HPUB natslock.default.check.eve.a _INBOX.eve.x 17 17\r\nNATS/1.0\r\nabc\r\n\r\n\r\n",
    ),
    (
        "a first line of another protocol",
        b"HPUB natslock.default.check.eve.a _INBOX.eve.x 12 12\r\nJUNK/1.0\r\n\r\n\r\n",
    ),
    (
        "a status that is none",
        b"HPUB natslock.default.check.eve.a _INBOX.eve.x 16 16\r\nNATS/1.0 abc\r\n\r\n\r\n",
    ),
    (
        "a header that is not UTF-8",
        b"HPUB natslock.default.check.eve.a _INBOX.eve.x 19 19\r\nNATS/1.0\r\na: \xff\xfe\r\n\r\n\r\n",
    ),
    (
        "a space that only Unicode knows, in the subject",
        b"HPUB natslock.default.check.eve.a\xc2\xa0b _INBOX.eve.x 12 12\r\nNATS/1.0\r\n\r\n\r\n",
    ),
];

/// The library for NATS ends its connection where it cannot read a message, and comes back at once. So one costs a
/// moment, and nobody a lock. (Many, one after another, keep the coordinator away: the README says so.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_cannot_be_read_costs_a_moment_and_nobody_a_lock() {
    let service = Service::start().await;
    let alice = service.client("alice").await;
    let guard = alice.acquire("kept").await.unwrap();
    let epoch = service.wire().await.json("natslock.default.info.alice", "").await["epoch"].clone();
    let mut raw = Raw::connect(&service.server);
    for (what, bytes) in MALFORMED {
        raw.send(bytes);
        raw.settle();
        let lease = acquire(&alice, &lock("theirs"), &options(10_000, 0)).await;
        release(&alice, &lease).await;
        assert!(guard.is_valid(), "{what}");
    }
    let view = alice.caller().view(guard.name()).await.unwrap().expect("it is held");
    assert_eq!(view.holders[0].token, guard.token());
    let now = service.wire().await.json("natslock.default.info.alice", "").await["epoch"].clone();
    assert_eq!(now, epoch, "nobody had to take over");
    guard.release().await;
}

#[tokio::test]
async fn a_coordinator_that_is_cut_off_again_and_again_says_why_that_may_be() {
    let server = NatsServer::start().await;
    let mut serving = Program::new(&server.url()).start(&["serve"]);
    serving.told_until("leading");
    let mut raw = Raw::connect(&server);
    let mut told = String::new();
    eventually("it says so", async || {
        raw.send(MALFORMED[0].1);
        raw.settle();
        told += &serving.told_so_far();
        told.contains("ten times within a minute")
    })
    .await;
}
