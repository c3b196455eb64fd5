//! The task of a coordinator, on a store and a connection in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use super::*;
use crate::clock::{SystemClock, within};
use crate::engine::message::Now;
use crate::store::MemoryStore;
use crate::transport::{MemoryTransport, Message};
use crate::types::Timestamp;

const PATIENCE: Duration = Duration::from_secs(30);
/// How much faster the clock of these tests goes.
const FASTER: u32 = 10;

/// The system's clock, faster.
#[derive(Debug, Clone, Copy)]
struct FastClock;

impl Clock for FastClock {
    fn now(&self) -> Now {
        let now = SystemClock.now();
        Now { boot: Timestamp::from_boot(now.boot.since_boot() * FASTER), ..now }
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        SystemClock.sleep_until(Timestamp::from_boot(deadline.since_boot() / FASTER)).await;
    }
}

/// A connection on which at some time nothing can be heard any more, and all else goes on.
#[derive(Clone)]
struct Deaf {
    transport: MemoryTransport,
    is_deaf: Arc<AtomicBool>,
}

impl Transport for Deaf {
    async fn subscribe(&self, subject: String) -> Result<BoxStream<'static, Message>, TransportError> {
        self.transport.subscribe(subject).await
    }

    async fn listen(&self, subject: String) -> Result<BoxStream<'static, Message>, TransportError> {
        match self.is_deaf.load(Ordering::SeqCst) {
            true => Err(TransportError::Unavailable("no room".into())),
            false => self.transport.listen(subject).await,
        }
    }

    async fn publish(
        &self,
        subject: String,
        reply: Option<String>,
        payload: Bytes,
    ) -> Result<(), TransportError> {
        self.transport.publish(subject, reply, payload).await
    }

    async fn flush(&self) {
        self.transport.flush().await;
    }

    fn new_inbox(&self) -> String {
        self.transport.new_inbox()
    }
}

/// A standby cannot hear, for want of room for its connection, and its leader goes. It takes over, and nobody would ever
/// be served again, because it keeps its leadership without being heard.
#[tokio::test]
async fn a_leader_that_hears_nobody_gives_way_to_one_that_does() {
    let (broker, store) = (MemoryTransport::new(), MemoryStore::new());
    let onlooker = broker.connect();
    let subjects = SubjectSpace::new(Config::default().namespace);
    let mut leaders = onlooker.subscribe(subjects.leader_events()).await.unwrap();
    let deaf = Deaf { transport: broker.connect(), is_deaf: Arc::default() };
    let first = Coordinator::start(store.clone(), deaf.clone(), FastClock, Config::default()).await.unwrap();
    deaf.is_deaf.store(true, Ordering::SeqCst);
    within(&SystemClock, PATIENCE, leaders.next()).await.flatten().expect("it takes over");
    let second = broker.connect();
    let mut second = Coordinator::start(store, second, FastClock, Config::default()).await.unwrap();
    let serves = within(&SystemClock, PATIENCE, second.ready()).await;
    assert_eq!(serves, Some(true), "the other leads");
    let ended = first.watch().wait_for(|status| *status == Status::Stopped).await.is_ok();
    assert!(ended && !first.status().is_leading());
}
