//! No library: the protocol is JSON over any NATS client. `./nats/run cargo run --example plain_nats`.
//!
//! Only the coordinator in the first lines comes from natslock; with one running anyway (`natslock dev`), all
//! that is needed is a NATS connection. A real client repeats a request that gets no answer, with the same id,
//! and releases until it is answered.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;
use std::time::Duration;

use async_nats::Client;
use natslock::clock::{SystemClock, within};
use natslock::nats::ConnectOptions;
use natslock::service::{Config, Coordinator};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let Ok(url) = std::env::var("NATS_URL") else {
        return Err("NATS_URL is not set; run this as: ./nats/run cargo run --example plain_nats".into());
    };
    let connect = ConnectOptions { urls: vec![url.clone()], ..ConnectOptions::default() };
    let mut coordinator = Coordinator::connect(&connect, Config::default(), 1).await?;
    // Where another one leads already, that one answers.
    let _ = within(&SystemClock, Duration::from_secs(3), coordinator.ready()).await;

    let nats = async_nats::connect(&url).await?;
    let mut released = nats.subscribe("natslock-event.default.released.orders.42").await?;

    let alice = json!({ "id": "alices-first", "ttl_ms": 10_000, "note": "billing run" });
    let granted = ask(&nats, "acquire.alice.orders.42", alice).await?;
    assert_eq!(granted["status"], "granted");

    // A try finds it held, and says by whom.
    let held = ask(&nats, "acquire.bob.orders.42", json!({ "id": "bobs-first" })).await?;
    assert_eq!(held["holders"][0]["owner"], "alice");

    // One who waits gets the answer when the lock is handed over: one request, one reply, nothing in between.
    let waiting = {
        let nats = nats.clone();
        let body = json!({ "id": "bobs-first", "wait_ms": 8_000 });
        tokio::spawn(async move { ask(&nats, "acquire.bob.orders.42", body).await })
    };
    while ask(&nats, "check.bob.orders.42", json!({})).await?["waiter_count"] == 0 {}
    ask(&nats, "renew.alice.orders.42", json!({ "id": "alices-first" })).await?;
    ask(&nats, "release.alice.orders.42", json!({ "id": "alices-first" })).await?;
    let handed = waiting.await??;
    assert!(handed["token"].as_u64() > granted["token"].as_u64(), "tokens rise");
    ask(&nats, "release.bob.orders.42", json!({ "id": "bobs-first", "token": handed["token"] })).await?;

    // Everybody may listen to the release channel; whoever does not want to queue tries again then.
    for _ in 0..2 {
        let event = futures_util::StreamExt::next(&mut released).await.ok_or("the subscription ended")?;
        println!("event     {}", String::from_utf8_lossy(&event.payload));
    }
    ask(&nats, "check.bob.orders.42", json!({})).await?;
    coordinator.shutdown().await;
    Ok(())
}

/// One request. Its time-out is longer than the wait it asks for.
async fn ask(nats: &Client, what: &str, body: Value) -> Result<Value> {
    let subject = format!("natslock.default.{what}");
    println!("request   {subject}  {body}");
    let request =
        async_nats::Request::new().payload(body.to_string().into()).timeout(Some(Duration::from_secs(9)));
    let reply = nats.send_request(subject, request).await?;
    let answer: Value = serde_json::from_slice(&reply.payload)?;
    println!("answer    {answer}");
    Ok(answer)
}
