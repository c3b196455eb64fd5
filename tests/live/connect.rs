//! Connections that fail, and say why.

use std::time::Duration;

use natslock::clock::{SystemClock, within};
use natslock::nats::{ConnectError, ConnectOptions, Credentials, NatsTransport, connect};
use natslock::transport::Transport as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::support::NatsServer;

#[tokio::test]
async fn nobody_there_is_told_with_the_urls() {
    let mut server = NatsServer::start_bare("").await;
    server.kill();
    let error = connect(&server.options()).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains(&server.url()), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let urls = vec![format!("nats://{}", listener.local_addr().unwrap())];
    let options = ConnectOptions { urls, timeout: Duration::from_millis(300), ..ConnectOptions::default() };
    let refused = within(&SystemClock, Duration::from_secs(2), connect(&options)).await;
    let error = refused.expect("bounded").unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn wrong_credentials_are_told_apart() {
    let server = NatsServer::start_bare("authorization { user: ada, password: right }\n").await;
    for password in ["wrong", ""] {
        let credentials = Credentials::User { name: "ada".into(), password: password.into() };
        let options = ConnectOptions { credentials, keep_trying: true, ..server.options() };
        let error = connect(&options).await.unwrap_err();
        assert!(matches!(error, ConnectError::Unauthorized { .. }), "{error}");
    }
    let credentials = Credentials::User { name: "ada".into(), password: "right".into() };
    connect(&ConnectOptions { credentials, ..server.options() }).await.unwrap();
}

/// Somebody listens to everything, if only to look: then nobody is told that nobody is there.
#[tokio::test]
async fn one_who_hears_everything_is_in_nobodys_way() {
    let server = NatsServer::start_bare("").await;
    let onlooker = NatsTransport::new(server.connect().await);
    let _heard = onlooker.subscribe(">".into()).await.unwrap();
    let transport = NatsTransport::new(server.connect().await);
    let subscribing = transport.subscribe("a.b".into());
    let subscribed = within(&SystemClock, Duration::from_secs(3), subscribing).await;
    assert!(subscribed.expect("well before the confirmation is given up").is_ok());
}

#[tokio::test]
async fn it_can_keep_trying_until_a_server_comes() {
    let mut server = NatsServer::start_bare("").await;
    server.kill();
    let options = ConnectOptions { keep_trying: true, ..server.options() };
    let connecting = tokio::spawn(async move { connect(&options).await });
    server.resume().await;
    connecting.await.unwrap().unwrap().close().await;
}

#[tokio::test]
async fn too_old_a_server_is_told_with_both_versions() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let urls = vec![format!("nats://{}", listener.local_addr().unwrap())];
    let old = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(b"INFO {\"version\":\"2.9.10\",\"max_payload\":1048576}\r\n").await.unwrap();
        let mut line = String::new();
        while !line.starts_with("PING") {
            line.clear();
            stream.read_line(&mut line).await.unwrap();
        }
        stream.write_all(b"PONG\r\n").await.unwrap();
    });
    let error = connect(&ConnectOptions { urls, ..ConnectOptions::default() }).await.unwrap_err();
    assert!(matches!(error, ConnectError::TooOld { .. }) && !error.is_retryable());
    let text = error.to_string();
    assert!(text.contains("2.9.10") && text.contains("2.14.4") && text.contains("nats/install"), "{text}");
    old.await.unwrap();
}
