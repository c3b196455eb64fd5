//! The transport on a real server.

use natslock::nats::{ConnectOptions, Credentials, NatsTransport, connect};
use natslock::transport::contract::{contract, next, subscribed};
use natslock::transport::{Transport as _, TransportError};

use crate::support::{NatsServer, eventually};

#[tokio::test]
async fn one_server_keeps_the_contract() {
    let server = NatsServer::start_bare("").await;
    contract(server.connect().await.into(), NatsTransport::new(server.connect().await)).await;
}

#[tokio::test]
async fn inboxes_begin_with_their_prefix() {
    let server = NatsServer::start_bare("").await;
    let options = ConnectOptions { inbox_prefix: Some("_cinbox.alice".into()), ..server.options() };
    let transport = NatsTransport::new(connect(&options).await.unwrap());
    assert!(transport.new_inbox().starts_with("_cinbox.alice."));
}

#[tokio::test]
async fn without_echo_a_connection_does_not_hear_itself() {
    let server = NatsServer::start_bare("").await;
    let other = NatsTransport::new(server.connect().await);
    let options = ConnectOptions { no_echo: true, ..server.options() };
    let transport = NatsTransport::new(connect(&options).await.unwrap());
    let mut own = subscribed(&transport, "a").await;
    let mut theirs = subscribed(&other, "a").await;
    transport.publish("a".into(), None, "own".into()).await.unwrap();
    assert_eq!(next(&mut theirs).await.payload, "own");
    other.publish("a".into(), None, "theirs".into()).await.unwrap();
    assert_eq!(next(&mut own).await.payload, "theirs");
}

#[tokio::test]
async fn a_client_with_few_permissions_can_subscribe_to_what_it_may() {
    let users = r#"authorization { users: [ { user: alice, password: x, permissions: {
        publish: "natslock.*.*.alice.>", subscribe: "_cinbox.alice.>" } } ] }"#;
    let server = NatsServer::start_bare(users).await;
    let credentials = Credentials::User { name: "alice".into(), password: "x".into() };
    let inbox_prefix = Some("_cinbox.alice".into());
    let options = ConnectOptions { credentials, inbox_prefix, ..server.options() };
    let transport = NatsTransport::new(connect(&options).await.unwrap());
    let inbox = transport.new_inbox();
    let mut answers = subscribed(&transport, &format!("{inbox}.*")).await;
    let request = "natslock.dev.acquire.alice.a".to_string();
    transport.publish(request, Some(format!("{inbox}.1")), "".into()).await.unwrap();
    assert!(next(&mut answers).await.no_responders);
    let refused = transport.subscribe("_cinbox.bob.*".into()).await.err().unwrap();
    assert!(matches!(&refused, TransportError::Refused(why) if why.contains("_cinbox.bob.*")), "{refused}");
}

#[tokio::test]
async fn too_large_a_message_is_refused() {
    let server = NatsServer::start_bare("max_payload: 1000\n").await;
    let transport = NatsTransport::new(server.connect().await);
    let refused = transport.publish("a".into(), None, vec![0; 1_001].into()).await;
    assert!(matches!(refused, Err(TransportError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn subscriptions_survive_a_restart() {
    let mut server = NatsServer::start_bare("").await;
    let listener = NatsTransport::new(server.connect().await);
    let speaker = NatsTransport::new(server.connect().await);
    let mut messages = subscribed(&listener, "a").await;
    let inbox = speaker.new_inbox();
    let mut notices = subscribed(&speaker, &format!("{inbox}.*")).await;
    server.restart().await;
    eventually("somebody listens again", async || {
        // A message that is not heard comes back; one that is, does not, and the next subject does.
        speaker.publish("a".into(), Some(format!("{inbox}.a")), "x".into()).await.unwrap();
        speaker.publish("nobody".into(), Some(format!("{inbox}.end")), "".into()).await.unwrap();
        let heard = next(&mut notices).await.subject.ends_with(".end");
        heard || !next(&mut notices).await.subject.ends_with(".end")
    })
    .await;
    assert_eq!(next(&mut messages).await.payload, "x");
}
