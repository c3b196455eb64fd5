//! Tests against real NATS servers.

mod bad_input;
mod bucket;
mod connect;
mod contention;
mod costs;
mod crash;
mod discovery;
mod faults;
mod guards;
mod listener;
mod scripts;
mod store_contract;
mod transport;

use natslock::nats::{BucketConfig, Connection, NatsStore};
use natslock::store::StoreError;
use natslock::types::Revision;

use crate::support::eventually;

/// A bucket on one server.
fn bucket(name: &str) -> BucketConfig {
    let first_sequence = Revision::new(14_000_000_000_000);
    BucketConfig { bucket: name.into(), replicas: 1, first_sequence }
}

/// Opens a store, waiting for JetStream to be ready.
async fn open(connection: &Connection, config: &BucketConfig) -> NatsStore {
    let mut store = None;
    eventually("the bucket opens", async || {
        match NatsStore::open(connection.clone(), config.clone()).await {
            Ok(opened) => {
                store = Some(opened);
                true
            }
            Err(StoreError::Refused(reason)) => panic!("{reason}"),
            Err(_) => false,
        }
    })
    .await;
    store.unwrap()
}
