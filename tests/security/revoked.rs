//! Credentials that are taken away from somebody who holds a lock: it is told why it lost it, and others get it in time.

use std::time::Duration;

use natslock::client::LostReason;
use natslock::clock::{Clock as _, SystemClock, within};
use natslock::nats::{ConnectError, ConnectOptions, connect};
use natslock::service::Config;

use super::Site;
use crate::support::PATIENCE;
use crate::support::service::options;

/// What is done to Alice's user, while she holds a lock that Bob waits for.
async fn loses(site: &mut Site, done: impl FnOnce(&mut Site)) {
    let (alice, bob) = (site.client("alice").await, site.client("bob").await);
    let ttl = Duration::from_secs(3);
    let guard = alice.acquire_with("orders.42", options(3_000, 0)).await.unwrap();
    let waiting = tokio::spawn(async move { bob.acquire("orders.42").await.unwrap() });
    // She would keep it for ever: it has been renewed since.
    let first = guard.deadline();
    within(&SystemClock, PATIENCE, async {
        while guard.deadline() == first {
            SystemClock.sleep_until(SystemClock::boot() + Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("it is renewed");
    assert!(!waiting.is_finished());
    done(site);
    let taken = SystemClock::boot();
    let reason = within(&SystemClock, PATIENCE, guard.lost()).await.expect("she is told");
    assert_eq!(reason, LostReason::Forbidden);
    assert!(!guard.is_valid());
    assert!(SystemClock::boot().since(taken) <= ttl + Duration::from_secs(1), "not before long");
    let next = within(&SystemClock, PATIENCE, waiting).await.expect("Bob gets it").unwrap();
    assert!(next.token() > guard.token() && next.is_valid());
    next.release().await;
    drop(guard);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_taken_away_from_the_server_loses_its_locks_and_knows_why() {
    let mut site = Site::start("secure.conf").await;
    let coordinator = site.serve(Config::default()).await;
    loses(&mut site, |site| site.revoke("alice")).await;
    let again = ConnectOptions { keep_trying: false, ..site.options("alice") };
    let refused = connect(&again).await.map(drop).unwrap_err();
    assert!(matches!(refused, ConnectError::Unauthorized { .. }), "{refused}");
    coordinator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_only_look_from_now_on_loses_its_locks_and_knows_why() {
    let mut site = Site::start("secure.conf").await;
    let coordinator = site.serve(Config::default()).await;
    loses(&mut site, |site| site.regrant("alice", &["--role", "observer"])).await;
    coordinator.shutdown().await;
}
