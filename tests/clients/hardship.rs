//! What happens to clients in other languages when things go wrong.

use natslock::clock::SystemClock;
use natslock::service::Config;

use super::puppet::{Kind, Puppet};
use crate::support::eventually;
use crate::support::service::{Service, lock, options};

const OTHERS: [Kind; 2] = [Kind::Python, Kind::JavaScript];

async fn start(kind: Kind, service: &Service) -> Puppet {
    let owner = format!("{kind:?}").to_lowercase();
    Puppet::start(kind, &service.server.url(), &owner, "default").await
}

#[tokio::test]
async fn waiters_of_any_language_survive_a_change_of_the_leader() {
    let mut service = Service::start().await;
    let (client, name) = (service.client("holder").await, lock("handed.over"));
    let guard = client.acquire_with("handed.over", options(10_000, 0)).await.unwrap();
    let waiters = async |count: usize| {
        let view = client.caller().view(&name).await;
        view.is_ok_and(|view| view.is_some_and(|view| view.waiter_count == count))
    };
    let mut puppets = Vec::new();
    for kind in OTHERS {
        let mut puppet = start(kind, &service).await;
        puppet.told("hold handed.over 10000 60000").await;
        puppets.push(puppet);
    }
    eventually("both wait", async || waiters(2).await).await;
    service.resign().await;
    service.lead(Config::default()).await;
    eventually("both wait at the new leader", async || waiters(2).await).await;
    let before = guard.token().get();
    guard.release().await.unwrap();
    let tokens = puppets.into_iter().map(async |mut puppet| {
        let granted = puppet.is_granted().await;
        puppet.told("release").await;
        puppet.ends().await;
        granted.token
    });
    let tokens = futures_util::future::join_all(tokens).await;
    assert!(tokens[0] != tokens[1] && tokens.iter().all(|token| *token > before), "{before} {tokens:?}");
    assert!(client.caller().view(&name).await.unwrap().is_none(), "both gave it back");
}

#[tokio::test]
async fn a_cancelled_waiter_of_any_language_leaves_nothing_behind() {
    let service = Service::start().await;
    let (client, name) = (service.client("holder").await, lock("wanted"));
    let guard = client.acquire_with("wanted", options(10_000, 0)).await.unwrap();
    let waiters = async || client.caller().view(&name).await.unwrap().unwrap().waiter_count;
    for kind in OTHERS {
        let mut puppet = start(kind, &service).await;
        puppet.told("hold wanted 10000 60000").await;
        eventually("it waits", async || waiters().await == 1).await;
        puppet.told("cancel").await;
        assert_eq!(puppet.hears().await, ["CANCELLED"], "{kind:?}");
        assert_eq!(waiters().await, 0, "{kind:?} has left, with its process alive");
    }
    guard.release().await.unwrap();
}

#[tokio::test]
async fn a_holder_of_any_language_that_is_cut_off_stops_at_its_deadline() {
    let service = Service::start().await;
    let (client, ttl_ms) = (service.client("looker").await, 1_500);
    let mut puppets = Vec::new();
    for kind in OTHERS {
        let mut puppet = start(kind, &service).await;
        puppet.told(&format!("hold cut.off.{kind:?} {ttl_ms} 0")).await;
        puppet.is_granted().await;
        puppets.push((kind, puppet));
    }
    service.server.pause().await;
    // Whatever was answered was sent before this instant.
    let latest = SystemClock::boot() + std::time::Duration::from_millis(ttl_ms) * 99 / 100;
    for (kind, puppet) in &mut puppets {
        let lost = puppet.loses().await;
        assert!(lost.deadline <= latest, "{kind:?} believes for {:?} too long", lost.deadline.since(latest));
        assert!(lost.at >= lost.deadline && !lost.valid, "{kind:?}: {lost:?}");
        puppet.ends().await;
    }
    service.server.unpause();
    for kind in OTHERS {
        let name = lock(&format!("cut.off.{kind:?}"));
        let is_free = async || client.caller().view(&name).await.is_ok_and(|view| view.is_none());
        eventually("the lost lock is free", is_free).await;
    }
}
