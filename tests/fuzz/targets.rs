//! What is done to every decoder with any bytes: it must not panic, and what it takes must survive its own
//! encoding. The fuzzing programs of this folder and the tests (`tests/corpora.rs`) run the same functions.

use std::time::Duration;

use bytes::BytesMut;
use natslock::types::{Key, LockName, Namespace, OwnerName, ShardId};
use natslock::wire::event::{self, Heard};
use natslock::wire::frame::{self, Frame};
use natslock::wire::heartbeat::Heartbeat;
use natslock::wire::inbox::{ReplyPrefix, reply_allowed};
use natslock::wire::micro::Inquiry;
use natslock::wire::record::{EpochRecord, JournalRecord, LeaseRecord, decode_lock, encode_lock};
use natslock::wire::reply::Answer;
use natslock::wire::report::Report;
use natslock::wire::request::{self, Asked};
use natslock::wire::stats::{self, Figures, Spread};
use natslock::wire::subject::{EventSubject, SubjectSpace};
use natslock::wire::{DecodeError, Format, reply};

/// One of them.
pub(crate) type Target = fn(&[u8]);

/// All of them, by the names of their corpora.
pub(crate) const ALL: [(&str, Target); 10] = [
    ("request", request),
    ("reply", reply),
    ("stats", stats),
    ("report", report),
    ("event", event),
    ("record", record),
    ("heartbeat", heartbeat),
    ("subject", subject),
    ("frame", frame),
    ("name", name),
];

/// A subject behind the namespace, a line feed, a body.
pub(crate) fn request(input: &[u8]) {
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (subject, body) = (&input[..at], input.get(at + 1..).unwrap_or_default());
    let subject = format!("natslock.default.{}", String::from_utf8_lossy(subject));
    let Ok(decoded) = request::decode(&space(), &subject, body) else { return };
    assert!(body.len() <= natslock::wire::BODY_BYTES_MAX);
    for format in [Format::Json, Format::MessagePack] {
        let body = match &decoded.asked {
            Asked::Engine(ask) => request::encode(format, ask),
            Asked::Stats { prefix, top } => request::encode_stats(format, prefix, *top),
            Asked::Info => request::encode_info(format),
        };
        let again = request::decode(&space(), &subject, &body).unwrap();
        assert_eq!(format!("{:?}", again.asked), format!("{:?}", decoded.asked));
    }
}

/// A body.
pub(crate) fn reply(input: &[u8]) {
    let decoded = reply::decode(input);
    // Whoever logs it must not fail either.
    let _ = format!("{decoded:?}");
}

/// A body: the reply with the most in it, and the only one with decimal numbers.
pub(crate) fn stats(input: &[u8]) {
    let Ok((epoch, Answer::Stats(decoded))) = reply::decode(input) else { return };
    for format in [Format::Json, Format::MessagePack] {
        let (_, again) = reply::decode(&stats::encode(format, epoch, &decoded)).unwrap();
        let Answer::Stats(mut again) = again else { panic!("another reply") };
        assert_eq!(again.locks.len(), decoded.locks.len());
        let was = decoded.locks.iter().map(|(_, figures)| figures).chain([&decoded.total]);
        let is = again.locks.iter_mut().map(|(_, figures)| figures).chain([&mut again.total]);
        let mut exact = true;
        for (was, is) in was.zip(is) {
            exact &= are_exact(was);
            // JSON is read to within the last bit of a number.
            let (before, after) = (was.contention_rate, std::mem::take(&mut is.contention_rate));
            assert!(
                before == after || (before - after).abs() <= before.abs() * 1e-14,
                "{before:?} {after:?}"
            );
            is.contention_rate = before;
        }
        assert!(!exact || again == decoded, "{again:?} {decoded:?}");
    }
}

/// True where a decimal number of milliseconds says every length of time to the microsecond.
fn are_exact(figures: &Figures) -> bool {
    const LONGEST: Duration = Duration::from_secs(1_000_000);
    let spreads = [figures.acquire, figures.release, figures.wait, figures.hold];
    let exact = |s: Spread| [s.mean, s.p50, s.p99, s.max].into_iter().all(|span| span < LONGEST);
    spreads.into_iter().flatten().all(exact)
}

/// A body.
pub(crate) fn report(input: &[u8]) {
    if let Ok(report) = Report::decode(input) {
        assert_eq!(Report::decode(&report.encode()).unwrap(), report);
    }
}

/// A body.
pub(crate) fn event(input: &[u8]) {
    match event::decode(input) {
        Ok(Heard::Lock { event, epoch }) => {
            let again = event::decode(&event::encode(epoch, &event)).unwrap();
            assert_eq!(format!("{again:?}"), format!("{:?}", Heard::Lock { event, epoch }));
        }
        Ok(Heard::Leader { leader, at }) => {
            let again = event::decode(&event::encode_leader(&leader, at)).unwrap();
            assert_eq!(format!("{again:?}"), format!("{:?}", Heard::Leader { leader, at }));
        }
        Ok(_) | Err(_) => {}
    }
}

/// The stored bytes of any record.
pub(crate) fn record(input: &[u8]) {
    if let Ok(lock) = decode_lock(input) {
        assert_eq!(decode_lock(&encode_lock(&lock)).unwrap(), lock);
    }
    if let Ok(epoch) = EpochRecord::decode(input) {
        assert_eq!(EpochRecord::decode(&epoch.encode()).unwrap(), epoch);
    }
    if let Ok(lease) = LeaseRecord::decode(input) {
        assert_eq!(LeaseRecord::decode(&lease.encode()).unwrap(), lease);
    }
    if let Ok(journal) = JournalRecord::decode(input) {
        assert_eq!(JournalRecord::decode(&journal.encode()).unwrap(), journal);
    }
}

/// A body.
pub(crate) fn heartbeat(input: &[u8]) {
    if let Ok(heartbeat) = Heartbeat::decode(input) {
        assert_eq!(Heartbeat::decode(&heartbeat.encode()).unwrap(), heartbeat);
    }
}

/// A subject, of anything.
pub(crate) fn subject(input: &[u8]) {
    let subject = String::from_utf8_lossy(input);
    match space().parse_event(&subject) {
        Some(EventSubject::Lock(kind, name)) => assert_eq!(space().event(kind, &name), subject),
        Some(EventSubject::Leader(shard)) => assert_eq!(space().leader_event(shard), subject),
        None => {}
    }
    if let Some(shard) = space().parse_heartbeat(&subject) {
        assert_eq!(space().heartbeat(shard), subject);
    }
    assert!(Inquiry::of(&subject).is_none() || subject.starts_with("$SRV."));
    let bucket = space().bucket(ShardId(0));
    if let Ok(key) = bucket.key(&subject) {
        assert_eq!(bucket.subject(&key), subject);
        assert!(!matches!(key, Key::Lock(_)) || subject.starts_with("$KV.natslock_default_0.lock."));
    }
    let default = ReplyPrefix::default();
    assert!(!reply_allowed(&default, &subject) || harmless(&subject, default.as_str()));
    if let Ok(prefix) = subject.parse::<ReplyPrefix>() {
        assert!(prefix.as_str().ends_with('.') && harmless(&format!("{}x", prefix.as_str()), ""));
    }
}

/// What a server says: whole, and cut in two.
pub(crate) fn frame(input: &[u8]) {
    let at = input.first().map_or(0, |byte| usize::from(*byte) % (input.len() + 1));
    let (one, other) = input.split_at(at);
    assert_eq!(frames(&[one, other]), frames(&[input]));
}

/// All frames up to the first error, and how many bytes are left.
fn frames(pieces: &[&[u8]]) -> (Vec<Frame>, Option<DecodeError>, usize) {
    let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match frame::take(&mut buffer) {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                // Nothing behind it can be read.
                Err(error) => return (found, Some(error), 0),
            }
        }
    }
    (found, None, buffer.len())
}

/// Any name in plain text, and the same taken for an encoded one.
pub(crate) fn name(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(name) = LockName::encode(&text) {
        assert_eq!(name.to_string(), text);
        assert_eq!(LockName::from_encoded(name.as_str()).unwrap(), name);
        assert!(harmless(name.as_str(), ""));
    }
    if let Ok(name) = LockName::from_encoded(&text) {
        assert_eq!(LockName::encode(&name.to_string()).unwrap(), name, "not injective");
    }
    if let Ok(owner) = OwnerName::encode(&text) {
        assert_eq!(OwnerName::from_encoded(owner.as_str()).unwrap(), owner);
        assert!(harmless(owner.as_str(), "") && !owner.as_str().contains('.'));
    }
    if let Ok(namespace) = text.parse::<Namespace>() {
        assert_eq!(namespace.as_str(), text);
    }
}

fn space() -> SubjectSpace {
    SubjectSpace::new(Namespace::default())
}

/// One subject below `prefix`, outside of what servers and coordinators obey.
fn harmless(subject: &str, prefix: &str) -> bool {
    subject.starts_with(prefix)
        && !subject.starts_with('$')
        && !subject.contains(['*', '>', ' ', '\t', '\r', '\n', '\0'])
        && subject.split('.').all(|token| !token.is_empty())
}
