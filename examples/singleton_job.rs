//! A job that several hosts start every night, and one shall run: `./nats/run cargo run --example
//! singleton_job`.
//!
//! The clocks of the hosts differ a little, and the job may be over on one before another starts it. So whoever
//! gets the lock keeps it for a while after the job: those that come late find it held, and leave. Ends with exit
//! code 1 unless the job ran once. (To run this again on the same server, wait until the lock is free.)
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;
use std::time::Duration;

use natslock::client::{AcquireError, AcquireOptions, Client};
use natslock::clock::{Clock as _, SystemClock};
use natslock::nats::ConnectOptions;
use natslock::service::{Config, Coordinator};
use natslock::types::OwnerName;

/// By how much each host's clock is late, in milliseconds.
const HOSTS: [(&str, u64); 5] = [("oslo", 120), ("lima", 0), ("cairo", 40), ("quito", 400), ("hanoi", 900)];
const JOB: Duration = Duration::from_millis(200);
/// Longer than clocks may differ, shorter than the time to the next run.
const KEEP: Duration = Duration::from_secs(2);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let Ok(url) = std::env::var("NATS_URL") else {
        return Err("NATS_URL is not set; run this as: ./nats/run cargo run --example singleton_job".into());
    };
    // It serves the hosts, unless another one already does.
    let coordinator = Coordinator::connect(&ConnectOptions::to(&url), Config::default(), 1).await?;
    let client = Client::connect(&url).await?;

    println!(
        "five hosts start the nightly job, the last {} ms after the first; it takes {JOB:?}:",
        HOSTS[4].1
    );
    let runs = HOSTS.map(|(host, late)| start_job(&client, host, Duration::from_millis(late)));
    let ran = futures_util::future::try_join_all(runs).await?.into_iter().filter(|ran| *ran).count();
    coordinator.shutdown().await;

    println!("\nthe job ran {ran} time(s) on {} hosts", HOSTS.len());
    if ran == 1 { Ok(()) } else { Err("the job did not run once".into()) }
}

/// What runs on each host; true where it ran the job.
async fn start_job(client: &Client, host: &str, late: Duration) -> Result<bool> {
    SystemClock.sleep_until(SystemClock::boot() + late).await;
    let client = client.for_owner(OwnerName::encode(host)?).await?;
    let once = AcquireOptions::new().wait(Duration::ZERO).keep(KEEP).note("nightly report");
    match client.acquire_with("jobs.nightly-report", once).await {
        Ok(guard) => {
            println!("{:>3} ms  {host:<6} runs the job", late.as_millis());
            guard.run(SystemClock.sleep_until(SystemClock::boot() + JOB)).await?;
            guard.release().await;
            println!("        {host:<6} is done; the lock stays held for another {KEEP:?}");
            Ok(true)
        }
        Err(AcquireError::Held(contended)) => {
            println!("{:>3} ms  {host:<6} leaves it: {contended}", late.as_millis());
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}
