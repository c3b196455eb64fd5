//! What ten thousand guards cost one client: `./nats/run cargo run --release --example many_guards`.
//!
//! Prints memory, renewal messages a second and CPU time of this process, in which the coordinator runs too;
//! with `NATSLOCK_COORDINATOR=elsewhere` the figures are the client's alone. Linux only: it reads /proc.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;
use std::time::Duration;

use futures_util::StreamExt as _;
use natslock::client::{AcquireOptions, Client};
use natslock::clock::{SystemClock, within};
use natslock::nats::{ConnectOptions, NatsTransport, connect};
use natslock::service::{Config, Coordinator};
use natslock::transport::Transport as _;

const GUARDS: usize = 10_000;
const TTL: Duration = Duration::from_secs(30);
const WATCHED: Duration = Duration::from_secs(30);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::var("NATS_URL").map_err(|_| "NATS_URL is not set; run this under ./nats/run")?;
    let connection = ConnectOptions { urls: vec![url.clone()], ..ConnectOptions::default() };
    let coordinator = if std::env::var("NATSLOCK_COORDINATOR").is_ok() {
        None
    } else {
        let mut coordinator = Coordinator::connect(&connection, Config::default(), 1).await?;
        coordinator.ready().await;
        Some(coordinator)
    };
    let client = Client::connect(&url).await?;
    let before = resident_kib()?;
    let began = SystemClock::boot();
    let acquired = futures_util::stream::iter(0..GUARDS)
        .map(|number| {
            let client = &client;
            async move { client.acquire_with(&format!("many.{number}"), AcquireOptions::new().ttl(TTL)).await }
        })
        .buffer_unordered(256);
    let guards =
        acquired.collect::<Vec<_>>().await.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
    let took = SystemClock::boot().since(began);
    println!("{GUARDS} locks acquired in {took:.1?}");
    println!("memory    {:.1} KiB a guard", (resident_kib()? - before) as f64 / GUARDS as f64);

    let tap = NatsTransport::new(connect(&connection).await?);
    let mut renewals = tap.subscribe("natslock.default.renew.>".into()).await?;
    let (cpu, mut messages) = (cpu_ticks()?, 0);
    within(&SystemClock, WATCHED, async {
        while renewals.next().await.is_some() {
            messages += 1;
        }
    })
    .await;
    let seconds = WATCHED.as_secs_f64();
    println!(
        "renewals  {:.2} messages a second, with a lease time of {TTL:?}",
        f64::from(messages) / seconds
    );
    println!("cpu       {:.2} % of a core", (cpu_ticks()? - cpu) as f64 / seconds);
    let valid = guards.iter().filter(|guard| guard.is_valid()).count();
    println!("valid     {valid} of {GUARDS} after {:?}", took + WATCHED);
    drop(guards);
    client.settled().await;
    println!("released  all, {} left", client.list("many.").await?.len());
    if let Some(coordinator) = coordinator {
        coordinator.shutdown().await;
    }
    Ok(())
}

fn resident_kib() -> Result<i64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// User and system time in ticks, of which there are a hundred in a second: ticks a second are per cent.
fn cpu_ticks() -> Result<i64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<_> = stat.rsplit(')').next().ok_or("no stat")?.split_whitespace().collect();
    Ok(fields[11].parse::<i64>()? + fields[12].parse::<i64>()?)
}
