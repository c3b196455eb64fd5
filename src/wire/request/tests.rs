//! Round trips, and bad inputs with the answers that they must get.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::engine::message::Acquire;
use crate::types::{Claim, LeaseId, Token, Ttl, Wait};
use crate::wire::arbitrary;

const ACQUIRE: &str = "natslock.prod.acquire.alice.orders.42";
const RENEW: &str = "natslock.prod.renew.alice.orders.42";
const RENEW_MANY: &str = "natslock.prod.renew.alice";
const RELEASE: &str = "natslock.prod.release.alice.orders.42";
const CHECK: &str = "natslock.prod.check.alice.orders.42";
const LIST: &str = "natslock.prod.list.alice";
const STATS: &str = "natslock.prod.stats.alice";
const ADMIN_RELEASE: &str = "natslock.prod.admin_release.root.orders.42";
const INFO: &str = "natslock.prod.info.alice";

fn space() -> SubjectSpace {
    SubjectSpace::new("prod".parse().unwrap())
}

fn pack(body: &Value) -> Vec<u8> {
    rmp_serde::to_vec(body).unwrap()
}

/// Decodes the body in both formats, which must agree.
fn both(subject: &str, body: &Value) -> Result<Asked, Refusal> {
    let in_json = decode(&space(), subject, body.to_string().as_bytes());
    let packed = decode(&space(), subject, &pack(body));
    let format = |result: &Result<Decoded, Rejected>| match result {
        Ok(decoded) => decoded.format,
        Err(rejected) => rejected.format,
    };
    assert_eq!((format(&in_json), format(&packed)), (Format::Json, Format::MessagePack), "{body}");
    match (in_json, packed) {
        (Ok(in_json), Ok(_)) => Ok(in_json.asked),
        (Err(in_json), Err(packed)) => {
            assert_eq!(in_json.refusal, packed.refusal, "{body}");
            Err(in_json.refusal)
        }
        (in_json, packed) => panic!("{body}: {in_json:?} but {packed:?}"),
    }
}

#[track_caller]
fn refused(subject: &str, body: &Value, code: Code, message: &str) {
    match both(subject, body) {
        Ok(asked) => panic!("{subject} {body} was taken: {asked:?}"),
        Err(refusal) => {
            assert_eq!(refusal.code, code, "{subject} {body}: {}", refusal.message);
            assert!(refusal.message.contains(message), "{subject} {body}: {}", refusal.message);
        }
    }
}

fn code(subject: &str, body: &[u8]) -> Code {
    match decode(&space(), subject, body) {
        Ok(decoded) => panic!("{subject} was taken: {decoded:?}"),
        Err(rejected) => rejected.refusal.code,
    }
}

fn acquire(body: &Value) -> Acquire {
    match both(ACQUIRE, body) {
        Ok(Asked::Engine(Ask::Acquire(acquire))) => acquire,
        other => panic!("{body}: {other:?}"),
    }
}

/// Everything of an ask, the hidden ids too.
fn told(ask: &Ask) -> String {
    let ids: Vec<&str> = match ask {
        Ask::Acquire(acquire) => vec![acquire.id.reveal()],
        Ask::Renew { lease, .. } | Ask::Release { lease, .. } => vec![lease.id.reveal()],
        Ask::RenewMany { leases } => leases.iter().map(|lease| lease.id.reveal()).collect(),
        Ask::Check { .. } | Ask::List { .. } | Ask::AdminRelease { .. } => Vec::new(),
    };
    format!("{ask:?} {ids:?}")
}

#[test]
fn an_empty_body_is_all_defaults() {
    for (body, format) in [
        (&b""[..], Format::Json),
        (b"{}", Format::Json),
        (b" \n{ }", Format::Json),
        (b"\x80", Format::MessagePack),
    ] {
        let decoded = decode(&space(), ACQUIRE, body).unwrap();
        assert_eq!((decoded.format, decoded.shard, decoded.owner.as_str()), (format, None, "alice"));
        let Asked::Engine(Ask::Acquire(acquire)) = decoded.asked else { panic!("no acquire") };
        assert_eq!(acquire.name.as_str(), "orders.42");
        assert_eq!((acquire.claim, acquire.ttl, acquire.wait), (Claim::Exclusive, Ttl::default(), Wait::TRY));
        assert_eq!((acquire.note, acquire.progress), (None, false));
        assert_eq!(acquire.id.reveal().len(), 36, "a UUID is made");
    }
    assert!(matches!(decode(&space(), INFO, b"").unwrap().asked, Asked::Info));
}

#[test]
fn every_field_of_acquire_is_read() {
    let body = json!({"v": 1, "id": "a-B_9", "mode": "shared", "ttl_ms": 86_400_000, "wait_ms": 86_400_000,
        "note": "é\n", "progress": true, "direct": true, "owner": "mallory", "later": [{"a": null}]});
    let shared = acquire(&body);
    assert_eq!((shared.id.reveal(), shared.claim, shared.progress), ("a-B_9", Claim::Shared, true));
    assert_eq!((shared.ttl.as_millis(), shared.wait.get().as_millis()), (86_400_000, 86_400_000));
    assert_eq!(shared.note.unwrap().as_str(), "é\n");
    let permits = |body: &Value| acquire(body).claim.permits().map(|held| (held.permits(), held.capacity()));
    assert_eq!(permits(&json!({"capacity": 5})), Some((1, 5)));
    assert_eq!(permits(&json!({"capacity": 1000, "permits": 1000, "mode": null})), Some((1000, 1000)));
    assert_eq!(acquire(&json!({"mode": "exclusive", "id": null})).claim, Claim::Exclusive);
}

#[test]
fn claims_that_make_no_sense_are_bad_requests() {
    let bad = |body: Value, message: &str| refused(ACQUIRE, &body, Code::BadRequest, message);
    bad(json!({"mode": "both"}), "\"mode\" must be exclusive or shared, not \"both\"");
    bad(json!({"mode": "counting"}), "asked for with \"capacity\"");
    bad(json!({"mode": 1}), "\"mode\" must be a text, not 1");
    bad(json!({"mode": "shared", "capacity": 2}), "\"mode\" does not go with");
    bad(json!({"mode": "exclusive", "permits": 1}), "\"mode\" does not go with");
    bad(json!({"permits": 1}), "\"permits\" needs the \"capacity\"");
    bad(json!({"permits": 3, "capacity": 2}), "permits must be 1 to the capacity of 2, not 3");
    bad(json!({"permits": 0, "capacity": 2}), "permits must be 1 to the capacity of 2, not 0");
    bad(json!({"permits": -1, "capacity": 2}), "\"permits\" must be at least 1, not -1");
    bad(json!({"capacity": 0}), "capacity must be 1 to 1000, not 0");
    bad(json!({"capacity": 1001}), "capacity must be 1 to 1000, not 1001");
    bad(json!({"capacity": u64::MAX}), "capacity must be 1 to 1000, not 18446744073709551615");
    bad(json!({"capacity": 1.0}), "\"capacity\" must be an integer, not 1.0");
}

#[test]
fn spans_are_integers_within_their_limits() {
    for ms in [json!(0), json!(1), json!(999), json!(86_400_001), json!(u64::MAX), json!(-1), json!(i64::MIN)]
    {
        let message = format!("\"ttl_ms\" must be 1000 to 86400000, not {ms}");
        refused(ACQUIRE, &json!({"ttl_ms": ms}), Code::InvalidTtl, &message);
    }
    for ms in [json!(86_400_001), json!(u64::MAX), json!(-1), json!(i64::MIN)] {
        let message = format!("\"wait_ms\" must be 0 to 86400000, not {ms}");
        refused(ACQUIRE, &json!({"wait_ms": ms}), Code::InvalidWait, &message);
        let message = format!("\"keep_ms\" must be 0 to 86400000, not {ms}");
        refused(RELEASE, &json!({"id": "a", "keep_ms": ms}), Code::InvalidTtl, &message);
    }
    for bad in [json!(1.0), json!(1e300), json!("30000"), json!(true), json!([30_000]), json!({"ms": 1})] {
        refused(ACQUIRE, &json!({"ttl_ms": bad}), Code::BadRequest, "\"ttl_ms\" must be an integer, not ");
        refused(ACQUIRE, &json!({"wait_ms": bad}), Code::BadRequest, "\"wait_ms\" must be an integer, not ");
        let body = json!({"id": "a", "keep_ms": bad});
        refused(RELEASE, &body, Code::BadRequest, "\"keep_ms\" must be an integer, not ");
    }
    let limit = |ms: Value| both(ACQUIRE, &json!({"ttl_ms": ms})).unwrap_err().limit;
    assert_eq!((limit(json!(5)), limit(json!(u64::MAX))), (Some(1_000), Some(86_400_000)));
    let not_a_number = b"\x81\xa6ttl_ms\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00";
    assert_eq!(code(ACQUIRE, not_a_number), Code::BadRequest);
    assert_eq!(code(ACQUIRE, b"{\"ttl_ms\":NaN}"), Code::BadRequest);
    assert_eq!(code(ACQUIRE, b"{\"ttl_ms\":1e999}"), Code::BadRequest);
}

#[test]
fn the_other_fields_of_acquire_are_checked() {
    let bad = |body: Value, message: &str| refused(ACQUIRE, &body, Code::BadRequest, message);
    bad(json!({"id": ""}), "an id is 1 to 64");
    bad(json!({"id": "a.b"}), "an id is 1 to 64");
    bad(json!({"id": "a".repeat(65_536)}), "an id is 1 to 64");
    bad(json!({"id": 7}), "\"id\" must be a text, not 7");
    bad(json!({"note": "é".repeat(129)}), "a note has at most 256 bytes, this one has 258");
    bad(json!({"progress": "true"}), "\"progress\" must be true or false, not \"true\"");
    bad(json!({"direct": 1}), "\"direct\" must be true or false, not 1");
}

#[test]
fn renewals_name_their_leases() {
    let body = json!({"id": "a", "token": u64::MAX});
    let Ok(Asked::Engine(Ask::Renew { lease, .. })) = both(RENEW, &body) else { panic!("no renewal") };
    assert_eq!((lease.id.reveal(), lease.token), ("a", Some(Token::from_raw(u64::MAX))));
    let body = json!({"leases": [{"id": "a"}, {"id": "b", "token": 0}, {"id": "a"}]});
    let Ok(Asked::Engine(Ask::RenewMany { leases })) = both(RENEW_MANY, &body) else { panic!("no renewal") };
    let ids: Vec<_> = leases.iter().map(|lease| (lease.id.reveal(), lease.token.map(Token::get))).collect();
    assert_eq!(ids, [("a", None), ("b", Some(0)), ("a", None)], "an id may be there twice");
    refused(RENEW, &json!({}), Code::BadRequest, "\"id\" is missing");
    refused(
        RENEW,
        &json!({"id": "a", "token": -1}),
        Code::BadRequest,
        "\"token\" must be an integer from 0, not -1",
    );
    refused(
        RENEW,
        &json!({"id": "a", "token": "1"}),
        Code::BadRequest,
        "\"token\" must be an integer, not \"1\"",
    );
    let bad = |body: Value, message: &str| refused(RENEW_MANY, &body, Code::BadRequest, message);
    bad(json!({}), "renew needs \"leases\", or a name");
    bad(json!({"leases": []}), "\"leases\" must not be empty");
    bad(json!({"leases": {"id": "a"}}), "\"leases\" must be a list, not a map");
    bad(json!({"leases": ["a"]}), "leases[0]: must be a map, not \"a\"");
    bad(json!({"leases": [{"id": "a"}, {"token": 1}]}), "leases[1]: \"id\" is missing");
    bad(json!({"leases": [{"id": "a", "token": 1.5}]}), "leases[0]: \"token\" must be an integer, not 1.5");
}

#[test]
fn a_thousand_leases_fit_and_no_more() {
    let leases = |count: usize| {
        let lease = json!({"id": "i".repeat(64), "token": u64::MAX});
        json!({"leases": vec![lease; count]})
    };
    assert!(leases(LEASES_MAX).to_string().len() < BODY_BYTES_MAX);
    assert!(both(RENEW_MANY, &leases(LEASES_MAX)).is_ok());
    refused(RENEW_MANY, &leases(1_001), Code::TooLarge, "at most 1000 entries, not 1001");
}

#[test]
fn looking_is_bounded() {
    let limit = |subject: &str, body: Value| match both(subject, &body) {
        Ok(Asked::Engine(Ask::Check { limit, .. } | Ask::List { limit, .. })) => limit,
        Ok(Asked::Stats { top, .. }) => top,
        other => panic!("{body}: {other:?}"),
    };
    assert_eq!((limit(CHECK, json!({})), limit(LIST, json!({})), limit(STATS, json!({}))), (100, 100, 10));
    assert_eq!((limit(CHECK, json!({"limit": 1000})), limit(LIST, json!({"limit": 1}))), (1000, 1));
    assert_eq!((limit(STATS, json!({"top": 0})), limit(STATS, json!({"top": 1000}))), (0, 1000));
    for bad in [json!(0), json!(1001), json!(-1), json!(u64::MAX), json!(1.0)] {
        refused(CHECK, &json!({"limit": bad}), Code::BadRequest, "\"limit\" must be");
        refused(LIST, &json!({"limit": bad}), Code::BadRequest, "\"limit\" must be");
    }
    refused(STATS, &json!({"top": 1001}), Code::BadRequest, "\"top\" must be 0 to 1000, not 1001");
}

#[test]
fn lists_begin_where_they_are_told() {
    for prefix in ["", "a", "orders.", "orders.4", "=E8=AE", "a=", "a/b_-"] {
        let body = json!({"prefix": prefix, "after": "orders.42"});
        let Ok(Asked::Engine(Ask::List { prefix: decoded, after, .. })) = both(LIST, &body) else {
            panic!("{body}")
        };
        assert_eq!((decoded.as_str(), after.unwrap().as_str()), (prefix, "orders.42"));
    }
    for prefix in [".", ".a", "a..", "a*", ">", "a b", "订单", "a\r\n", &"a".repeat(256)] {
        refused(LIST, &json!({"prefix": prefix}), Code::InvalidName, "\"prefix\" must be the beginning");
        refused(STATS, &json!({"prefix": prefix}), Code::InvalidName, "\"prefix\" must be the beginning");
    }
    refused(LIST, &json!({"after": "a..b"}), Code::InvalidName, "empty tokens");
    refused(LIST, &json!({"after": "é"}), Code::InvalidName, "must be written as =C3");
    refused(LIST, &json!({"prefix": 1}), Code::BadRequest, "\"prefix\" must be a text, not 1");
}

#[test]
fn an_administrator_may_say_why() {
    let body = json!({"reason": "stuck since noon"});
    let Ok(Asked::Engine(Ask::AdminRelease { reason, .. })) = both(ADMIN_RELEASE, &body) else { panic!() };
    assert_eq!(reason.as_deref(), Some("stuck since noon"));
    let body = json!({"reason": "x".repeat(257)});
    refused(ADMIN_RELEASE, &body, Code::BadRequest, "\"reason\" has at most 256 bytes, not 257");
}

#[test]
fn bodies_that_are_no_maps_are_bad_requests() {
    for byte in 0..=u8::MAX {
        match (byte, decode(&space(), ACQUIRE, &[byte])) {
            (0x80, Ok(_)) => {}
            (_, Err(rejected)) => {
                assert_eq!(rejected.refusal.code, Code::BadRequest, "{byte:#x}");
                let packed = matches!(byte, 0x80..=0x8f | 0xde | 0xdf);
                assert_eq!(rejected.format == Format::MessagePack, packed, "{byte:#x}");
            }
            (_, Ok(decoded)) => panic!("{byte:#x} was taken: {decoded:?}"),
        }
    }
    for body in ["[]", "null", " ", "\"id\"", "1", "{} {}", "{}x", "{\"id\":\"a\",\"id\":\"a\"}", "{'id':1}"]
    {
        assert_eq!(code(ACQUIRE, body.as_bytes()), Code::BadRequest, "{body}");
    }
    let announced = [0x81, 0xa1, b'x', 0xdd, 0xff, 0xff, 0xff, 0xff, 0x01, 0x01];
    assert_eq!(code(ACQUIRE, &announced), Code::BadRequest);
    assert_eq!(code(ACQUIRE, &[0xdf, 0xff, 0xff, 0xff, 0xff, 0xa1, b'x', 1, 0xa1, b'y']), Code::BadRequest);
    assert_eq!(code(ACQUIRE, &[&b"{\"x\":"[..], &b"[".repeat(100_000)].concat()), Code::BadRequest);
}

#[test]
fn no_truncation_is_taken() {
    let body = json!({"v": 1, "id": "a-1", "capacity": 7, "permits": 2, "ttl_ms": 30_000, "wait_ms": 70_000,
        "note": "é", "progress": true, "x": {"y": [1.5, -7, null]}});
    let (text, packed) = (body.to_string(), pack(&body));
    for end in 1..text.len() {
        assert_eq!(code(ACQUIRE, &text.as_bytes()[..end]), Code::BadRequest, "{end} bytes of {text}");
    }
    for end in 1..packed.len() {
        assert_eq!(code(ACQUIRE, &packed[..end]), Code::BadRequest, "{end} bytes of {packed:x?}");
    }
}

#[test]
fn versions() {
    let of = |v: Value| both(CHECK, &json!({"v": v})).map_err(|refusal| refusal.code);
    assert!(of(json!(1)).is_ok() && of(json!(null)).is_ok());
    for version in [json!(0), json!(2), json!(255), json!(-1), json!(u64::MAX)] {
        let message = format!("version {version} of the protocol is not spoken here, only 1");
        refused(CHECK, &json!({"v": version}), Code::UnsupportedVersion, &message);
    }
    refused(CHECK, &json!({"v": "1"}), Code::BadRequest, "\"v\" must be an integer, not \"1\"");
    refused(CHECK, &json!({"v": 1.0}), Code::BadRequest, "\"v\" must be an integer, not 1.0");
}

#[test]
fn subjects_that_make_no_sense() {
    let of = |subject: &str| code(&format!("natslock.prod.{subject}"), b"");
    for bad in ["fetch.alice.a", "acquire-.alice.a", "acquire-70000.alice.a", "acquire-x.alice.a", "acquire"]
    {
        assert_eq!(of(bad), Code::BadRequest, "{bad}");
    }
    for missing in ["acquire.alice", "release.alice", "check.alice", "admin_release.alice"] {
        assert_eq!(of(missing), Code::BadRequest, "{missing}");
    }
    for superfluous in ["list.alice.a", "stats.alice.a", "info.alice.a", "info.alice."] {
        assert_eq!(of(superfluous), Code::BadRequest, "{superfluous}");
    }
    for owner in ["", "a=2eb", "a=", "*", "a b", &"a".repeat(65)] {
        assert_eq!(of(&format!("check.{owner}.a")), Code::InvalidName, "{owner:?}");
    }
    assert_eq!(code("natslock.other.check.alice.a", b""), Code::BadRequest);
    assert_eq!(code("", b""), Code::BadRequest);
}

#[test]
fn names_that_are_none_are_invalid() {
    let long = "a".repeat(256);
    let huge = "a".repeat(1 << 20);
    for name in [
        "",
        ".a",
        "a.",
        "a..b",
        "*",
        ">",
        "a.>.b",
        "a*",
        "a b",
        "a\tb",
        "a\r\nPUB x 0",
        "a\0b",
        "$KV.x",
        "$JS.API.x",
        "$SYS.x",
        "a%2Fb",
        "a=2Fb",
        "a=e9",
        "a=FF",
        "é",
        &long,
        &huge,
    ] {
        assert_eq!(
            code(&format!("natslock.prod.acquire.alice.{name}"), b""),
            Code::InvalidName,
            "{name:.20?}"
        );
    }
    let name = |encoded: &str| {
        let subject = format!("natslock.prod.check.alice.{encoded}");
        match decode(&space(), &subject, b"").unwrap().asked {
            Asked::Engine(Ask::Check { name, .. }) => name.as_str().to_owned(),
            other => panic!("{other:?}"),
        }
    };
    for different in ["a/b", "a.b", "a=252Fb", "A/b", "_INBOX.x", "epoch", "_meta", &"a".repeat(255)] {
        assert_eq!(name(different), different);
    }
}

#[test]
fn the_first_check_that_fails_answers() {
    let large = vec![b'x'; BODY_BYTES_MAX + 1];
    let full = [&b"{\"id\":1,"[..], &b" ".repeat(BODY_BYTES_MAX - 9), b"}"].concat();
    assert_eq!(full.len(), BODY_BYTES_MAX);
    let cases: [(&str, &[u8], Code); 8] = [
        ("natslock.prod.fetch.*.a..b", &large, Code::TooLarge),
        ("natslock.prod.fetch.*.a..b", &full, Code::BadRequest),
        ("natslock.prod.fetch.*.a..b", b"{\"v\":2,\"id\":1}", Code::UnsupportedVersion),
        ("natslock.prod.fetch.*.a..b", b"{\"v\":1,\"id\":1}", Code::BadRequest),
        ("natslock.prod.check.*.a..b", b"{\"limit\":0}", Code::InvalidName),
        ("natslock.prod.list.alice.a..b", b"{\"limit\":0}", Code::BadRequest),
        ("natslock.prod.acquire.alice.a..b", b"{\"ttl_ms\":0}", Code::InvalidName),
        ("natslock.prod.acquire.alice.a.b", b"{\"ttl_ms\":0}", Code::InvalidTtl),
    ];
    for (subject, body, expected) in cases {
        assert_eq!(
            code(subject, body),
            expected,
            "{subject} {:?}",
            String::from_utf8_lossy(&body[..body.len().min(20)])
        );
    }
    let rejected = decode(&space(), ACQUIRE, &large).unwrap_err();
    assert_eq!((rejected.verb, rejected.refusal.limit), (Some(Verb::Acquire), Some(131_072)));
    assert_eq!((rejected.owner.unwrap().as_str(), rejected.format), ("alice", Format::Json));
    let rejected = decode(&space(), "natslock.prod.fetch.*.a", b"\x80").unwrap_err();
    assert_eq!((rejected.verb, rejected.owner, rejected.format), (None, None, Format::MessagePack));
}

#[test]
fn a_request_may_go_straight_to_a_shard() {
    let decoded = decode(&space(), "natslock.prod.renew-12.alice", br#"{"leases":[{"id":"a"}]}"#).unwrap();
    assert_eq!(decoded.shard, Some(ShardId(12)));
    assert!(matches!(decoded.asked, Asked::Engine(Ask::RenewMany { .. })));
}

#[test]
fn info_and_stats_round_trip() {
    for format in [Format::Json, Format::MessagePack] {
        let decoded = decode(&space(), INFO, &encode_info(format)).unwrap();
        assert!(matches!(decoded.asked, Asked::Info) && decoded.format == format);
        let decoded = decode(&space(), STATS, &encode_stats(format, "orders.", 7)).unwrap();
        assert!(matches!(decoded.asked, Asked::Stats { prefix, top: 7 } if prefix == "orders."));
    }
}

fn ask() -> impl Strategy<Value = (Verb, Option<LockName>, Ask)> {
    let options = (prop::option::of(arbitrary::note()), any::<bool>());
    let acquire = (arbitrary::lease_id(), arbitrary::claim(), arbitrary::ttl(), arbitrary::wait(), options);
    let name = arbitrary::lock_name;
    prop_oneof![
        (name(), acquire).prop_map(|(name, (id, claim, ttl, wait, (note, progress)))| {
            let acquire = Acquire { name: name.clone(), id, claim, ttl, wait, note, progress };
            (Verb::Acquire, Some(name), Ask::Acquire(acquire))
        }),
        (name(), arbitrary::lease_ref()).prop_map(|(name, lease)| (
            Verb::Renew,
            Some(name.clone()),
            Ask::Renew { name, lease }
        )),
        prop::collection::vec(arbitrary::lease_ref(), 1..5).prop_map(|leases| (
            Verb::Renew,
            None,
            Ask::RenewMany { leases }
        )),
        (name(), arbitrary::lease_ref(), arbitrary::wait()).prop_map(|(name, lease, keep)| {
            (Verb::Release, Some(name.clone()), Ask::Release { name, lease, keep: keep.get() })
        }),
        (name(), 1..=1000_usize).prop_map(|(name, limit)| (
            Verb::Check,
            Some(name.clone()),
            Ask::Check { name, limit }
        )),
        ("([a-z]{0,3}\\.?){0,1}", 1..=1000_usize, prop::option::of(name()))
            .prop_filter("whole tokens", |(prefix, ..)| !prefix.starts_with('.'))
            .prop_map(|(prefix, limit, after)| (Verb::List, None, Ask::List { prefix, limit, after })),
        (name(), prop::option::of("[a-z ]{0,30}")).prop_map(|(name, reason)| {
            (Verb::AdminRelease, Some(name.clone()), Ask::AdminRelease { name, reason })
        }),
    ]
}

proptest! {
    #[test]
    fn requests_round_trip((verb, name, ask) in ask(), owner in arbitrary::owner()) {
        let subject = space().request(verb, None, &owner, name.as_ref());
        for format in [Format::Json, Format::MessagePack] {
            let decoded = decode(&space(), &subject, &encode(format, &ask)).unwrap();
            prop_assert_eq!((decoded.format, &decoded.owner), (format, &owner));
            let Asked::Engine(decoded) = decoded.asked else { panic!("not for the engine") };
            prop_assert_eq!(told(&decoded), told(&ask));
        }
    }

    #[test]
    fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..64), start in "|\\{|\u{80}") {
        let body = [start.as_bytes(), &body].concat();
        for subject in [ACQUIRE, RENEW, RENEW_MANY, RELEASE, CHECK, LIST, STATS, ADMIN_RELEASE, INFO] {
            let _ = decode(&space(), subject, &body);
        }
    }

    #[test]
    fn no_subject_panics(subject in "natslock\\.prod\\.(acquire|list|[a-z-]*)\\.?.*") {
        let _ = decode(&space(), &subject, b"");
    }
}

#[test]
fn ids_of_absent_ones_differ() {
    let ids: Vec<LeaseId> = (0..2).map(|_| acquire(&json!({})).id).collect();
    assert!(ids[0] != ids[1]);
}
