//! Coordinators are found by `nats micro`, whether they lead or stand by.

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
}
