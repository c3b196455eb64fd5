//! A recovery that dies anywhere, and two at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::BoxStream;
use tokio::sync::Semaphore;

use super::*;
use crate::clock::SystemClock;
use crate::engine::message::{LockRecord, Now, StoredHolder};
use crate::store::{Delivery, MemoryStore, Store};
use crate::types::{Claim, IdHash, LockName, OwnerName, Timestamp, Token, Ttl};
use crate::wire::report::Finding;

const KNOWN: Revision = Revision::new(5_000);
const GARBLED: &[u8] = b"no record";

fn key(name: &str) -> Key {
    Key::Lock(LockName::encode(name).unwrap())
}

fn attempt() -> AttemptId {
    AttemptId { coordinator: CoordinatorId(9), number: 1 }
}

fn held_by(owner: &str) -> Bytes {
    let holder = StoredHolder {
        id: IdHash::from_bytes([7; 16]),
        owner: OwnerName::encode(owner).unwrap(),
        claim: Claim::Exclusive,
        token: StoredToken::Index(3),
        ttl: Ttl::default(),
        kept: false,
        granted_at: WallTime(1),
        note: None,
    };
    let epoch = Epoch::new(Revision::new(1));
    encode_lock(&LockRecord { attempt: attempt(), epoch, holders: vec![holder] })
}

async fn write(store: &impl Store, key: Key, value: Bytes) -> Revision {
    match store.write(Write { key, expected: None, value, ttl_seconds: None }).await {
        WriteOutcome::Acknowledged(revision) => revision,
        other => panic!("{other:?}"),
    }
}

/// What a coordinator that takes over writes.
async fn take_over(store: &impl Store, recovered: Revision, quarantine: Option<String>) {
    let (coordinator, highest) = (CoordinatorId(9), Revision::NONE);
    let epoch =
        EpochRecord { coordinator, attempt: attempt(), highest, quarantine, recovers: false, recovered };
    write(store, Key::Epoch, epoch.encode()).await;
}

/// A store that went back: a lock that is held, one that cannot be read, and a leader that knows more.
async fn broken() -> (MemoryStore, Token) {
    let store = MemoryStore::with(SystemClock, Revision::new(100), "m");
    let held = write(&store, key("held"), held_by("alice")).await;
    write(&store, key("garbled"), Bytes::from_static(GARBLED)).await;
    write(&store, Key::Lease, Bytes::from_static(b"whatever it was")).await;
    take_over(&store, Revision::NONE, None).await;
    (store, Token::new(held, 3))
}

fn found_by_a_leader() -> Vec<Report> {
    let longest = Some(Duration::from_secs(30));
    let found = Some(Finding { why: "it went back".into(), longest });
    vec![Report {
        coordinator: CoordinatorId(9),
        host: "h".into(),
        pid: 7,
        leads: true,
        highest: KNOWN,
        found,
    }]
}

/// Planned at this time of day, in milliseconds.
async fn recovery<S: Repair>(store: &S, now: u64) -> Recovery<S, Hurried> {
    let findings = survey(store, found_by_a_leader(), WallTime(now)).await.unwrap();
    let plan = findings.plan(Wish::default()).unwrap();
    Recovery::new(store.clone(), Hurried, plan, "here".into())
}

async fn assert_recovered(store: &MemoryStore, token: Token) {
    let extent = store.extent().await.unwrap();
    assert!(!extent.aside && extent.last > KNOWN, "{extent:?}");
    assert!(store.copy().await.unwrap().is_none(), "nothing is left behind");
    let record = store.read(key("held")).await.unwrap().unwrap();
    let decoded = decode_lock(&record.value.unwrap()).unwrap();
    assert_eq!(decoded.holders[0].token, StoredToken::Known(token));
    let garbled = store.read(key("garbled")).await.unwrap().unwrap();
    assert_eq!(garbled.value.unwrap(), GARBLED);
    let (revision, epoch) = read_epoch(store).await.unwrap().unwrap();
    assert!(epoch.quarantine.is_none() && epoch.highest < revision);
    assert!(recovered(Some(&(revision, epoch))) > KNOWN);
}

#[tokio::test]
async fn a_recovery_keeps_the_records_and_raises_the_tokens() {
    let (store, token) = broken().await;
    let mut steps = Vec::new();
    recovery(&store, 1_000).await.carry_out(|step| steps.push(step)).await.unwrap();
    use Step::*;
    assert_eq!(steps, [MakeCopy, SetAside, Save, Raise, Restore, Finish, Readmit, RemoveCopy]);
    assert_recovered(&store, token).await;
    let lease = store.read(Key::Lease).await.unwrap().unwrap();
    let lease = LeaseRecord::decode(&lease.value.unwrap()).unwrap();
    assert!(lease.resigned);
    assert_eq!(lease.embargo, embargo(Some(Duration::from_secs(30))));
    let sound = survey(&store, Vec::new(), WallTime(1_000)).await.unwrap();
    assert_eq!(sound.plan(Wish::default()), None);
}

#[tokio::test]
async fn a_recovery_that_dies_anywhere_is_finished_by_the_next() {
    for is_done in [false, true] {
        let mut dies_at = 0;
        loop {
            let (store, token) = broken().await;
            let mortal = Shaky::new(&store, Fate::Death { at: dies_at, is_done });
            let survives = recovery(&mortal, 1_000).await.carry_out(drop).await.is_ok();
            // A coordinator that runs takes over from whatever is there.
            take_over(&store, latest(&store).await, None).await;
            if survives {
                break;
            }
            let again = survey(&store, found_by_a_leader(), WallTime(2_000)).await.unwrap();
            if let Some(plan) = again.plan(Wish::default()) {
                let mut next = Recovery::new(store.clone(), Hurried, plan, "here".into());
                next.carry_out(drop).await.unwrap();
            }
            assert_recovered(&store, token).await;
            dies_at += 1;
        }
        assert!(dies_at > 8, "every change was the last one once");
    }
}

async fn latest(store: &MemoryStore) -> Revision {
    recovered(read_epoch(store).await.unwrap().as_ref())
}

/// One stops before a change; the other does all of it, and the shard goes on; then the first one wakes.
#[tokio::test]
async fn one_that_slept_while_another_finished_does_no_harm() {
    for pauses_at in 0.. {
        let (store, token) = broken().await;
        let gate = Arc::new(Semaphore::new(0));
        let (asleep, awake) = (Arc::new(Semaphore::new(0)), Arc::clone(&gate));
        let shaky = Shaky::new(&store, Fate::Sleep { at: pauses_at, asleep: Arc::clone(&asleep), awake });
        let mut first = recovery(&shaky, 1_000).await;
        let mut second = recovery(&store, 2_000).await;
        let first = tokio::spawn(async move { first.carry_out(drop).await });
        let sleeps = tokio::select! {
            asleep = asleep.acquire() => asleep.is_ok(),
            () = async { while !first.is_finished() { tokio::task::yield_now().await } } => false,
        };
        if !sleeps {
            first.await.unwrap().unwrap();
            assert!(pauses_at > 8, "it slept before every change once");
            break;
        }
        second.carry_out(drop).await.unwrap();
        take_over(&store, latest(&store).await, None).await;
        let granted = write(&store, key("new"), held_by("bob")).await;
        gate.add_permits(1);
        first.await.unwrap().unwrap();
        assert_recovered(&store, token).await;
        let new = store.read(key("new")).await.unwrap();
        assert_eq!(new.map(|entry| entry.revision), Some(granted), "slept before change {pauses_at}");
    }
}

/// A clock by which no pause takes any time.
#[derive(Debug, Clone)]
struct Hurried;

impl Clock for Hurried {
    fn now(&self) -> Now {
        SystemClock.now()
    }

    async fn sleep_until(&self, _: Timestamp) {
        tokio::task::yield_now().await;
    }
}

/// What happens to the changes of one recovery.
#[derive(Debug, Clone)]
enum Fate {
    /// This one is the last, done or not.
    Death { at: u64, is_done: bool },
    /// Before this one it sleeps.
    Sleep { at: u64, asleep: Arc<Semaphore>, awake: Arc<Semaphore> },
}

/// A store as one recovery reaches it.
#[derive(Debug, Clone)]
struct Shaky {
    store: MemoryStore,
    fate: Fate,
    changes: Arc<AtomicU64>,
}

impl Shaky {
    fn new(store: &MemoryStore, fate: Fate) -> Self {
        Self { store: store.clone(), fate, changes: Arc::default() }
    }

    fn of(&self, store: MemoryStore) -> Self {
        Self { store, ..self.clone() }
    }

    /// Whether this change is done, and whether anything is heard of it.
    async fn change(&self) -> (bool, bool) {
        let number = self.changes.fetch_add(1, Ordering::SeqCst);
        match &self.fate {
            Fate::Death { at, is_done } => (number < *at || (number == *at && *is_done), number < *at),
            Fate::Sleep { at, asleep, awake } => {
                if number == *at {
                    asleep.add_permits(1);
                    let _permit = awake.acquire().await.unwrap();
                }
                (true, true)
            }
        }
    }

    fn alive(&self) -> Result<(), StoreError> {
        match self.fate {
            Fate::Death { at, .. } if self.changes.load(Ordering::SeqCst) > at => Err(dead()),
            _ => Ok(()),
        }
    }

    async fn changed<T>(&self, change: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let (is_done, is_heard) = self.change().await;
        if !is_done {
            return Err(dead());
        }
        let done = change.await;
        if is_heard { done } else { Err(dead()) }
    }
}

fn dead() -> StoreError {
    StoreError::Refused("dead".into())
}

impl Store for Shaky {
    async fn write(&self, write: Write) -> WriteOutcome {
        let done = self.changed(async { Ok(self.store.write(write).await) }).await;
        done.unwrap_or(WriteOutcome::Unknown)
    }

    async fn write_batch(&self, batch: Batch) -> WriteOutcome {
        let done = self.changed(async { Ok(self.store.write_batch(batch).await) }).await;
        done.unwrap_or(WriteOutcome::Unknown)
    }

    async fn read(&self, key: Key) -> Result<Option<Entry>, StoreError> {
        self.alive()?;
        self.store.read(key).await
    }

    async fn read_at(&self, revision: Revision) -> Result<Option<Entry>, StoreError> {
        self.store.read_at(revision).await
    }

    async fn follow(&self) -> Result<BoxStream<'static, Delivery>, StoreError> {
        self.store.follow().await
    }

    async fn identity(&self) -> Result<String, StoreError> {
        self.store.identity().await
    }
}

impl Repair for Shaky {
    async fn extent(&self) -> Result<Extent, StoreError> {
        self.alive()?;
        self.store.extent().await
    }

    async fn records(&self) -> Result<Vec<Entry>, StoreError> {
        self.alive()?;
        self.store.records().await
    }

    async fn raise(&self, first: Revision) -> Result<(), StoreError> {
        self.changed(self.store.raise(first)).await
    }

    async fn set_aside(&self, aside: bool) -> Result<(), StoreError> {
        self.changed(self.store.set_aside(aside)).await
    }

    async fn copy(&self) -> Result<Option<Self>, StoreError> {
        self.alive()?;
        Ok(self.store.copy().await?.map(|copy| self.of(copy)))
    }

    async fn make_copy(&self, first: Revision) -> Result<Self, StoreError> {
        self.changed(self.store.make_copy(first)).await.map(|copy| self.of(copy))
    }

    async fn remove_copy(&self) -> Result<(), StoreError> {
        self.changed(self.store.remove_copy()).await
    }
}
