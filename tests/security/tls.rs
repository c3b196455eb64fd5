//! Who does not show the right certificate is not let in, and does not speak to the wrong server.

use natslock::nats::{ConnectError, ConnectOptions, Tls, connect};

use super::Site;
use super::site::make_certs;
use crate::support::Folder;

async fn refused(options: &ConnectOptions) -> ConnectError {
    match connect(&ConnectOptions { keep_trying: false, ..options.clone() }).await {
        Ok(_) => panic!("it was let in"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn with_tls_the_servers_certificate_must_be_of_the_known_authority() {
    let site = Site::start("secure.conf").await;
    let right = site.options("alice");
    let anonymous = Tls { identity: None, ..right.tls.clone() };
    connect(&ConnectOptions { tls: anonymous.clone(), ..right.clone() }).await.unwrap();

    let other = Folder::new();
    make_certs(&other.0.join("certs"));
    let authority = Some(other.0.join("certs/ca.pem"));
    let wrong = Tls { authority, ..anonymous.clone() };
    let error = refused(&ConnectOptions { tls: wrong, ..right.clone() }).await;
    assert!(error.to_string().contains("certificate"), "{error}");
    let system = Tls { authority: None, ..anonymous };
    refused(&ConnectOptions { tls: system, ..right }).await;
}

#[tokio::test]
async fn who_has_no_key_of_a_user_is_not_let_in() {
    let site = Site::start("secure.conf").await;
    let nobody = ConnectOptions { credentials: natslock::nats::Credentials::None, ..site.options("alice") };
    let error = refused(&nobody).await;
    assert!(matches!(error, ConnectError::Unauthorized { .. }), "{error}");
    let stranger = nkeys::KeyPair::new_user().seed().unwrap();
    let stranger = ConnectOptions {
        credentials: natslock::nats::Credentials::NkeySeed(stranger),
        ..site.options("alice")
    };
    let error = refused(&stranger).await;
    assert!(matches!(error, ConnectError::Unauthorized { .. }), "{error}");
}

#[tokio::test]
async fn with_mutual_tls_clients_show_a_certificate_too() {
    let site = Site::start("mutual-tls.conf").await;
    let right = site.options("alice");
    connect(&right).await.unwrap();

    let none = Tls { identity: None, ..right.tls.clone() };
    refused(&ConnectOptions { tls: none, ..right.clone() }).await;
    let other = Folder::new();
    make_certs(&other.0.join("certs"));
    let identity = Some((other.0.join("certs/client.pem"), other.0.join("certs/client.key")));
    let foreign = Tls { identity, ..right.tls.clone() };
    refused(&ConnectOptions { tls: foreign, ..right.clone() }).await;
    // The server's own certificate is not for clients.
    let identity = Some((site.certificate("server.pem"), site.certificate("server.key")));
    let misused = Tls { identity, ..right.tls.clone() };
    refused(&ConnectOptions { tls: misused, ..right }).await;
}

#[tokio::test]
async fn a_client_that_wants_tls_does_not_go_on_without() {
    let server = crate::support::NatsServer::start_bare("").await;
    let options = ConnectOptions { tls: Tls { required: true, ..Tls::default() }, ..server.options() };
    refused(&options).await;
    // And a server that wants it does not let one in without: plain nats:// is upgraded, or refused.
    let site = Site::start("secure.conf").await;
    let plain =
        ConnectOptions { urls: vec![site.server.url()], tls: Tls::default(), ..site.options("alice") };
    refused(&plain).await;
}
