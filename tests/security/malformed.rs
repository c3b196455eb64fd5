//! Bytes that no client library sends: whoever speaks to the server by himself can.

use crate::cli::program::Program;
use crate::support::NatsServer;
use crate::support::raw::Raw;
use crate::support::service::{Service, acquire, client, lock, options, release};

/// A request whose subject or reply is not UTF-8, or with headers that are none, and what of its answer there is. The
/// server passes them all on.
const MALFORMED: &[(&str, &[u8], &str)] = &[
    (
        "a subject that is not UTF-8",
        b"PUB natslock.default.check.eve.a\xff _INBOX.eve.x 0\r\n\r\n",
        r#""code":"invalid_name""#,
    ),
    (
        "a verb that is not UTF-8",
        b"PUB natslock.default.\xfe.eve.a _INBOX.eve.x 0\r\n\r\n",
        r#""code":"bad_request""#,
    ),
    (
        "a space that only Unicode knows, in a subject",
        b"HPUB natslock.default.check.eve.a\xc2\xa0b _INBOX.eve.x 12 12\r\nNATS/1.0\r\n\r\n\r\n",
        r#""code":"invalid_name""#,
    ),
    ("a reply that is not UTF-8", b"PUB natslock.default.check.eve.a _INBOX.eve.\xff 0\r\n\r\n", ""),
    // What is in headers is not looked at.
    (
        "a header without a colon",
        b"HPUB natslock.default.check.eve.a _INBOX.eve.x 17 17\r\nNATS/1.0\r\nabc\r\n\r\n\r\n",
        r#""status":"free""#,
    ),
    (
        "a first line of another protocol",
        b"HPUB natslock.default.check.eve.a _INBOX.eve.x 12 12\r\nJUNK/1.0\r\n\r\n\r\n",
        r#""status":"free""#,
    ),
    (
        "a status that is none, and a body",
        b"HPUB natslock.default.check.eve.a _INBOX.eve.x 16 18\r\nNATS/1.0 abc\r\n\r\n{}\r\n",
        r#""status":"free""#,
    ),
    (
        "a header that is not UTF-8",
        b"HPUB natslock.default.check.eve.a _INBOX.eve.x 19 19\r\nNATS/1.0\r\na: \xff\xfe\r\n\r\n\r\n",
        r#""status":"free""#,
    ),
];

#[tokio::test]
async fn bytes_that_are_no_message_are_refused_and_counted_like_all_that_makes_no_sense() {
    let service = Service::start().await;
    let mut wire = service.wire().await;
    let mut raw = Raw::connect(&service.server);
    raw.send(b"SUB _INBOX.eve.> 1\r\n");
    let mut refused = 0;
    for (what, bytes, expected) in MALFORMED {
        raw.send(bytes);
        raw.settle();
        // The coordinator works in order: when this is answered, so was what came before.
        let stats = wire.json("natslock.default.stats.alice", "").await;
        let said = raw.settle();
        assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{what}: {said}");
        refused += usize::from(!expected.contains("free"));
        let counts = stats["total"]["refusals"].as_object().unwrap().values();
        assert_eq!(
            counts.map(|count| count.as_u64().unwrap()).sum::<u64>(),
            refused as u64,
            "{what}: {stats}"
        );
    }
}

/// One after another: others go on as if nothing was, and no connection ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_message_cut_nobody_off() {
    let server = NatsServer::start().await;
    let mut serving = Program::new(&server.url()).start(&["serve"]);
    serving.told_until("leading");
    let alice = client(&server.url(), "alice").await;
    let guard = alice.acquire("kept").await.unwrap();
    let all: Vec<u8> = MALFORMED.iter().flat_map(|(_, bytes, _)| *bytes).copied().collect();
    let mut raw = Raw::connect(&server);
    for _ in 0..200 {
        raw.send(&all);
        raw.settle();
        let lease = acquire(&alice, &lock("theirs"), &options(10_000, 0)).await;
        release(&alice, &lease).await;
    }
    assert!(guard.is_valid());
    guard.release().await;
    let told = serving.told_so_far();
    assert!(!told.contains("disconnected") && !told.contains("not heard"), "{told}");
}
