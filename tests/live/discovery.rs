//! Coordinators are found by `nats micro`, whether they lead or stand by.

use async_nats::service;
use natslock::nats::ConnectOptions;
use natslock::service::{Config, Coordinator};
use serde_json::Value;

use crate::support::eventually;
use crate::support::service::Service;

#[tokio::test]
async fn leaders_and_standbys_introduce_themselves() {
    let service = Service::start().await;
    let options = ConnectOptions { keep_trying: true, ..service.server.options() };
    let _standby = Coordinator::connect(&options, Config::default(), 1).await.unwrap();
    let mut wire = service.wire().await;
    wire.json("natslock.default.acquire.ada.a", r#"{"id":"1"}"#).await;
    wire.json("natslock.default.acquire.ada.a", r#"{"ttl_ms":1}"#).await;
    let mut ping = async |subject: &str| -> Value { wire.json(subject, "").await };
    let mut roles = std::collections::BTreeSet::new();
    let mut id = String::new();
    eventually("both answer", async || {
        let pong = ping("$SRV.PING.natslock").await;
        assert_eq!(pong["type"], "io.nats.micro.v1.ping_response");
        let role = pong["metadata"]["role"].as_str().unwrap().to_owned();
        if role == "leading" {
            id = pong["id"].as_str().unwrap().to_owned();
        }
        roles.insert(role);
        roles.len() == 2
    })
    .await;
    // Answers to the pings may still come.
    let mut wire = service.wire().await;
    let info = wire.json(&format!("$SRV.INFO.natslock.{id}"), "").await;
    assert_eq!(info["endpoints"][0]["subject"], "natslock.default.acquire.>");
    let stats = wire.json(&format!("$SRV.STATS.natslock.{id}"), "").await;
    let acquire = &stats["endpoints"][0];
    assert_eq!((&acquire["num_requests"], &acquire["num_errors"]), (&2.into(), &1.into()), "{stats}");
    assert_eq!(acquire["last_error"], "invalid_ttl");
    assert!(acquire["processing_time"].as_u64().unwrap() > 0, "{stats}");
    // What the service API's own types make of it.
    let pong = wire.json(&format!("$SRV.PING.natslock.{id}"), "").await;
    let pong = serde_json::from_value::<service::PingResponse>(pong).unwrap();
    let info = serde_json::from_value::<service::Info>(info).unwrap();
    let stats = serde_json::from_value::<service::Stats>(stats).unwrap();
    assert_eq!((pong.name.as_str(), &pong.id, &info.id, &stats.id), ("natslock", &id, &id, &id));
    assert_eq!((&info.version, &info.metadata["role"]), (&pong.version, &pong.metadata["role"]));
    assert_eq!(info.endpoints.len(), stats.endpoints.len());
    let [offered, done] = [&info.endpoints[0].name, &stats.endpoints[0].name];
    assert_eq!((offered, done), (&"acquire".to_owned(), offered));
    assert_eq!(stats.endpoints[0].last_error.as_ref().unwrap().status, "invalid_ttl");
    let spent = &stats.endpoints[0];
    assert_eq!(spent.average_processing_time.as_nanos(), spent.processing_time.as_nanos() / 2, "truncated");
}
