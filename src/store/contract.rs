//! What every store does. [`contract`] checks all of it on one fresh store; the parts are public, so that a
//! failing one can be run by itself.
//!
//! The parts panic where the contract is broken, and wait for nothing longer than [`PATIENCE`].

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use super::{Batch, Delivery, Entry, Guard, Store, StoreError, Write, WriteOutcome};
use crate::clock::{Clock as _, SystemClock, within};
use crate::types::{Key, LockName, Revision};

/// How long a part waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Checks that a fresh, empty store keeps the contract. Takes about two seconds, for the record that expires.
pub async fn contract<S: Store>(store: S) {
    follows_an_empty_store(&store).await;
    creates_and_replaces(&store).await;
    names_what_is_there(&store).await;
    writes_whatever_is_there(&store).await;
    reads_by_revision(&store).await;
    tells_a_repeated_write(&store).await;
    batches_are_whole(&store).await;
    batches_are_refused_whole(&store).await;
    tells_a_repeated_batch(&store).await;
    guards_batches(&store).await;
    guards_a_lone_record(&store).await;
    pipelines(&store).await;
    revisions_rise_over_all_keys(&store).await;
    free_records_vanish(&store).await;
    follows_up_to_an_epoch(&store).await;
    has_one_identity(&store).await;
}

/// A follower of an empty store gets nothing until something is written, and then that.
pub async fn follows_an_empty_store<S: Store>(store: &S) {
    let mut deliveries = answered(store.follow().await);
    let revision = written(store, cas(lock("follow.first"), Revision::NONE, "first")).await;
    let entry = next_entry(&mut deliveries).await;
    assert_eq!(entry, Entry { key: lock("follow.first"), revision, value: Some(bytes("first")) });
}

/// A write that expects nothing makes a record, one that expects that record replaces it, and reads show both.
pub async fn creates_and_replaces<S: Store>(store: &S) {
    let key = lock("create");
    assert_eq!(answered(store.read(key.clone()).await), None, "a fresh store has no records");
    let first = written(store, cas(key.clone(), Revision::NONE, "one")).await;
    assert_ne!(first, Revision::NONE);
    assert_eq!(value_of(store, &key).await, Some((first, bytes("one"))));
    let second = written(store, cas(key.clone(), first, "two")).await;
    assert!(second > first);
    assert_eq!(value_of(store, &key).await, Some((second, bytes("two"))));
}

/// A refusal names the revision that is there, zero for none, and changes nothing.
pub async fn names_what_is_there<S: Store>(store: &S) {
    let key = lock("conflict");
    let absent = store.write(cas(key.clone(), Revision::new(1), "wrong")).await;
    assert_eq!(absent, WriteOutcome::Mismatch(Some(Revision::NONE)), "nothing is there");
    let first = written(store, cas(key.clone(), Revision::NONE, "one")).await;
    let again = store.write(cas(key.clone(), Revision::NONE, "wrong")).await;
    assert_eq!(again, WriteOutcome::Mismatch(Some(first)), "something is there");
    let second = written(store, cas(key.clone(), first, "two")).await;
    let stale = store.write(cas(key.clone(), first, "wrong")).await;
    assert_eq!(stale, WriteOutcome::Mismatch(Some(second)), "something else is there");
    assert_eq!(value_of(store, &key).await, Some((second, bytes("two"))));
}

/// A write without an expectation replaces whatever is there, and nothing.
pub async fn writes_whatever_is_there<S: Store>(store: &S) {
    let key = lock("unconditional");
    let write = |value| Write { expected: None, ..cas(key.clone(), Revision::NONE, value) };
    let first = written(store, write("one")).await;
    let second = written(store, write("two")).await;
    assert!(second > first);
    assert_eq!(value_of(store, &key).await, Some((second, bytes("two"))));
}

/// The record of a revision can be read until it is overwritten.
pub async fn reads_by_revision<S: Store>(store: &S) {
    let key = lock("revision");
    let first = written(store, cas(key.clone(), Revision::NONE, "one")).await;
    let entry = Entry { key: key.clone(), revision: first, value: Some(bytes("one")) };
    assert_eq!(answered(store.read_at(first).await), Some(entry));
    written(store, cas(key, first, "two")).await;
    assert_eq!(answered(store.read_at(first).await), None, "overwritten");
    assert_eq!(answered(store.read_at(Revision::new(1 << 52)).await), None, "not yet written");
}

/// S7: the second of two copies of a write is refused with the first one's revision, where the writer finds its
/// own attempt.
pub async fn tells_a_repeated_write<S: Store>(store: &S) {
    let key = lock("doubt");
    let before = written(store, cas(key.clone(), Revision::NONE, "before")).await;
    let attempt = cas(key.clone(), before, "attempt 7");
    let first = written(store, attempt.clone()).await;
    let WriteOutcome::Mismatch(Some(named)) = store.write(attempt).await else {
        panic!("the second copy of a write must be refused with a revision");
    };
    assert_eq!(named, first);
    assert_eq!(written_at(store, named).await, (key, bytes("attempt 7")));
}

/// A batch gets consecutive revisions in its order, and its outcome is the last of them.
pub async fn batches_are_whole<S: Store>(store: &S) {
    let keys: Vec<Key> = (0..5).map(|number| lock(&format!("batch.{number}"))).collect();
    let held = written(store, cas(keys[3].clone(), Revision::NONE, "held")).await;
    let expected = |number| if number == 3 { held } else { Revision::NONE };
    let writes =
        keys.iter().enumerate().map(|(number, key)| cas(key.clone(), expected(number), "batch")).collect();
    let last = batch_written(store, Batch { writes, guard: None }).await;
    for (key, revision) in keys.iter().zip(last.get() - 4..) {
        assert_eq!(value_of(store, key).await, Some((Revision::new(revision), bytes("batch"))));
    }
}

/// One failing expectation refuses the whole batch, first, in the middle or last.
pub async fn batches_are_refused_whole<S: Store>(store: &S) {
    let keys: Vec<Key> = (0..3).map(|number| lock(&format!("refused.{number}"))).collect();
    let mut revisions = Vec::new();
    for key in &keys {
        revisions.push(written(store, cas(key.clone(), Revision::NONE, "before")).await);
    }
    for wrong in 0..keys.len() {
        let expected = |number: usize| if number == wrong { Revision::NONE } else { revisions[number] };
        let writes = keys.iter().enumerate().map(|(number, key)| cas(key.clone(), expected(number), "batch"));
        let outcome = store.write_batch(Batch { writes: writes.collect(), guard: None }).await;
        assert_eq!(
            outcome,
            WriteOutcome::Mismatch(Some(revisions[wrong])),
            "record {wrong} is not as expected"
        );
        for (key, revision) in keys.iter().zip(&revisions) {
            assert_eq!(value_of(store, key).await, Some((*revision, bytes("before"))));
        }
    }
}

/// S7 for batches: the second copy is refused with a revision of the first.
pub async fn tells_a_repeated_batch<S: Store>(store: &S) {
    let epoch = revision_of(store, &Key::Epoch).await;
    let epoch = written(store, cas(Key::Epoch, epoch, "epoch")).await;
    let writes = vec![
        cas(lock("repeat.0"), Revision::NONE, "attempt 8"),
        cas(lock("repeat.1"), Revision::NONE, "attempt 8"),
    ];
    let batch = Batch { writes, guard: Some(guard(epoch)) };
    let last = batch_written(store, batch.clone()).await;
    let WriteOutcome::Mismatch(Some(named)) = store.write_batch(batch).await else {
        panic!("the second copy of a batch must be refused with a revision");
    };
    assert!((last.get() - 2..last.get()).contains(&named.get()), "{named} is none of the batch up to {last}");
    assert_eq!(written_at(store, named).await.1, bytes("attempt 8"));
}

/// S6: a guarded batch writes its guard last, and is refused whole once the key that it depends on has moved.
pub async fn guards_batches<S: Store>(store: &S) {
    let before = revision_of(store, &Key::Epoch).await;
    let epoch = written(store, cas(Key::Epoch, before, "epoch")).await;
    let key = lock("guarded");
    let batch = |expected, value, epoch| Batch {
        writes: vec![cas(key.clone(), expected, value)],
        guard: Some(guard(epoch)),
    };
    let last = batch_written(store, batch(Revision::NONE, "one", epoch)).await;
    let first = Revision::new(last.get() - 1);
    assert_eq!(value_of(store, &key).await, Some((first, bytes("one"))));
    assert_eq!(value_of(store, &Key::Journal).await, Some((last, bytes("journal"))));

    let next = written(store, cas(Key::Epoch, epoch, "another leader")).await;
    let deposed = store.write_batch(batch(first, "two", epoch)).await;
    assert_eq!(deposed, WriteOutcome::Mismatch(Some(next)));
    assert_eq!(value_of(store, &key).await, Some((first, bytes("one"))));
    assert_eq!(value_of(store, &Key::Journal).await, Some((last, bytes("journal"))));
    batch_written(store, batch(first, "three", next)).await;
}

/// A batch of nothing but its guard is held to it as well.
pub async fn guards_a_lone_record<S: Store>(store: &S) {
    let epoch = written(store, cas(Key::Epoch, revision_of(store, &Key::Epoch).await, "epoch")).await;
    let lone = |epoch| Batch { writes: Vec::new(), guard: Some(guard(epoch)) };
    let last = batch_written(store, lone(epoch)).await;
    assert_eq!(value_of(store, &Key::Journal).await, Some((last, bytes("journal"))));
    let next = written(store, cas(Key::Epoch, epoch, "another leader")).await;
    let deposed = store.write_batch(lone(epoch)).await;
    assert_eq!(deposed, WriteOutcome::Mismatch(Some(next)));
    assert_eq!(revision_of(store, &Key::Journal).await, last);
}

/// Many writes may be in flight at a time, and each gets its own answer.
pub async fn pipelines<S: Store>(store: &S) {
    let key = |number: usize| lock(&format!("pipeline.{number}"));
    let writes = (0..200).map(|number| store.write(cas(key(number), Revision::NONE, "pipelined")));
    let mut revisions = Vec::new();
    for outcome in futures_util::future::join_all(writes).await {
        revisions.push(acknowledged(outcome));
    }
    for number in [0, 99, 199] {
        assert_eq!(value_of(store, &key(number)).await, Some((revisions[number], bytes("pipelined"))));
    }
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), 200, "no revision is given twice");
}

/// Each acknowledged write has a higher revision than every one acknowledged before, whatever the keys.
pub async fn revisions_rise_over_all_keys<S: Store>(store: &S) {
    let mut last = Revision::NONE;
    for key in [lock("rise.1"), Key::Lease, lock("rise.2"), Key::Epoch, Key::Journal, lock("rise.1")] {
        let expected = revision_of(store, &key).await;
        let revision = written(store, cas(key, expected, "higher")).await;
        assert!(revision > last, "{revision} after {last}");
        last = revision;
    }
}

/// A record with a time to live vanishes by itself: its revision is then refused with zero, and expecting
/// nothing works. One that is replaced by a record without a time to live stays.
pub async fn free_records_vanish<S: Store>(store: &S) {
    let (free, kept) = (lock("free"), lock("kept"));
    let with_ttl = |key: &Key| Write { ttl_seconds: Some(1), ..cas(key.clone(), Revision::NONE, "free") };
    let kept_first = written(store, with_ttl(&kept)).await;
    let revision = written(store, with_ttl(&free)).await;
    let kept_again = written(store, cas(kept.clone(), kept_first, "kept")).await;
    assert_eq!(value_of(store, &free).await, Some((revision, bytes("free"))));
    eventually("a record with a time to live vanishes", async || {
        answered(store.read(free.clone()).await).is_none()
    })
    .await;
    assert_eq!(answered(store.read_at(revision).await), None);
    let stale = store.write(cas(free.clone(), revision, "stale")).await;
    assert_eq!(stale, WriteOutcome::Mismatch(Some(Revision::NONE)));
    let again = written(store, cas(free.clone(), Revision::NONE, "again")).await;
    assert!(again > revision, "revisions rise over a record that has vanished");
    assert_eq!(value_of(store, &kept).await, Some((kept_again, bytes("kept"))));
}

/// S5: a follower gets the last record of every key in order of revision, up to the epoch that was written
/// before it began and beyond. Older records of a key may come before: a replica that has not caught up delivers what
/// it has, and the rest when it comes to it.
pub async fn follows_up_to_an_epoch<S: Store>(store: &S) {
    let names: Vec<Key> = (0..20).map(|number| lock(&format!("follow.{number}"))).collect();
    let mut expected = Vec::new();
    for key in &names {
        let first = written(store, cas(key.clone(), Revision::NONE, "old")).await;
        expected.push((key.clone(), first));
    }
    for (key, revision) in expected.iter_mut().step_by(3) {
        *revision = written(store, cas(key.clone(), *revision, "new")).await;
    }
    let epoch = written(store, cas(Key::Epoch, revision_of(store, &Key::Epoch).await, "epoch")).await;
    let mut deliveries = answered(store.follow().await);
    let loaded = entries_up_to(&mut deliveries, epoch).await;
    assert!(loaded.is_sorted_by(|one, other| one.revision < other.revision), "in order of revision");
    for (key, revision) in expected {
        let last = loaded.iter().rfind(|entry| entry.key == key).map(|entry| entry.revision);
        assert_eq!(last, Some(revision), "the last of {key}");
    }
    assert!(loaded.last().is_some_and(|entry| entry.key == Key::Epoch));

    let live = written(store, cas(lock("follow.live"), Revision::NONE, "live")).await;
    let entry = next_entry(&mut deliveries).await;
    assert_eq!((entry.key, entry.revision), (lock("follow.live"), live));
}

/// A store answers with the same identity each time.
pub async fn has_one_identity<S: Store>(store: &S) {
    let identity = answered(store.identity().await);
    assert!(!identity.is_empty());
    assert_eq!(answered(store.clone().identity().await), identity);
}

/// The key of the lock with this name.
pub fn lock(name: &str) -> Key {
    match LockName::encode(name) {
        Ok(name) => Key::Lock(name),
        Err(error) => panic!("{name}: {error}"),
    }
}

/// A compare-and-set of a record that stays.
pub fn cas(key: Key, expected: Revision, value: &str) -> Write {
    Write { key, expected: Some(expected), value: bytes(value), ttl_seconds: None }
}

/// The revision of a write that must succeed.
pub async fn written<S: Store>(store: &S, write: Write) -> Revision {
    acknowledged(store.write(write).await)
}

/// The next record that a follower gets; interruptions are passed over.
pub async fn next_entry(deliveries: &mut BoxStream<'static, Delivery>) -> Entry {
    let next = within(&SystemClock, PATIENCE, async {
        loop {
            match deliveries.next().await {
                Some(Delivery::Entry(entry)) => return entry,
                Some(Delivery::Interrupted(_)) => {}
                None => panic!("the deliveries ended"),
            }
        }
    });
    next.await.unwrap_or_else(|| panic!("no record was delivered within {PATIENCE:?}"))
}

/// Waits until `condition` holds, asking again every 20 ms.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let holds = within(&SystemClock, PATIENCE, async {
        while !condition().await {
            SystemClock.sleep_until(SystemClock::boot() + Duration::from_millis(20)).await;
        }
    });
    assert!(holds.await.is_some(), "waited {PATIENCE:?} in vain: {what}");
}

/// The answer of a store that must answer.
pub fn answered<T>(answer: Result<T, StoreError>) -> T {
    answer.unwrap_or_else(|error| panic!("the store does not answer: {error}"))
}

async fn batch_written<S: Store>(store: &S, batch: Batch) -> Revision {
    acknowledged(store.write_batch(batch).await)
}

fn acknowledged(outcome: WriteOutcome) -> Revision {
    match outcome {
        WriteOutcome::Acknowledged(revision) => revision,
        other => panic!("expected an acknowledged write, got {other:?}"),
    }
}

async fn entries_up_to(deliveries: &mut BoxStream<'static, Delivery>, last: Revision) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    while entries.last().is_none_or(|entry| entry.revision < last) {
        entries.push(next_entry(deliveries).await);
    }
    entries
}

async fn value_of<S: Store>(store: &S, key: &Key) -> Option<(Revision, Bytes)> {
    let entry = answered(store.read(key.clone()).await)?;
    assert_eq!(entry.key, *key);
    entry.value.map(|value| (entry.revision, value))
}

async fn revision_of<S: Store>(store: &S, key: &Key) -> Revision {
    answered(store.read(key.clone()).await).map_or(Revision::NONE, |entry| entry.revision)
}

async fn written_at<S: Store>(store: &S, revision: Revision) -> (Key, Bytes) {
    match answered(store.read_at(revision).await) {
        Some(Entry { key, value: Some(value), .. }) => (key, value),
        other => panic!("expected the record with revision {revision}, got {other:?}"),
    }
}

fn guard(epoch: Revision) -> Guard {
    Guard { key: Key::Journal, value: bytes("journal"), holds: (Key::Epoch, epoch) }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
