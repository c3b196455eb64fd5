//! What people write by hand on a NATS KV bucket: create the key, and where it is there, watch until it is deleted
//! and try again. One watch for each owner and key is kept: one for each wait would soon reach the server's limits.

use std::collections::HashMap;

use async_nats::jetstream;
use async_nats::jetstream::kv::{Config, CreateErrorKind, Operation, Store, Watch};
use futures_util::StreamExt as _;

use super::natslock::nats_server;
use super::{CONNECTIONS, Class, Entry, Started};
use crate::Result;
use crate::process::eventually;
use crate::race::{Owner, Workload};

struct Holder {
    store: Store,
    watches: HashMap<String, Watch>,
}

pub async fn start() -> Started {
    let (server, url) = nats_server(false)?;
    let mut stores = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = eventually("NATS", async || Ok(async_nats::connect(&url).await?)).await?;
        let config = Config { bucket: "locks".into(), ..Config::default() };
        let context = jetstream::new(client);
        stores.push(
            eventually("JetStream", async || Ok(context.create_key_value(config.clone()).await?)).await?,
        );
    }
    let owner =
        |number: usize| Holder { store: stores[number % CONNECTIONS].clone(), watches: HashMap::new() };
    let owners = (0..Workload::OWNERS_MAX).map(owner).collect();
    Ok(Box::new(Entry { class: Class::PageCache, name: "NATS KV by hand", owners, _site: server }))
}

impl Holder {
    /// Waits until somebody deletes the key; the first time it only begins to watch.
    async fn deleted(&mut self, key: &str) -> Result<()> {
        let Some(watch) = self.watches.get_mut(key) else {
            self.watches.insert(key.to_owned(), self.store.watch(key).await?);
            return Ok(());
        };
        while let Some(entry) = watch.next().await {
            if entry?.operation != Operation::Put {
                return Ok(());
            }
        }
        Err("the watch has ended".into())
    }
}

impl Owner for Holder {
    async fn acquire(&mut self, key: &str) -> Result<()> {
        loop {
            match self.store.create(key, "held".into()).await {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => self.deleted(key).await?,
                // Somebody else wrote between the requests that a create is made of.
                Err(_) => {}
            }
        }
    }

    async fn release(&mut self, key: &str) -> Result<()> {
        Ok(self.store.delete(key).await?)
    }
}
