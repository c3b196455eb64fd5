//! A first look at natslock: `./nats/run cargo run --example quickstart`.
//!
//! A coordinator runs inside this process. Three workers contend for one lock; a resource that remembers the
//! highest fencing token refuses a worker that was paused beyond its lease. Everything is real: the server, the
//! coordinator, the records, the waiting.

use std::error::Error;
use std::sync::Mutex;
use std::time::Duration;

use natslock::client::{AcquireOptions, Acquired, CallError, ClientOptions, Lease};
use natslock::clock::{Clock as _, SystemClock};
use natslock::nats::{ConnectOptions, NatsClient};
use natslock::service::{Config, Coordinator};
use natslock::types::{LockName, OwnerName, Timestamp, Token, Ttl, Wait};

const WORKERS: usize = 3;
const ROUNDS: usize = 2;
const WORK: Duration = Duration::from_millis(150);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What the lock protects: an account that takes a write only with a token as high as any before. That check is
/// what makes the lock safe; the lock alone cannot stop a worker that was paused.
#[derive(Default)]
struct Account {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    highest: Option<Token>,
    balance: i64,
    accepted: u32,
    refused: u32,
}

impl Account {
    fn deposit(&self, token: Token, amount: i64) -> bool {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.highest.is_some_and(|highest| token < highest) {
            state.refused += 1;
            return false;
        }
        state.highest = Some(token);
        state.balance += amount;
        state.accepted += 1;
        true
    }
}

/// Prints with the time since the start.
struct Story {
    began: Timestamp,
}

impl Story {
    fn tell(&self, who: &str, what: impl std::fmt::Display) {
        let at = SystemClock::boot().since(self.began);
        println!("{:>7.3} s  {who:<11}  {what}", at.as_secs_f64());
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let story = Story { began: SystemClock::boot() };
    let Ok(url) = std::env::var("NATS_URL") else {
        return Err("NATS_URL is not set; run this as: ./nats/run cargo run --example quickstart".into());
    };
    let connect = ConnectOptions { urls: vec![url.clone()], ..ConnectOptions::default() };
    story.tell("main", format_args!("connecting a coordinator to {url}"));
    let mut coordinator = Coordinator::connect(&connect, Config::default(), 1).await?;
    if !coordinator.ready().await {
        return Err("the coordinator ended before it led".into());
    }
    story.tell("coordinator", "leading; it writes one record for each change of ownership");

    let name = LockName::encode("accounts.42")?;
    let account = Account::default();
    println!(
        "\n{WORKERS} workers want the same lock at once. Each waits for a message, first come first served:"
    );
    contend(&story, &connect, &name, &account).await?;
    println!(
        "\nA worker is paused beyond its lease. The lock goes on; the account refuses its late, lower token:"
    );
    go_stale(&story, &connect, &name, &account).await?;

    println!();
    coordinator.shutdown().await;
    story.tell("coordinator", "resigned");
    let state = account.state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    println!(
        "\n{} deposits accepted, {} refused for a stale token; balance {} (expected {})",
        state.accepted,
        state.refused,
        state.balance,
        10 * (WORKERS * ROUNDS) as i64 + 1
    );
    println!("next: start `natslock dev`, and in another terminal try `natslock acquire demo`");
    Ok(())
}

/// Workers that want the same lock at the same time. Nobody polls: each is granted by a message when the one
/// before it releases.
async fn contend(story: &Story, connect: &ConnectOptions, name: &LockName, account: &Account) -> Result<()> {
    let workers = (1..=WORKERS).map(|number| async move {
        let who = format!("worker-{number}");
        let client = client(connect, &who).await?;
        for _ in 0..ROUNDS {
            let lease = acquire(story, &client, &who, name, Ttl::default()).await?;
            SystemClock.sleep_until(SystemClock::boot() + WORK).await;
            let accepted = account.deposit(lease.token, 10);
            story.tell(&who, format_args!("deposits 10 with token {}: accepted {accepted}", lease.token));
            client.release(name, lease.to_ref(), Duration::ZERO).await?;
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    });
    futures_util::future::try_join_all(workers).await?;
    Ok(())
}

/// A worker that stops renewing, as one does that is paused: its lease ends, another gets the lock, and its late
/// write is refused because its token is lower.
async fn go_stale(story: &Story, connect: &ConnectOptions, name: &LockName, account: &Account) -> Result<()> {
    let (slow, next) = (client(connect, "slow").await?, client(connect, "next").await?);
    let stale = acquire(story, &slow, "slow", name, Ttl::from_millis(1_000)?).await?;
    story.tell("slow", "falls asleep with a lease of one second");
    let fresh = acquire(story, &next, "next", name, Ttl::default()).await?;
    account.deposit(fresh.token, 1);
    story.tell("next", format_args!("deposits 1 with token {}", fresh.token));
    let accepted = account.deposit(stale.token, 1_000_000);
    story.tell("slow", format_args!("wakes up and deposits with token {}: accepted {accepted}", stale.token));
    story.tell("slow", format_args!("its lease is valid: {}", stale.is_valid(&SystemClock)));
    next.release(name, fresh.to_ref(), Duration::ZERO).await?;
    Ok(())
}

async fn client(connect: &ConnectOptions, owner: &str) -> Result<NatsClient> {
    Ok(NatsClient::connect_with(connect, ClientOptions::new(OwnerName::encode(owner)?)).await?)
}

/// Waits for the lock, and says for whom.
async fn acquire(story: &Story, client: &NatsClient, who: &str, name: &LockName, ttl: Ttl) -> Result<Lease> {
    let options = AcquireOptions::default().ttl(ttl).wait(Wait::from_millis(30_000)?);
    let waits = |progress: natslock::client::Progress| {
        story.tell(who, format_args!("waits for {name}, as number {} in the queue", progress.position));
    };
    match client.acquire_reporting(name, &options, waits).await? {
        Acquired::Granted(lease, _) => {
            story.tell(who, format_args!("holds {name} with token {} after {:?}", lease.token, lease.waited));
            Ok(lease)
        }
        other => Err(Box::new(CallError::Protocol(format!("not granted within 30 s: {other:?}")))),
    }
}
