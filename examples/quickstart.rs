//! A first look at natslock: `./nats/run cargo run --example quickstart`.
//!
//! A coordinator runs inside this process. Three workers contend for one lock; a resource that remembers the
//! highest fencing token refuses a worker that was paused beyond its lease. Everything is real: the server, the
//! coordinator, the records, the waiting.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;
use std::sync::Mutex;
use std::time::Duration;

use natslock::client::{AcquireOptions, Client, ClientOptions, LockGuard};
use natslock::clock::{Clock as _, SystemClock, within};
use natslock::nats::ConnectOptions;
use natslock::service::{Config, Coordinator};
use natslock::types::{OwnerName, Timestamp, Token};

const LOCK: &str = "accounts.42";
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
    // Where another one leads this namespace already, it is as good: this one stands by.
    match within(&SystemClock, Duration::from_secs(3), coordinator.ready()).await {
        Some(true) => story.tell("coordinator", "leading; it writes one record for each change of ownership"),
        Some(false) => return Err("the coordinator ended before it led".into()),
        None => story.tell("coordinator", "standing by; another one leads"),
    }

    let account = Account::default();
    println!(
        "\n{WORKERS} workers want the same lock at once. Each waits for a message, first come first served:"
    );
    contend(&story, &connect, &account).await?;
    println!(
        "\nA worker is paused beyond its lease. The lock goes on; the account refuses its late, lower token:"
    );
    go_stale(&story, &connect, &account).await?;

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
async fn contend(story: &Story, connect: &ConnectOptions, account: &Account) -> Result<()> {
    let workers = (1..=WORKERS).map(|number| async move {
        let who = format!("worker-{number}");
        let client = client(connect, &who).await?;
        for _ in 0..ROUNDS {
            let guard = acquire(story, &client, &who, AcquireOptions::new()).await?;
            SystemClock.sleep_until(SystemClock::boot() + WORK).await;
            let accepted = account.deposit(guard.token(), 10);
            story.tell(&who, format_args!("deposits 10 with token {}: accepted {accepted}", guard.token()));
            guard.release().await;
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    });
    futures_util::future::try_join_all(workers).await?;
    Ok(())
}

/// A worker that stops renewing, as one does that is paused: its lease ends, another gets the lock, and its late
/// write is refused because its token is lower.
async fn go_stale(story: &Story, connect: &ConnectOptions, account: &Account) -> Result<()> {
    let (slow, next) = (client(connect, "slow").await?, client(connect, "next").await?);
    // Left without renewal, as it would be if the process did not run.
    let stale =
        acquire(story, &slow, "slow", AcquireOptions::new().ttl(Duration::from_secs(1))).await?.leave();
    story.tell("slow", "falls asleep with a lease of one second");
    let fresh = acquire(story, &next, "next", AcquireOptions::new()).await?;
    account.deposit(fresh.token(), 1);
    story.tell("next", format_args!("deposits 1 with token {}", fresh.token()));
    let accepted = account.deposit(stale.token, 1_000_000);
    story.tell("slow", format_args!("wakes up and deposits with token {}: accepted {accepted}", stale.token));
    story.tell("slow", format_args!("its lease is valid: {}", stale.is_valid()));
    fresh.release().await;
    Ok(())
}

async fn client(connect: &ConnectOptions, owner: &str) -> Result<Client> {
    Ok(Client::connect_with(connect, ClientOptions::new(OwnerName::encode(owner)?)).await?)
}

/// Waits for the lock, and says so.
async fn acquire(story: &Story, client: &Client, who: &str, options: AcquireOptions) -> Result<LockGuard> {
    let waits = |progress: natslock::client::Progress| {
        story.tell(who, format_args!("waits for {LOCK}, as number {} in the queue", progress.position));
    };
    let guard = client.acquire_reporting(LOCK, options, waits).await?;
    story.tell(who, format_args!("holds {LOCK} with token {} after {:?}", guard.token(), guard.waited()));
    Ok(guard)
}
