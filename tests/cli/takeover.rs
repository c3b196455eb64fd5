//! Two coordinators as processes: one leads, is killed or told to end, and the other takes over.

use std::time::Duration;

use natslock::client::{AcquireOptions, Client, LockGuard};
use natslock::clock::SystemClock;
use rustix::process::Signal;

use super::{Program, Running};
use crate::support::service::client;
use crate::support::{NatsServer, eventually, quiet};

const RUNS: usize = 10;
/// Held from beginning to end.
const HELD: usize = 100;

/// A coordinator as a process of its own, that leads or stands by.
fn serve(url: &str) -> Running {
    let mut running = Program::new(url).start(&["serve", "--leader-lease", "3s"]);
    running.told_until("started");
    running
}

async fn leader(client: &Client) -> u32 {
    let mut pid = 0;
    eventually("somebody leads", async || {
        pid = client.caller().leaders().await.map_or(0, |info| info.leaders[0].pid);
        pid != 0
    })
    .await;
    pid
}

/// Ends the leader `RUNS` times, and returns how long each time nobody was granted anything, sorted.
async fn gaps(end: impl Fn(&Running)) -> Vec<Duration> {
    let _quiet = quiet::measure().await;
    let server = NatsServer::start().await;
    let client = client(&server.url(), "steady").await;
    let mut coordinators = [serve(&server.url()), serve(&server.url())];
    leader(&client).await;
    let options = AcquireOptions::new().ttl(Duration::from_secs(5));
    let mut held = Vec::new();
    for number in 0..HELD {
        held.push(client.acquire_with(&format!("held.{number}"), options.clone()).await.unwrap());
    }
    let mut gaps = Vec::new();
    for run in 0..RUNS {
        let pid = leader(&client).await;
        let leading = coordinators.iter().position(|coordinator| coordinator.id() == pid).unwrap();
        let ended = SystemClock::boot();
        end(&coordinators[leading]);
        let guard = client.acquire(&format!("after.{run}")).await.unwrap();
        gaps.push(SystemClock::boot().since(ended));
        assert!(held.iter().all(LockGuard::is_valid), "a holder lost its lock");
        drop(guard);
        coordinators[leading] = serve(&server.url());
    }
    for guard in &held {
        let view = client.check(&guard.name().to_string()).await.unwrap().expect("still held");
        assert_eq!(view.holders[0].token, guard.token());
    }
    gaps.sort_unstable();
    gaps
}

#[tokio::test]
async fn a_killed_leader_is_replaced_within_two_seconds_and_no_holder_notices() {
    let gaps = gaps(|leader| leader.signal(Signal::KILL)).await;
    println!("kill -9: next grant after {:?} (median), {:?} at most", gaps[RUNS / 2], gaps[RUNS - 1]);
    assert!(gaps[RUNS / 2] < Duration::from_secs(2), "{gaps:?}");
}

#[tokio::test]
async fn a_leader_that_resigns_is_replaced_at_once() {
    let gaps = gaps(|leader| leader.signal(Signal::TERM)).await;
    println!("SIGTERM: next grant after {:?} (median), {:?} at most", gaps[RUNS / 2], gaps[RUNS - 1]);
    assert!(gaps[RUNS / 2] < Duration::from_millis(300), "{gaps:?}");
}
