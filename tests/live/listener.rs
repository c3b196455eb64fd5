//! The connection on which a coordinator hears its requests.

use std::time::Duration;

use futures_util::StreamExt as _;
use natslock::clock::{SystemClock, within};
use natslock::nats::{ConnectOptions, Credentials, NatsTransport, connect};
use natslock::service::{Config, Coordinator};
use natslock::transport::Transport as _;

use crate::support::{NatsServer, PATIENCE, eventually};

fn with(server: &NatsServer, credentials: Credentials) -> ConnectOptions {
    ConnectOptions { credentials, ..server.options() }
}

/// The same for who stands in the URL.
fn in_url(server: &NatsServer, who: &str) -> ConnectOptions {
    ConnectOptions::to(&server.url().replace("//", &format!("//{who}@")))
}

async fn leads(options: &ConnectOptions) {
    let mut coordinator = Coordinator::connect(options, Config::default(), 1).await.unwrap();
    let ready = within(&SystemClock, PATIENCE, coordinator.ready()).await;
    assert_eq!(ready, Some(true), "{options:?}");
    coordinator.shutdown().await;
}

/// (Keys are tried in `tests/security`.)
#[tokio::test]
async fn passwords_and_tokens_open_it() {
    let server = NatsServer::start_with("authorization { user: \"ada l\", password: \"p@ss\" }\n").await;
    let user = Credentials::User { name: "ada l".into(), password: "p@ss".into() };
    leads(&with(&server, user)).await;
    leads(&in_url(&server, "ada%20l:p%40ss")).await;
    let server = NatsServer::start_with("authorization { token: sesame }\n").await;
    leads(&with(&server, Credentials::Token("sesame".into()))).await;
    leads(&in_url(&server, "sesame")).await;
}

#[tokio::test]
async fn where_there_is_no_room_for_it_that_is_told() {
    let server = NatsServer::start_with("max_connections: 1\n").await;
    let refused = Coordinator::connect(&server.options(), Config::default(), 1).await.unwrap_err();
    let told = refused.to_string();
    assert!(told.contains("requests cannot be heard") && told.contains("maximum connections"), "{told}");
    assert!(refused.is_retryable());
}

#[tokio::test]
async fn what_may_not_be_heard_is_told() {
    let user = "{ user: deaf, password: p, permissions: { subscribe: { deny: [\"a.>\"] } } }";
    let server = NatsServer::start_bare(&format!("authorization {{ users: [ {user} ] }}\n")).await;
    let transport = listening(&in_url(&server, "deaf:p")).await;
    let refused = transport.listen("a.>".into()).await.map(drop).unwrap_err();
    assert_eq!(refused.to_string(), "cannot be sent: no permission to subscribe to a.>");
    assert!(transport.listen("b.>".into()).await.is_ok(), "others may be heard");
}

async fn listening(options: &ConnectOptions) -> NatsTransport {
    NatsTransport::listening(connect(options).await.unwrap(), options).unwrap()
}

#[tokio::test]
async fn a_subscription_that_is_dropped_is_taken_back() {
    let server = NatsServer::start_bare("").await;
    let transport = listening(&server.options()).await;
    let other = server.connect().await;
    let asked = async || other.bare_request("a.b", "x".into()).await.map_err(|error| error.to_string());
    let mut heard = transport.listen("a.*".into()).await.unwrap();
    NatsTransport::new(other.clone()).publish("a.b".into(), None, "x".into()).await.unwrap();
    assert!(within(&SystemClock, PATIENCE, heard.next()).await.flatten().is_some());
    drop(heard);
    eventually("nobody listens", async || asked().await.is_err_and(|why| why.contains("no responders")))
        .await;
}

#[tokio::test]
async fn it_hears_again_after_a_restart_of_the_server() {
    let mut server = NatsServer::start_bare("").await;
    let transport = listening(&server.options()).await;
    let mut heard = transport.listen("a.*".into()).await.unwrap();
    server.kill();
    server.resume().await;
    let other = NatsTransport::new(server.connect().await);
    eventually("it is heard", async || {
        other.publish("a.b".into(), Some("r".into()), "x".into()).await.unwrap();
        within(&SystemClock, Duration::from_millis(50), heard.next()).await.is_some()
    })
    .await;
}
