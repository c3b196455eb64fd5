//! The protocol of Redisson: a script takes the lock or says how long its lease still runs; who does not get it
//! listens on the lock's channel. The owners of one process (here: of one connection) share a subscription, and
//! each message wakes one of them, who tries again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::{MultiplexedConnection, PubSubSink};
use redis::{Client, Script};
use tokio::sync::{Mutex, Semaphore};

use super::{CONNECTIONS, Class, Entry, Started};
use crate::Result;
use crate::process::{Process, eventually, folder, free_port};
use crate::race::{Owner, Workload};

const LEASE_MS: u64 = 30_000;
const RELEASED: &str = "0";

/// Nothing where it is taken, else the milliseconds that the holder has left.
const TAKE: &str = r"
if redis.call('exists', KEYS[1]) == 1 and redis.call('hexists', KEYS[1], ARGV[1]) == 0 then
  return redis.call('pttl', KEYS[1])
end
redis.call('hincrby', KEYS[1], ARGV[1], 1)
redis.call('pexpire', KEYS[1], ARGV[2])
return false
";

const GIVE_BACK: &str = r"
if redis.call('hexists', KEYS[1], ARGV[1]) == 0 then
  return -1
end
if redis.call('hincrby', KEYS[1], ARGV[1], -1) > 0 then
  redis.call('pexpire', KEYS[1], ARGV[2])
  return 0
end
redis.call('del', KEYS[1])
redis.call('publish', KEYS[2], ARGV[3])
return 1
";

/// What the owners of one process share.
struct Shared {
    connection: MultiplexedConnection,
    subscriptions: Mutex<PubSubSink>,
    /// For each channel that is listened to, how many messages have come that nobody has taken yet.
    latches: Arc<std::sync::Mutex<HashMap<String, Arc<Semaphore>>>>,
    take: Script,
    give_back: Script,
}

struct Holder {
    shared: Arc<Shared>,
    id: String,
}

pub async fn start(class: Class) -> Started {
    let (folder, port) = (folder("redis", None)?, free_port()?);
    let (append, sync, name) = match class {
        Class::Memory => ("no", "no", "Redis (Redisson's protocol), no AOF"),
        Class::PageCache => ("yes", "everysec", "Redis (Redisson's protocol), AOF everysec"),
        Class::Fsync => ("yes", "always", "Redis (Redisson's protocol), AOF always"),
    };
    let port_text = port.to_string();
    let arguments = [
        ["--bind", "127.0.0.1"],
        ["--port", &port_text],
        ["--save", ""],
        ["--appendonly", append],
        ["--appendfsync", sync],
        ["--dir", "."],
    ];
    let server = Process::start(&folder, "redis-server", arguments.as_flattened(), None)?;
    let client = Client::open(format!("redis://127.0.0.1:{port}"))?;
    let mut processes = Vec::new();
    for _ in 0..CONNECTIONS {
        processes.push(Arc::new(eventually("Redis", async || Shared::connect(&client).await).await?));
    }
    let owner = |number: usize| {
        let shared = Arc::clone(&processes[number % CONNECTIONS]);
        Holder { shared, id: format!("owner-{number}") }
    };
    let owners = (0..Workload::OWNERS_MAX).map(owner).collect();
    Ok(Box::new(Entry { class, name, owners, _site: server }))
}

impl Shared {
    async fn connect(client: &Client) -> Result<Self> {
        let connection = client.get_multiplexed_async_connection().await?;
        let (subscriptions, mut messages) = client.get_async_pubsub().await?.split();
        let latches: Arc<std::sync::Mutex<HashMap<String, Arc<Semaphore>>>> = Arc::default();
        let heard = Arc::clone(&latches);
        tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                if let Some(latch) = heard.lock().expect("no panic").get(message.get_channel_name()) {
                    latch.add_permits(1);
                }
            }
        });
        let (take, give_back) = (Script::new(TAKE), Script::new(GIVE_BACK));
        let subscriptions = Mutex::new(subscriptions);
        Ok(Self { connection, subscriptions, latches, take, give_back })
    }

    async fn latch(&self, channel: &str) -> Result<Arc<Semaphore>> {
        let mut subscriptions = self.subscriptions.lock().await;
        if let Some(latch) = self.latches.lock().expect("no panic").get(channel) {
            return Ok(Arc::clone(latch));
        }
        let latch = Arc::new(Semaphore::new(0));
        self.latches.lock().expect("no panic").insert(channel.to_owned(), Arc::clone(&latch));
        subscriptions.subscribe(channel).await?;
        Ok(latch)
    }
}

impl Holder {
    async fn attempt(&self, key: &str) -> Result<Option<u64>> {
        let mut connection = self.shared.connection.clone();
        let mut call = self.shared.take.key(key);
        Ok(call.arg(&self.id).arg(LEASE_MS).invoke_async(&mut connection).await?)
    }
}

fn channel(key: &str) -> String {
    format!("channel:{{{key}}}")
}

impl Owner for Holder {
    async fn acquire(&mut self, key: &str) -> Result<()> {
        if self.attempt(key).await?.is_none() {
            return Ok(());
        }
        let latch = self.shared.latch(&channel(key)).await?;
        while let Some(left) = self.attempt(key).await? {
            let left = Duration::from_millis(left);
            if let Ok(permit) = tokio::time::timeout(left, latch.acquire()).await {
                permit?.forget();
            }
        }
        Ok(())
    }

    async fn release(&mut self, key: &str) -> Result<()> {
        let mut connection = self.shared.connection.clone();
        let mut call = self.shared.give_back.key(key);
        call.key(channel(key)).arg(&self.id).arg(LEASE_MS).arg(RELEASED);
        let held: i64 = call.invoke_async(&mut connection).await?;
        if held < 0 { Err("the lock was lost".into()) } else { Ok(()) }
    }
}
