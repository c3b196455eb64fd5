//! At most five calls to an API at once, however many callers there are in however many processes: a counting
//! lock. `./nats/run cargo run --example concurrency_limit`.
//!
//! Twenty callers want to call at the same time. Each takes one of five permits; whoever finds none waits for a
//! message, first come first served. A caller that dies gives its permit back by the end of its lease. Ends with
//! exit code 1 if the limit was not kept, or not used.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use natslock::client::{AcquireOptions, Client};
use natslock::clock::{Clock as _, SystemClock};
use natslock::nats::ConnectOptions;
use natslock::service::{Config, Coordinator};
use natslock::types::OwnerName;

const CALLERS: u64 = 20;
/// All users of the lock must agree on it.
const LIMIT: u64 = 5;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let Ok(url) = std::env::var("NATS_URL") else {
        return Err(
            "NATS_URL is not set; run this as: ./nats/run cargo run --example concurrency_limit".into()
        );
    };
    // It serves the callers, unless another one already does.
    let coordinator = Coordinator::connect(&ConnectOptions::to(&url), Config::default(), 1).await?;
    let client = Client::connect(&url).await?;

    let api = Api::default();
    let callers = (1..=CALLERS).map(|number| caller(&client, &api, number));
    futures_util::future::try_join_all(callers).await?;
    coordinator.shutdown().await;

    let (calls, most) = (api.calls.into_inner(), api.most.into_inner());
    println!("\n{calls} calls by {CALLERS} callers; at most {most} at once, {LIMIT} allowed");
    if (calls, most) == (CALLERS, LIMIT) { Ok(()) } else { Err("the limit was not kept, or not used".into()) }
}

async fn caller(client: &Client, api: &Api, number: u64) -> Result<()> {
    // One connection for all of them, and a name for each, which `natslock check api.payments` would show.
    let client = client.for_owner(OwnerName::encode(&format!("caller-{number}"))?).await?;
    let permit = client.acquire_with("api.payments", AcquireOptions::new().permits(1, LIMIT)).await?;
    // Should the permit be lost, the call is dropped.
    let inside = permit.run(api.call()).await?;
    println!(
        "caller-{number:<2} waited {:>3} ms, calls with {} others",
        permit.waited().as_millis(),
        inside - 1
    );
    permit.release().await;
    Ok(())
}

/// Something that suffers when it is called too often.
#[derive(Default)]
struct Api {
    inside: AtomicU64,
    most: AtomicU64,
    calls: AtomicU64,
}

impl Api {
    /// Takes a while, and says how many calls were going on when this one began.
    async fn call(&self) -> u64 {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(inside, Ordering::SeqCst);
        SystemClock.sleep_until(SystemClock::boot() + Duration::from_millis(200)).await;
        self.inside.fetch_sub(1, Ordering::SeqCst);
        self.calls.fetch_add(1, Ordering::SeqCst);
        inside
    }
}
