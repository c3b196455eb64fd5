//! Requests that make no sense, or ask for what nobody may have.

use bytes::Bytes;
use serde_json::json;

/// A request, and the code that it is refused with.
pub(super) struct Case {
    /// The row of [`super::rows`] that it belongs to.
    pub(super) row: u8,
    /// Below `natslock.default.`.
    pub(super) subject: String,
    pub(super) body: Bytes,
    pub(super) code: &'static str,
}

const ACQUIRE: &str = "acquire.eve.target";

/// The row, the subject, the body, the code.
const TEXTS: &[(u8, &str, &str, &str)] = &[
    // Bodies.
    (1, "renew.eve", "", "bad_request"),
    (1, "renew.eve.target", "", "bad_request"),
    (1, "release.eve.target", "", "bad_request"),
    (1, ACQUIRE, "   ", "bad_request"),
    (1, "renew.eve.target", "{}", "bad_request"),
    (1, "renew.eve", "{}", "bad_request"),
    (2, ACQUIRE, "\u{0}", "bad_request"),
    (2, ACQUIRE, "hello", "bad_request"),
    (3, ACQUIRE, "{", "bad_request"),
    (3, ACQUIRE, r#"{"ttl_ms":30000"#, "bad_request"),
    (4, ACQUIRE, r#"{"ttl_ms":30000} x"#, "bad_request"),
    (4, ACQUIRE, r#"{"ttl_ms":30000}{}"#, "bad_request"),
    (4, ACQUIRE, r#"{"ttl_ms":1000,"ttl_ms":2000}"#, "bad_request"),
    (4, ACQUIRE, r#"{"x":{"y":1,"y":2}}"#, "bad_request"),
    // Types.
    (9, ACQUIRE, "[1]", "bad_request"),
    (9, ACQUIRE, "null", "bad_request"),
    (9, ACQUIRE, r#"{"ttl_ms":NaN}"#, "bad_request"),
    (9, ACQUIRE, r#"{"ttl_ms":1e400}"#, "bad_request"),
    (9, ACQUIRE, r#"{"ttl_ms":null,"wait_ms":[]}"#, "bad_request"),
    (9, ACQUIRE, r#"{"ttl_ms":1.0}"#, "bad_request"),
    (9, ACQUIRE, r#"{"ttl_ms":1500.5}"#, "bad_request"),
    (9, ACQUIRE, r#"{"ttl_ms":"30000"}"#, "bad_request"),
    (9, ACQUIRE, r#"{"id":7}"#, "bad_request"),
    (9, ACQUIRE, r#"{"progress":1}"#, "bad_request"),
    (9, ACQUIRE, r#"{"note":5}"#, "bad_request"),
    (9, ACQUIRE, r#"{"mode":"both"}"#, "bad_request"),
    (9, "renew.eve", r#"{"leases":[]}"#, "bad_request"),
    (9, "renew.eve", r#"{"leases":[{"token":1}]}"#, "bad_request"),
    (9, "release.eve.target", r#"{"id":"a","token":-1}"#, "bad_request"),
    (9, "check.eve.target", r#"{"limit":0}"#, "bad_request"),
    (9, "check.eve.target", r#"{"limit":1001}"#, "bad_request"),
    (9, "list.eve", r#"{"limit":1001}"#, "bad_request"),
    // Permits.
    (9, ACQUIRE, r#"{"permits":1}"#, "bad_request"),
    (9, ACQUIRE, r#"{"permits":6,"capacity":5}"#, "bad_request"),
    (9, ACQUIRE, r#"{"permits":0,"capacity":5}"#, "bad_request"),
    (9, ACQUIRE, r#"{"permits":1,"capacity":1001}"#, "bad_request"),
    (9, ACQUIRE, r#"{"mode":"shared","permits":1,"capacity":5}"#, "bad_request"),
    (9, "acquire.eve.counted", r#"{"permits":1,"capacity":7}"#, "bad_request"),
    (9, "acquire.eve.counted", r#"{"mode":"shared"}"#, "bad_request"),
    (9, ACQUIRE, r#"{"permits":1,"capacity":5}"#, "bad_request"),
    // Times.
    (10, ACQUIRE, r#"{"ttl_ms":0}"#, "invalid_ttl"),
    (10, ACQUIRE, r#"{"ttl_ms":1}"#, "invalid_ttl"),
    (10, ACQUIRE, r#"{"ttl_ms":999}"#, "invalid_ttl"),
    (10, ACQUIRE, r#"{"ttl_ms":-1}"#, "invalid_ttl"),
    (10, ACQUIRE, r#"{"ttl_ms":86400001}"#, "invalid_ttl"),
    (10, ACQUIRE, r#"{"ttl_ms":18446744073709551615}"#, "invalid_ttl"),
    (10, "release.eve.target", r#"{"id":"a","keep_ms":86400001}"#, "invalid_ttl"),
    (11, ACQUIRE, r#"{"wait_ms":-1}"#, "invalid_wait"),
    (11, ACQUIRE, r#"{"wait_ms":86400001}"#, "invalid_wait"),
    (11, ACQUIRE, r#"{"wait_ms":18446744073709551615}"#, "invalid_wait"),
    (11, ACQUIRE, r#"{"wait_ms":0.5}"#, "bad_request"),
    // Versions, verbs, names.
    (12, ACQUIRE, r#"{"v":2}"#, "unsupported_version"),
    (12, ACQUIRE, r#"{"v":0}"#, "unsupported_version"),
    (12, ACQUIRE, r#"{"v":255}"#, "unsupported_version"),
    (12, ACQUIRE, r#"{"v":-1}"#, "unsupported_version"),
    (12, ACQUIRE, r#"{"v":"1"}"#, "bad_request"),
    (13, "acquire.eve", "{}", "bad_request"),
    (13, "release.eve", r#"{"id":"a"}"#, "bad_request"),
    (13, "info.eve.target", "{}", "bad_request"),
    (13, "steal.eve.target", "{}", "bad_request"),
    // Names that could be taken for something else: they never reach a subscription, a filter or a key.
    (15, "acquire.eve.*", "{}", "invalid_name"),
    (15, "acquire.eve.>", "{}", "invalid_name"),
    (15, "acquire.eve.a.>.b", "{}", "invalid_name"),
    (15, "acquire.*.target", "{}", "invalid_name"),
    (15, "list.eve", r#"{"prefix":"*"}"#, "invalid_name"),
    (16, "list.eve", r#"{"after":"a..b"}"#, "invalid_name"),
    (16, "list.eve", r#"{"after":".a"}"#, "invalid_name"),
    (16, "list.eve", r#"{"after":"a."}"#, "invalid_name"),
    (16, "stats.eve", r#"{"prefix":"a..b"}"#, "invalid_name"),
    (17, "acquire.eve.a\u{0}b", "{}", "invalid_name"),
    (17, "acquire.eve.a\u{b}b", "{}", "invalid_name"),
    (17, "list.eve", r#"{"after":"a b"}"#, "invalid_name"),
    (17, "list.eve", r#"{"after":"a\tb"}"#, "invalid_name"),
    (17, "list.eve", r#"{"after":"a\r\nPUB x 0\r\n"}"#, "invalid_name"),
    (17, "stats.eve", r#"{"prefix":"a\r\nb"}"#, "invalid_name"),
    (18, "acquire.eve.$KV.natslock_default_0.epoch", "{}", "invalid_name"),
    (18, "acquire.eve.$JS.API.INFO", "{}", "invalid_name"),
    (18, "acquire.eve.$SYS.REQ", "{}", "invalid_name"),
    (18, "acquire.$JS.target", "{}", "invalid_name"),
    // Each name has one form: `=2F` is `/`, which needs no encoding.
    (19, "acquire.eve.a=2Fb", "{}", "invalid_name"),
    (19, "acquire.eve.a=2fb", "{}", "invalid_name"),
    (19, "acquire.eve.a=41", "{}", "invalid_name"),
    (19, "acquire.eve.a%2Fb", "{}", "invalid_name"),
    (19, "acquire.ev@e.target", "{}", "invalid_name"),
    (19, "acquire.eve.a=0a", "{}", "invalid_name"),
    (19, "acquire.eve.a=FF", "{}", "invalid_name"),
    (19, "acquire.eve.订单", "{}", "invalid_name"),
    (19, "acquire.eve.a\\b", "{}", "invalid_name"),
    (22, "acquire-1.eve.target", "{}", "wrong_shard"),
    (22, "acquire-65536.eve.target", "{}", "bad_request"),
    // Another's, an unknown and a finished id.
    (33, "renew.eve.target", r#"{"id":"alices"}"#, "not_holder"),
    (33, "renew.eve.target", r#"{"id":"alices","token":TOKEN}"#, "not_holder"),
    (33, "renew.eve.target", r#"{"id":"nobodys"}"#, "not_holder"),
    (34, "release.eve.target", r#"{"id":"zero","token":0}"#, "not_holder"),
    (34, "renew.eve.target", r#"{"id":"alices","token":1}"#, "not_holder"),
    (32, "release.eve.target", r#"{"id":"alices"}"#, "not_holder"),
    (32, "release.eve.target", r#"{"id":"guess","token":TOKEN}"#, "not_holder"),
    // She has released it above, though she never held it.
    (35, ACQUIRE, r#"{"id":"alices"}"#, "finished"),
    (37, "acquire.alice.other", r#"{"id":"alices"}"#, "id_conflict"),
    (37, "acquire.alice.target", r#"{"id":"alices","mode":"shared"}"#, "id_conflict"),
    (37, "renew.alice.other", r#"{"id":"alices"}"#, "id_conflict"),
    (39, ACQUIRE, r#"{"id":""}"#, "bad_request"),
    (39, ACQUIRE, r#"{"id":"a b"}"#, "bad_request"),
    (
        39,
        ACQUIRE,
        r#"{"id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#,
        "bad_request",
    ),
    // One whose quotas are used up (`greedy`).
    (41, "acquire.greedy.target", r#"{"wait_ms":1000}"#, "rate_limited"),
    (41, "acquire.eve.crowded", r#"{"wait_ms":1000}"#, "queue_full"),
    (42, "acquire.greedy.g4", "{}", "rate_limited"),
    (51, "admin_release.eve.unheld", "{}", "not_holder"),
    // Records that somebody has spoilt.
    (53, "acquire.eve.spoilt.garbled", "{}", "quarantined"),
    (53, "acquire.eve.spoilt.cut", "{}", "quarantined"),
    (53, "acquire.eve.spoilt.future", "{}", "quarantined"),
];

/// The same in MessagePack.
const PACKED: &[(u8, &str, &[u8], &str)] = &[
    // Maps, lists, texts and bytes that claim to go on for four billion.
    (5, ACQUIRE, &[0xdf, 0xff, 0xff, 0xff, 0xff, 0xa1, b'x', 0xc0], "bad_request"),
    (5, ACQUIRE, &[0x81, 0xa1, b'x', 0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0], "bad_request"),
    (5, ACQUIRE, &[0x81, 0xa1, b'x', 0xdb, 0xff, 0xff, 0xff, 0xff, b'y'], "bad_request"),
    (5, ACQUIRE, &[0x81, 0xa1, b'x', 0xc6, 0xff, 0xff, 0xff, 0xff, b'y'], "bad_request"),
    (5, "renew.eve", b"\x81\xa6leases\xdd\xff\xff\xff\xff\x80", "bad_request"),
    (3, ACQUIRE, &[0x81], "bad_request"),
    (3, ACQUIRE, &[0x81, 0xa1], "bad_request"),
    (4, ACQUIRE, &[0x80, 0x80], "bad_request"),
    (9, ACQUIRE, b"\x81\xa6ttl_ms\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "bad_request"),
    (10, ACQUIRE, b"\x81\xa6ttl_ms\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "invalid_ttl"),
];

/// What is too long to be written out.
fn large() -> Vec<(u8, String, String, &'static str)> {
    let acquire = || ACQUIRE.to_owned();
    let many: Vec<_> = (0..1001).map(|number| json!({ "id": format!("i{number}") })).collect();
    vec![
        (2, acquire(), format!(r#"{{"x":"{}"}}"#, "x".repeat(128 * 1024)), "too_large"),
        (2, acquire(), noise(900 * 1024), "too_large"),
        (5, acquire(), format!(r#"{{"x":{}1{}}}"#, "[".repeat(100), "]".repeat(100)), "bad_request"),
        (14, format!("acquire.eve.{}", "a".repeat(256)), "{}".into(), "invalid_name"),
        (14, format!("acquire.{}.target", "a".repeat(65)), "{}".into(), "invalid_name"),
        (14, format!("acquire.eve.{}", "a".repeat(3_000)), "{}".into(), "invalid_name"),
        (39, acquire(), json!({"id": "a".repeat(64 * 1024)}).to_string(), "bad_request"),
        (41, "renew.eve".into(), json!({ "leases": many }).to_string(), "too_large"),
        (47, acquire(), format!(r#"{{"note":"{}"}}"#, "n".repeat(257)), "bad_request"),
        (
            47,
            "admin_release.eve.target".into(),
            json!({"reason": "r".repeat(257)}).to_string(),
            "bad_request",
        ),
    ]
}

/// A text of so many bytes that says nothing.
fn noise(bytes: usize) -> String {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'!' + (state >> 24) as u8 % 90)
    };
    (0..bytes).map(|_| next()).collect()
}

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let text = |(row, subject, body, code): &(u8, &str, &'static str, &'static str)| Case {
        row: *row,
        subject: (*subject).to_owned(),
        body: Bytes::from_static(body.as_bytes()),
        code,
    };
    let packed = |(row, subject, body, code): &(u8, &str, &'static [u8], &'static str)| Case {
        row: *row,
        subject: (*subject).to_owned(),
        body: Bytes::from_static(body),
        code,
    };
    let large = large().into_iter().map(|(row, subject, body, code)| Case {
        row,
        subject,
        body: Bytes::from(body),
        code,
    });
    TEXTS.iter().map(text).chain(PACKED.iter().map(packed)).chain(large).collect()
}
