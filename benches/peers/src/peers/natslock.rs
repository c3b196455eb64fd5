//! natslock itself: its client library, and a coordinator in a process of its own.

use std::process::Command;
use std::sync::Arc;

use natslock::client::{Client, ClientOptions, LockGuard};
use natslock::nats::{ConnectOptions, NatsTransport, connect};
use natslock::service::{Config, Coordinator};
use natslock::transport::SharedTransport;
use natslock::types::OwnerName;

use super::{CONNECTIONS, Class, Entry, Started};
use crate::Result;
use crate::process::{Process, eventually, folder, free_port};
use crate::race::{Owner, Workload};

struct Holder {
    client: Client,
    guard: Option<LockGuard>,
    /// It gives back with one message, which is not answered.
    detaches: bool,
}

pub async fn start(class: Class, detaches: bool) -> Started {
    let (server, url) = nats_server(class == Class::Fsync)?;
    let program = std::env::current_exe()?;
    let coordinator = Process::start(&folder("coordinator", None)?, program, &["coordinator", &url], None)?;
    let mut owners = Vec::new();
    let mut transports = Vec::new();
    for _ in 0..CONNECTIONS {
        let connection = eventually("NATS", async || Ok(connect(&ConnectOptions::to(&url)).await?)).await?;
        transports.push(SharedTransport::new(NatsTransport::new(connection)));
    }
    for number in 0..Workload::OWNERS_MAX {
        let options = ClientOptions::new(OwnerName::encode(&format!("owner-{number}"))?);
        let client = Client::over(transports[number % CONNECTIONS].clone(), options).await?;
        owners.push(Holder { client, guard: None, detaches });
    }
    eventually("the coordinator", async || Ok(owners[0].client.caller().leaders().await?)).await?;
    let name = if detaches { "**natslock**, one-way release" } else { "**natslock**" };
    Ok(Box::new(Entry { class, name, owners, _site: (server, coordinator) }))
}

/// A server with JetStream; a write is acknowledged when it is in the page cache, or when it is on the disk.
pub(super) fn nats_server(sync: bool) -> Result<(Arc<Process>, String)> {
    let install = concat!(env!("CARGO_MANIFEST_DIR"), "/../../nats/install");
    let found = Command::new("sh").arg(install).output()?;
    let program = String::from_utf8(found.stdout)?.trim().to_owned();
    let (folder, port) = (folder("nats", None)?, free_port()?);
    let always = if sync { ", sync_interval: always" } else { "" };
    let store = folder.join("store");
    let text = format!("listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {store:?}{always} }}\n");
    std::fs::write(folder.join("server.conf"), text)?;
    let server = Process::start(&folder, program, &["-c", "server.conf"], None)?;
    Ok((Arc::new(server), format!("nats://127.0.0.1:{port}")))
}

/// What the coordinator's process does, until it is ended.
pub async fn coordinator(url: &str) -> Result<()> {
    let options = ConnectOptions { keep_trying: true, ..ConnectOptions::to(url) };
    let mut coordinator = Coordinator::connect(&options, Config::default(), 1).await?;
    loop {
        coordinator.changed().await;
    }
}

impl Owner for Holder {
    async fn acquire(&mut self, key: &str) -> Result<()> {
        self.guard = Some(self.client.acquire(key).await?);
        Ok(())
    }

    async fn release(&mut self, _: &str) -> Result<()> {
        let guard = self.guard.take().ok_or("nothing is held")?;
        if self.detaches {
            guard.release_detached();
        } else {
            guard.release().await.ok_or("the lock was lost")?;
        }
        Ok(())
    }
}
