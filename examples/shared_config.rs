//! Readers and a writer on one lock: `./nats/run cargo run --example shared_config`.
//!
//! Six readers read a configuration again and again, so at every moment some of them hold the lock. A writer that
//! asks is next all the same: readers that come after it wait behind it. Ends with exit code 1 if a reader saw a
//! half-written configuration, or the writer was starved.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use natslock::client::{AcquireOptions, Client};
use natslock::clock::{Clock as _, SystemClock};
use natslock::nats::ConnectOptions;
use natslock::service::{Config, Coordinator};
use natslock::types::OwnerName;

const LOCK: &str = "config.frontend";
const READERS: u64 = 6;
const UPDATES: u64 = 5;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What the lock protects: two values that belong together.
#[derive(Default)]
struct Shared {
    first: AtomicU64,
    second: AtomicU64,
    reads: AtomicU64,
    torn: AtomicU64,
    done: AtomicBool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Ok(url) = std::env::var("NATS_URL") else {
        return Err("NATS_URL is not set; run this as: ./nats/run cargo run --example shared_config".into());
    };
    // It serves the readers and the writer, unless another one already does.
    let coordinator = Coordinator::connect(&ConnectOptions::to(&url), Config::default(), 1).await?;
    let client = Client::connect(&url).await?;

    let config = Shared::default();
    let readers =
        futures_util::future::try_join_all((1..=READERS).map(|number| reader(&client, &config, number)));
    let (_, longest) = futures_util::future::try_join(readers, writer(&client, &config)).await?;
    coordinator.shutdown().await;

    let (reads, torn) = (config.reads.into_inner(), config.torn.into_inner());
    println!(
        "\n{reads} reads and {UPDATES} updates; {torn} torn reads; the writer waited {longest:?} at most"
    );
    if torn == 0 && longest < Duration::from_secs(2) { Ok(()) } else { Err("torn, or starved".into()) }
}

async fn reader(client: &Client, config: &Shared, number: u64) -> Result<()> {
    let client = client.for_owner(OwnerName::encode(&format!("reader-{number}"))?).await?;
    while !config.done.load(Ordering::SeqCst) {
        let guard = client.acquire_with(LOCK, AcquireOptions::new().shared()).await?;
        let first = config.first.load(Ordering::SeqCst);
        pause(30).await;
        let torn = first != config.second.load(Ordering::SeqCst);
        config.torn.fetch_add(torn.into(), Ordering::SeqCst);
        config.reads.fetch_add(1, Ordering::SeqCst);
        guard.release().await;
    }
    Ok(())
}

/// Says how long the longest of its waits was.
async fn writer(client: &Client, config: &Shared) -> Result<Duration> {
    let client = client.for_owner(OwnerName::encode("writer")?).await?;
    let mut longest = Duration::ZERO;
    for version in 1..=UPDATES {
        pause(200).await;
        let before = config.reads.load(Ordering::SeqCst);
        let guard = client.acquire(LOCK).await?;
        let during = config.reads.load(Ordering::SeqCst) - before;
        println!("version {version}: {during} readers went first, the writer waited {:?}", guard.waited());
        config.first.store(version, Ordering::SeqCst);
        pause(20).await;
        config.second.store(version, Ordering::SeqCst);
        longest = longest.max(guard.waited());
        guard.release().await;
    }
    config.done.store(true, Ordering::SeqCst);
    Ok(longest)
}

async fn pause(ms: u64) {
    SystemClock.sleep_until(SystemClock::boot() + Duration::from_millis(ms)).await;
}
