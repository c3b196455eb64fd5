use futures_util::stream::BoxStream;

use super::*;
use crate::client::{ClientOptions, LostReason};
use crate::clock::within;
use crate::service::{Config, Coordinator};
use crate::store::MemoryStore;
use crate::transport::{MemoryTransport, SharedTransport};

const PATIENCE: Duration = Duration::from_secs(20);
const LEASE: Duration = Duration::from_secs(1);

/// Coordinators on one store, and clients of them.
struct World {
    broker: MemoryTransport,
    store: MemoryStore,
    coordinator: Option<Coordinator>,
}

impl World {
    async fn new() -> Self {
        let (broker, store) = (MemoryTransport::new(), MemoryStore::new());
        let mut world = Self { broker, store, coordinator: None };
        world.restart().await;
        world
    }

    /// Another coordinator takes over.
    async fn restart(&mut self) {
        if let Some(old) = self.coordinator.take() {
            old.shutdown().await;
        }
        let connection = self.broker.connect();
        let mut next =
            Coordinator::start(self.store.clone(), connection, SystemClock, Config::default()).await.unwrap();
        assert!(next.ready().await);
        self.coordinator = Some(next);
    }

    async fn candidate(&self, owner: &str) -> Election {
        let options = ClientOptions::new(OwnerName::encode(owner).unwrap());
        let client = Client::over(SharedTransport::new(self.broker.connect()), options).await.unwrap();
        Election::new(client, "scheduler").unwrap().ttl(LEASE)
    }
}

async fn next(leaders: &mut BoxStream<'static, Option<Leader>>) -> Option<Leader> {
    within(&SystemClock, PATIENCE, leaders.next()).await.expect("news in time").expect("the stream goes on")
}

/// The candidate leads in another task as soon as it can, and resigns when it is told to.
fn campaign(election: Election, address: &'static str) -> tokio::task::JoinHandle<Leadership> {
    tokio::spawn(async move { election.campaign(address).await.unwrap() })
}

async fn queued(election: &Election, count: usize) {
    let waits = async {
        while election.client.caller().view(&election.name).await.unwrap().unwrap().waiter_count != count {
            tokio::task::yield_now().await;
        }
    };
    within(&SystemClock, PATIENCE, waits).await.unwrap();
}

#[tokio::test]
async fn an_observer_sees_every_leader_also_across_a_change_of_coordinators() {
    let mut world = World::new().await;
    let (alice, bob) = (world.candidate("alice").await, world.candidate("bob").await);
    let mut leaders = world.candidate("observer").await.observe().await.unwrap();
    assert_eq!(next(&mut leaders).await, None);
    let mut highest = None;
    for round in 0..3 {
        let first = alice.campaign("a:1").await.unwrap();
        let seen = next(&mut leaders).await.unwrap();
        assert_eq!((seen.address.as_str(), seen.token), ("a:1", first.token()));
        let waiting = campaign(bob.clone(), "b:2");
        queued(&alice, 1).await;
        if round > 0 {
            world.restart().await;
        }
        let token = first.token();
        first.resign().await;
        let second = waiting.await.unwrap();
        let seen = next(&mut leaders).await.unwrap();
        let bob = OwnerName::encode("bob").unwrap();
        assert_eq!(seen, Leader { owner: bob, address: "b:2".into(), token: second.token() });
        assert!(second.token() > token && Some(token) > highest, "tokens rise");
        highest = Some(second.token());
        second.resign().await;
        assert_eq!(next(&mut leaders).await, None);
    }
}

#[tokio::test]
async fn a_leader_lives_through_a_change_of_coordinators() {
    let mut world = World::new().await;
    let election = world.candidate("alice").await;
    let mut leaders = election.observe().await.unwrap();
    assert_eq!(next(&mut leaders).await, None);
    let leadership = election.campaign("a:1").await.unwrap();
    let token = next(&mut leaders).await.unwrap().token;
    world.restart().await;
    // Well beyond the lease time: somebody has renewed it.
    let lost = within(&SystemClock, LEASE * 2, leadership.lost()).await;
    assert_eq!((lost, leadership.token()), (None, token));
    assert!(leaders.next().now_or_never().is_none(), "nothing has changed");
}

#[tokio::test]
async fn resigning_hands_over_at_once() {
    let world = World::new().await;
    let (alice, bob) = (world.candidate("alice").await, world.candidate("bob").await);
    let first = alice.campaign("").await.unwrap();
    let waiting = campaign(bob, "b:2");
    queued(&alice, 1).await;
    let resigned = SystemClock::boot();
    drop(first);
    let _second = within(&SystemClock, PATIENCE, waiting).await.unwrap().unwrap();
    let idle = SystemClock::boot().since(resigned);
    assert!(idle < LEASE / 2, "nobody led for {idle:?}");
}

#[tokio::test]
async fn a_leader_that_falls_silent_is_replaced_within_its_lease() {
    let world = World::new().await;
    let (alice, bob) = (world.candidate("alice").await, world.candidate("bob").await);
    let dead = alice.campaign("a:1").await.unwrap().guard.leave();
    let silent = SystemClock::boot();
    let leadership = within(&SystemClock, PATIENCE, bob.campaign("b:2")).await.unwrap().unwrap();
    let idle = SystemClock::boot().since(silent);
    assert!(idle < LEASE + Duration::from_secs(1), "nobody led for {idle:?}");
    assert!(!dead.is_valid() && leadership.token() > dead.token);
}

#[tokio::test]
async fn a_leader_is_told_that_it_was_deposed_and_a_withdrawn_candidate_never_leads() {
    let world = World::new().await;
    let (alice, bob) = (world.candidate("alice").await, world.candidate("bob").await);
    let leadership = alice.campaign("a:1").await.unwrap();
    let withdrawn = campaign(bob.clone(), "b:2");
    queued(&alice, 1).await;
    withdrawn.abort();
    assert!(withdrawn.await.is_err());
    queued(&alice, 0).await;
    alice.client.caller().admin_release(&alice.name, None).await.unwrap();
    assert_eq!(leadership.run(leadership.lost()).await.unwrap_err().reason, LostReason::Revoked);
    assert_eq!(alice.leader().await.unwrap(), None);
}

#[tokio::test]
async fn what_a_deposed_coordinator_says_is_not_news() {
    let election = Election::new(Client::in_memory().await.unwrap(), "scheduler").unwrap();
    let events = stream::pending().boxed();
    let leaders = election.client.caller().shared.leaders.clone();
    let mut observer =
        Observer { election, events, leaders, shown: None, highest: None, look_at: SystemClock::boot() };
    let leader = |token| Leader {
        owner: OwnerName::encode("alice").unwrap(),
        address: String::new(),
        token: Token::from_raw(token),
    };
    assert!(observer.is_news(None) && observer.is_news(Some(&leader(512))));
    observer.shown = Some(Some(leader(512)));
    observer.highest = Some(Token::from_raw(512));
    assert!(!observer.is_news(Some(&leader(512))) && !observer.is_news(Some(&leader(256))));
    assert!(observer.is_news(None) && observer.is_news(Some(&leader(768))));
}
