//! Bytes to messages and back.

use std::hint::black_box;
use std::time::Duration;

use natslock::engine::message::{Ask, Grant, LockRecord, Reply, StoredHolder, StoredToken};
use natslock::types::{AttemptId, Claim, CoordinatorId, Epoch, Revision, ShardId, Token, Ttl, WallTime};
use natslock::wire::Format;
use natslock::wire::record::{decode_lock, encode_lock};
use natslock::wire::subject::{SubjectSpace, Verb};
use natslock::wire::{reply, request};

use crate::Operation;
use crate::shard::{acquire, id, lease, lock, owner};

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "codec: read a request to acquire, JSON",
        repetitions: 200,
        prepare: || read_acquire(Format::Json),
    },
    Operation {
        name: "codec: read a request to acquire, MessagePack",
        repetitions: 200,
        prepare: || read_acquire(Format::MessagePack),
    },
    Operation { name: "codec: read a renewal of 1000, MessagePack", repetitions: 10, prepare: read_renewal },
    Operation { name: "codec: write a grant, JSON", repetitions: 200, prepare: || write_grant(Format::Json) },
    Operation {
        name: "codec: write a grant, MessagePack",
        repetitions: 200,
        prepare: || write_grant(Format::MessagePack),
    },
    Operation { name: "codec: write a record", repetitions: 200, prepare: write_record },
    Operation { name: "codec: read a record", repetitions: 200, prepare: read_record },
];

fn read(verb: Verb, ask: &Ask, format: Format) -> Box<dyn FnMut()> {
    let space = SubjectSpace::new("default".parse().expect("a namespace"));
    let subject = space.request(verb, None::<ShardId>, &owner(0), ask.name());
    let body = request::encode(format, ask);
    Box::new(move || {
        let decoded = request::decode(&space, black_box(&subject), black_box(&body));
        drop(black_box(decoded.expect("a request")));
    })
}

fn read_acquire(format: Format) -> Box<dyn FnMut()> {
    read(Verb::Acquire, &acquire(lock(0), 0), format)
}

fn read_renewal() -> Box<dyn FnMut()> {
    let leases = (0..1_000).map(lease).collect();
    read(Verb::Renew, &Ask::RenewMany { leases }, Format::MessagePack)
}

fn write_grant(format: Format) -> Box<dyn FnMut()> {
    let epoch = Epoch::new(Revision::new(1_000_000));
    let granted = Reply::Granted(Grant {
        id: id(0),
        token: Token::new(Revision::new(1_000_123), 0),
        ttl: Ttl::default(),
        waited: Duration::from_millis(12),
        permits: None,
    });
    Box::new(move || drop(black_box(reply::encode(format, epoch, black_box(&granted)))))
}

fn record() -> LockRecord {
    let owner = owner(0);
    LockRecord {
        attempt: AttemptId { coordinator: CoordinatorId(2), number: 77 },
        epoch: Epoch::new(Revision::new(1_000_000)),
        holders: vec![StoredHolder {
            id: id(0).hash(&owner),
            owner,
            claim: Claim::Exclusive,
            token: StoredToken::Index(0),
            ttl: Ttl::default(),
            kept: false,
            granted_at: WallTime(1_700_000_000_000),
            note: None,
        }],
    }
}

fn write_record() -> Box<dyn FnMut()> {
    let record = record();
    Box::new(move || drop(black_box(encode_lock(black_box(&record)))))
}

fn read_record() -> Box<dyn FnMut()> {
    let stored = encode_lock(&record());
    Box::new(move || drop(black_box(decode_lock(black_box(&stored)).expect("a record"))))
}
