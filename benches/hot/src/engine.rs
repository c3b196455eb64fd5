//! The lock state machine and its queue.

use std::time::Duration;

use natslock::engine::message::{Ask, LockRecord, StoredHolder, StoredToken};
use natslock::types::{AttemptId, Claim, CoordinatorId, Epoch, Revision, Token, Ttl, WallTime};

use crate::Operation;
use crate::shard::{Shard, acquire, entry, id, lease, lock, owner, release};

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation { name: "engine: acquire and release", repetitions: 200, prepare: || pair(Shard::default()) },
    Operation {
        name: "engine: acquire and release, counted",
        repetitions: 200,
        prepare: || pair(Shard::counted()),
    },
    Operation {
        name: "engine: hand over, 16 wait",
        repetitions: 200,
        prepare: || hand_over(Shard::default(), 16),
    },
    Operation {
        name: "engine: hand over, 16 wait, counted",
        repetitions: 200,
        prepare: || hand_over(Shard::counted(), 16),
    },
    Operation {
        name: "engine: hand over, 1000 wait",
        repetitions: 200,
        prepare: || hand_over(Shard::default(), 1_000),
    },
    Operation { name: "engine: join and leave a queue of 1000", repetitions: 200, prepare: join_and_leave },
    Operation { name: "engine: renew 1000 leases", repetitions: 10, prepare: renew },
    Operation { name: "engine: acquire 100 locks and let them expire", repetitions: 10, prepare: expire },
    Operation { name: "engine: load 100 records", repetitions: 10, prepare: load },
    Operation { name: "engine: check a lock of 100 waiters", repetitions: 50, prepare: check },
];

/// An acquisition has a number of its own each time: a finished one is refused.
fn counter() -> impl FnMut() -> usize {
    let mut last = 1_000_000;
    move || {
        last += 1;
        last
    }
}

fn pair(mut shard: Shard) -> Box<dyn FnMut()> {
    let (owner, name, mut next) = (owner(0), lock(0), counter());
    Box::new(move || {
        let number = next();
        shard.ask(&owner, acquire(name.clone(), number));
        shard.ask(&owner, release(name.clone(), number));
    })
}

/// A lock that is held, and so many who wait.
fn queue(mut shard: Shard, waiters: usize) -> Shard {
    for number in 0..=waiters {
        shard.ask(&owner(number % 64), acquire(lock(0), number));
    }
    shard
}

/// The holder releases, the next one holds, and another comes.
fn hand_over(shard: Shard, waiters: usize) -> Box<dyn FnMut()> {
    let mut shard = queue(shard, waiters);
    let owners: Vec<_> = (0..64).map(owner).collect();
    let mut holder = 0;
    Box::new(move || {
        shard.ask(&owners[holder % 64], release(lock(0), holder));
        holder += 1;
        let last = holder + waiters;
        shard.ask(&owners[last % 64], acquire(lock(0), last));
    })
}

fn join_and_leave() -> Box<dyn FnMut()> {
    let (mut shard, owner, name, mut next) = (queue(Shard::default(), 1_000), owner(0), lock(0), counter());
    Box::new(move || {
        let number = next();
        shard.ask(&owner, acquire(name.clone(), number));
        shard.ask(&owner, release(name.clone(), number));
    })
}

fn renew() -> Box<dyn FnMut()> {
    let (mut shard, owner) = (Shard::default(), owner(0));
    for number in 0..1_000 {
        shard.ask(&owner, acquire(lock(number), number));
    }
    let leases: Vec<_> = (0..1_000).map(lease).collect();
    Box::new(move || shard.ask(&owner, Ask::RenewMany { leases: leases.clone() }))
}

fn expire() -> Box<dyn FnMut()> {
    let (mut shard, owner, mut next) = (Shard::default(), owner(0), counter());
    Box::new(move || {
        for number in 0..100 {
            shard.ask(&owner, acquire(lock(number), next()));
        }
        shard.pass(Duration::from_secs(31));
        assert_eq!(shard.engine.census().holders, 0, "they have expired");
    })
}

fn load() -> Box<dyn FnMut()> {
    let owner = owner(0);
    let record = |number: usize| LockRecord {
        attempt: AttemptId { coordinator: CoordinatorId(2), number: number as u64 },
        epoch: Epoch::new(Revision::new(1)),
        holders: vec![StoredHolder {
            id: id(number).hash(&owner),
            owner: owner.clone(),
            claim: Claim::Exclusive,
            token: StoredToken::Known(Token::new(Revision::new(9), 0)),
            ttl: Ttl::default(),
            kept: false,
            granted_at: WallTime(1_700_000_000_000),
            note: None,
        }],
    };
    let entries: Vec<_> = (0..100).map(|number| entry(number, record(number))).collect();
    Box::new(move || {
        let mut shard = Shard::default();
        for entry in &entries {
            shard.load(entry.clone());
        }
        assert_eq!(shard.engine.census().holders, 100);
    })
}

fn check() -> Box<dyn FnMut()> {
    let (mut shard, owner) = (queue(Shard::default(), 100), owner(0));
    Box::new(move || shard.ask(&owner, Ask::Check { name: lock(0), limit: 100 }))
}
