//! Elections on a real server: what an observer is told while coordinators and servers come and go.

use std::ffi::OsStr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use natslock::client::{Client, Election, Leader};
use natslock::clock::{SystemClock, within};
use natslock::service::Config;

use crate::support::process::Guarded;
use crate::support::service::{Service, client};
use crate::support::{PATIENCE, eventually};

const URL: &str = "NATSLOCK_TEST_CANDIDATE_URL";
const LEASE: Duration = Duration::from_secs(2);

fn election(client: Client) -> Election {
    Election::new(client, "scheduler").unwrap().ttl(LEASE)
}

async fn next(leaders: &mut BoxStream<'static, Option<Leader>>) -> Option<Leader> {
    within(&SystemClock, PATIENCE, leaders.next()).await.expect("news in time").expect("the stream goes on")
}

/// The part of the child process; without its environment it has nothing to do.
#[tokio::test]
async fn candidate() {
    let Ok(url) = std::env::var(URL) else { return };
    let leadership = election(client(&url, "first").await).campaign("first:1").await.unwrap();
    leadership.lost().await;
}

#[tokio::test]
async fn a_killed_leader_is_replaced_within_its_lease() {
    let service = Service::start().await;
    let second = election(service.client("second").await);
    let mut leaders = second.observe().await.unwrap();
    assert_eq!(next(&mut leaders).await, None);
    let (program, url) = (std::env::current_exe().unwrap(), format!("{URL}={}", service.server.url()));
    let arguments = [OsStr::new(&url), program.as_os_str(), OsStr::new("examples::election::candidate")];
    let first = Guarded::start(OsStr::new("env"), &[&arguments[..], &[OsStr::new("--exact")]].concat());
    let dead = next(&mut leaders).await.unwrap();
    assert_eq!(dead.address, "first:1");
    let campaign = tokio::spawn(async move { second.campaign("second:2").await.unwrap() });
    let probe = service.client("probe").await;
    eventually("the second waits", async || {
        probe.check("scheduler").await.unwrap().is_some_and(|view| view.waiter_count == 1)
    })
    .await;
    drop(first);
    let killed = SystemClock::boot();
    let leadership = campaign.await.unwrap();
    let idle = SystemClock::boot().since(killed);
    println!("nobody led for {idle:?} after the kill, with a lease of {LEASE:?}");
    assert!(idle < LEASE + Duration::from_secs(1), "{idle:?}");
    let leader = next(&mut leaders).await.unwrap();
    assert_eq!((leader.address.as_str(), leader.token), ("second:2", leadership.token()));
    assert!(leader.token > dead.token);
}

/// Events are lost while there is no server and nobody to send them; no change of leader is.
#[tokio::test]
async fn an_observer_misses_no_leader_across_restarts() {
    let mut service = Service::start().await;
    let election = election(service.client("candidate").await).ttl(Duration::from_secs(30));
    let mut leaders = election.observe().await.unwrap();
    assert_eq!(next(&mut leaders).await, None);
    for round in 0..4 {
        let leadership = election.campaign(format!("round:{round}")).await.unwrap();
        let leader = next(&mut leaders).await.unwrap();
        assert_eq!((leader.address.as_str(), leader.token), (&*format!("round:{round}"), leadership.token()));
        match round {
            0 => {
                service.resign().await;
                service.lead(Config::default()).await;
            }
            1 => service.server.restart().await,
            _ => {}
        }
        assert!(leadership.is_valid());
        // What is released while nobody serves is released when somebody does.
        leadership.resign().await.expect("it led until now");
        assert_eq!(next(&mut leaders).await, None);
    }
}
