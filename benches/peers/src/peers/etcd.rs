//! etcd's own lock service: a lease for each owner, a request to lock that is answered when the lock is held.

use etcd_client::{Client, LockOptions};

use super::{CONNECTIONS, Class, Entry, Started};
use crate::Result;
use crate::process::{Process, eventually, folder, free_port};
use crate::race::{Owner, Workload};

/// Longer than any run: nothing has to be kept alive.
const LEASE_SECONDS: i64 = 3_600;

struct Holder {
    client: Client,
    lease: i64,
    /// The key that stands for what is held.
    held: Vec<u8>,
}

pub async fn start(class: Class) -> Started {
    let (folder, port, peer_port) = (folder("etcd", None)?, free_port()?, free_port()?);
    let (url, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer_port}"));
    let cluster = format!("default={peer}");
    let mut arguments = vec!["--data-dir", "data", "--log-level", "error"];
    arguments.extend(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
    arguments.extend(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    arguments.extend(["--initial-cluster", &cluster]);
    let name = match class {
        Class::Fsync => "etcd's lock service",
        _ => {
            arguments.push("--unsafe-no-fsync");
            "etcd's lock service, no fsync"
        }
    };
    let server = Process::start(&folder, "etcd", &arguments, None)?;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let connect = async || {
            let mut client = Client::connect([&url], None).await?;
            client.status().await?;
            Ok(client)
        };
        clients.push(eventually("etcd", connect).await?);
    }
    let mut owners = Vec::new();
    for number in 0..Workload::OWNERS_MAX {
        let mut client = clients[number % CONNECTIONS].clone();
        let lease = client.lease_grant(LEASE_SECONDS, None).await?.id();
        owners.push(Holder { client, lease, held: Vec::new() });
    }
    Ok(Box::new(Entry { class, name, owners, _site: server }))
}

impl Owner for Holder {
    async fn acquire(&mut self, key: &str) -> Result<()> {
        let options = LockOptions::new().with_lease(self.lease);
        self.held = self.client.lock(key, Some(options)).await?.key().to_vec();
        Ok(())
    }

    async fn release(&mut self, _: &str) -> Result<()> {
        self.client.unlock(std::mem::take(&mut self.held)).await?;
        Ok(())
    }
}
