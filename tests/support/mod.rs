//! What tests share.

mod cluster;
pub(crate) mod model;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod quiet;
pub(crate) mod raw;
mod server;
pub(crate) mod service;
pub(crate) mod world;

pub(crate) use cluster::NatsCluster;
pub(crate) use server::{Folder, NatsServer, binary};

use std::time::Duration;

use natslock::clock::{Clock as _, SystemClock, within};

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds, asking again every 10 ms.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let holds = within(&SystemClock, PATIENCE, async {
        while !condition().await {
            SystemClock.sleep_until(SystemClock::boot() + Duration::from_millis(10)).await;
        }
    });
    assert!(holds.await.is_some(), "waited {PATIENCE:?} in vain: {what}");
}
