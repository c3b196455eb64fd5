//! No process of its own: every service brings a coordinator along. `./nats/run cargo run --example embedded`.
//!
//! Three services each embed a [`Coordinator`]; one of them leads, the others stand by. The one that leads is shut
//! down, twice, and another takes over within about a second. A lock that is held all the time stays held, with
//! its token, and one who waits for it keeps waiting. Here the services share a process; it is the same with one
//! process each. A coordinator needs a connection of its own, which `Coordinator::connect` makes.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::select_all;
use natslock::client::{AcquireOptions, Client, LockGuard};
use natslock::clock::{SystemClock, within};
use natslock::nats::ConnectOptions;
use natslock::service::{Config, Coordinator};
use natslock::types::OwnerName;

const LOCK: &str = "invoices.2026";

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

struct Service {
    name: &'static str,
    coordinator: Coordinator,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Ok(url) = std::env::var("NATS_URL") else {
        return Err("NATS_URL is not set; run this as: ./nats/run cargo run --example embedded".into());
    };
    let mut services = Vec::new();
    for name in ["billing", "shipping", "support"] {
        let coordinator = Coordinator::connect(&ConnectOptions::to(&url), Config::default(), 1).await?;
        services.push(Service { name, coordinator });
    }
    let mut leading = leader(&mut services).await?;
    println!("three services, each with a coordinator; the one in `{}` leads", services[leading].name);

    let alice = Client::connect(&url).await?.for_owner(OwnerName::encode("alice")?).await?;
    let bob = alice.for_owner(OwnerName::encode("bob")?).await?;
    let guard = alice.acquire_with(LOCK, AcquireOptions::new().ttl(Duration::from_secs(10))).await?;
    println!("alice holds {LOCK} with token {}; bob waits for it", guard.token());
    let waiting = tokio::spawn(async move { bob.acquire(LOCK).await });

    while services.len() > 1 {
        let stopped = services.remove(leading);
        println!("\n`{}` is shut down, and its coordinator resigns", stopped.name);
        stopped.coordinator.shutdown().await;
        let since = SystemClock::boot();
        leading = leader(&mut services).await?;
        let idle = SystemClock::boot().since(since).as_millis();
        println!("`{}` leads after {idle} ms", services[leading].name);
        renewed(&alice, &guard).await?;
        println!("it has renewed alice's lease; token {}, valid: {}", guard.token(), guard.is_valid());
    }

    let token = guard.token();
    guard.release().await;
    let handed = waiting.await??;
    println!("\nalice releases, and bob has it with token {}", handed.token());
    assert!(handed.token() > token, "tokens rise, whoever leads");
    handed.release().await;
    println!("\n2 changes of leader, 0 locks lost, no process but the services");
    Ok(())
}

/// Waits until one of them leads, and says which.
async fn leader(services: &mut [Service]) -> Result<usize> {
    let ready = select_all(services.iter_mut().map(|service| service.coordinator.ready().boxed()));
    let led = within(&SystemClock, Duration::from_secs(10), ready).await;
    Ok(led.ok_or("none of the services leads; does another coordinator, on this server?")?.1)
}

/// Waits until the new leader has heard from the holder; before that it cannot say when the lease would end.
async fn renewed(client: &Client, guard: &LockGuard) -> Result<()> {
    loop {
        let view = client.check(LOCK).await?.ok_or("nobody holds the lock any more")?;
        let holder = view.holders.first().ok_or("nobody holds the lock any more")?;
        assert_eq!(holder.token, guard.token(), "the same lease as before");
        if holder.expires_in.is_some() && view.waiter_count == 1 {
            return Ok(());
        }
    }
}
