//! The blocking client on a real server.

use natslock::blocking::Client;
use natslock::client::AcquireError;

use crate::support::service::Service;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_locked_when_the_program_ends() {
    let service = Service::start().await;
    let url = service.server.url();
    // Each drops its client right after its guard, as the end of `main` does.
    let locked = tokio::task::spawn_blocking(move || {
        for _ in 0..5 {
            let client = Client::connect(&url).unwrap();
            let guard = client.try_acquire("orders.42").expect("the one before has given it back");
            let other = Client::connect(&url).unwrap();
            assert!(matches!(other.try_acquire("orders.42"), Err(AcquireError::Held(_))));
            drop((client, guard));
        }
    });
    locked.await.unwrap();
    let held = service.client("witness").await.check("orders.42").await.unwrap();
    assert!(held.is_none(), "{held:?}");
}
