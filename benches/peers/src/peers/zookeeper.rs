//! ZooKeeper's recipe: an ephemeral node with a number in the lock's folder; the lowest holds the lock, and each
//! other watches the one before it. The folders are made once and kept.

use std::time::Duration;

use zookeeper_client::{Acls, Client, CreateMode, Error};

use super::{CONNECTIONS, Class, Entry, Started};
use crate::Result;
use crate::process::{Process, eventually, folder, free_port};
use crate::race::{Owner, Workload};

const ROOT: &str = "/locks";
const SESSION: Duration = Duration::from_secs(30);

struct Holder {
    client: Client,
    /// The node that stands for what is held.
    held: String,
}

pub async fn start(class: Class) -> Started {
    let (folder, port) = (folder("zookeeper", None)?, free_port()?);
    let settings = format!(
        "dataDir={}/data\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=2000\nmaxClientCnxns=0\n\
         admin.enableServer=false\n",
        folder.display(),
    );
    std::fs::write(folder.join("zoo.cfg"), settings)?;
    let (sync, name) = match class {
        Class::Fsync => ("yes", "ZooKeeper's recipe"),
        _ => ("no", "ZooKeeper's recipe, no fsync"),
    };
    let sync = format!("-Dzookeeper.forceSync={sync}");
    let arguments = [
        "-Xmx512m",
        "-cp",
        "/usr/share/java/zookeeper.jar",
        &sync,
        "-Dzookeeper.admin.enableServer=false",
        "org.apache.zookeeper.server.ZooKeeperServerMain",
        "zoo.cfg",
    ];
    let server = Process::start(&folder, "java", &arguments, None)?;
    let address = format!("127.0.0.1:{port}");
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let connect =
            async || Ok(Client::connector().with_session_timeout(SESSION).connect(&address).await?);
        clients.push(eventually("ZooKeeper", connect).await?);
    }
    make_folders(&clients[0]).await?;
    let owner = |number: usize| Holder { client: clients[number % CONNECTIONS].clone(), held: String::new() };
    let owners = (0..Workload::OWNERS_MAX).map(owner).collect();
    Ok(Box::new(Entry { class, name, owners, _site: server }))
}

async fn make_folders(client: &Client) -> Result<()> {
    let keys = Workload::ALL.into_iter().flat_map(|workload| {
        let owners = if workload == Workload::W2 { workload.owners() } else { 1 };
        (0..owners).flat_map(move |owner| workload.keys(owner))
    });
    let paths = keys.map(|key| format!("{ROOT}/{key}"));
    for path in [ROOT.to_owned()].into_iter().chain(paths) {
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        match client.create(&path, b"", &options).await {
            Ok(_) | Err(Error::NodeExists) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl Owner for Holder {
    async fn acquire(&mut self, key: &str) -> Result<()> {
        let folder = format!("{ROOT}/{key}");
        let options = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
        let (_, sequence) = self.client.create(&format!("{folder}/lock-"), b"", &options).await?;
        let mine = format!("lock-{sequence}");
        self.held = format!("{folder}/{mine}");
        loop {
            let mut waiting = self.client.list_children(&folder).await?;
            waiting.sort_unstable();
            let place = waiting.iter().position(|node| *node == mine).ok_or("the session has ended")?;
            let Some(before) = place.checked_sub(1) else { return Ok(()) };
            let before = format!("{folder}/{}", waiting[before]);
            let (there, watcher) = self.client.check_and_watch_stat(&before).await?;
            if there.is_some() {
                watcher.changed().await;
            }
        }
    }

    async fn release(&mut self, _: &str) -> Result<()> {
        Ok(self.client.delete(&self.held, None).await?)
    }
}
