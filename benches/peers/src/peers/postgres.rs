//! Advisory locks of PostgreSQL: they belong to a session, so each owner has a connection. They are in memory.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use tokio_postgres::{Client, NoTls, Statement};

use super::{Class, Entry, Started};
use crate::Result;
use crate::process::{Process, User, eventually, folder, free_port};
use crate::race::{Owner, Workload};

struct Holder {
    client: Client,
    lock: Statement,
    unlock: Statement,
}

pub async fn start() -> Started {
    let user = unprivileged()?;
    let (folder, port) = (folder("postgres", user)?, free_port()?);
    let programs = programs()?;
    let mut initdb = Command::new(format!("{programs}/initdb"));
    initdb.args(["--pgdata=data", "--username=bench", "--auth=trust", "--no-sync"]).current_dir(&folder);
    if let Some(user) = user {
        use std::os::unix::process::CommandExt as _;
        initdb.uid(user.uid).gid(user.gid);
    }
    let made = initdb.output()?;
    if !made.status.success() {
        return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)).into());
    }
    let settings =
        ["-D", "data", "-h", "127.0.0.1", "-p", &port.to_string(), "-k", "", "-c", "max_connections=300"];
    let server = Process::start(&folder, format!("{programs}/postgres"), &settings, user)?;
    let options = format!("host=127.0.0.1 port={port} user=bench dbname=postgres");
    let mut owners = Vec::new();
    for _ in 0..Workload::OWNERS_MAX {
        owners.push(eventually("PostgreSQL", async || Holder::connect(&options).await).await?);
    }
    Ok(Box::new(Entry { class: Class::Memory, name: "PostgreSQL advisory locks", owners, _site: server }))
}

/// The server refuses to run as root: then the user that Debian has made for it.
fn unprivileged() -> Result<Option<User>> {
    if std::fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(None);
    }
    let passwd = std::fs::read_to_string("/etc/passwd")?;
    let line =
        passwd.lines().find(|line| line.starts_with("postgres:")).ok_or("there is no user postgres")?;
    let ids: Vec<u32> = line.split(':').skip(2).take(2).filter_map(|id| id.parse().ok()).collect();
    let [uid, gid] = ids[..] else { return Err(format!("not a user: {line}").into()) };
    Ok(Some(User { uid, gid }))
}

/// Where Debian keeps them: not on PATH, since several versions may be there.
fn programs() -> Result<String> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")?.flatten();
    let newest = versions.max_by_key(|version| version.file_name()).ok_or("there is no PostgreSQL")?;
    Ok(newest.path().join("bin").display().to_string())
}

impl Holder {
    async fn connect(options: &str) -> Result<Self> {
        let (client, connection) = tokio_postgres::connect(options, NoTls).await?;
        // It ends with the client.
        tokio::spawn(connection);
        let lock = client.prepare("SELECT pg_advisory_lock($1)").await?;
        let unlock = client.prepare("SELECT pg_advisory_unlock($1)").await?;
        Ok(Self { client, lock, unlock })
    }
}

fn number(key: &str) -> i64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish().cast_signed()
}

impl Owner for Holder {
    async fn acquire(&mut self, key: &str) -> Result<()> {
        self.client.query_one(&self.lock, &[&number(key)]).await?;
        Ok(())
    }

    async fn release(&mut self, key: &str) -> Result<()> {
        let held: bool = self.client.query_one(&self.unlock, &[&number(key)]).await?.get(0);
        if held { Ok(()) } else { Err("the lock was lost".into()) }
    }
}
