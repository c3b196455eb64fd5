//! Order events, and workers that are killed: `./nats/run cargo run --example order_workers`.
//!
//! A JetStream stream carries four events for each of eight orders. Five worker processes take them; the events
//! of one order must not be handled by two at once, so each worker acquires the order's lock first. (The lock
//! excludes; it does not bring events into an order.) Two workers
//! are killed in the middle of an order (signal 9), and their events are handled by others. One is paused in the
//! middle until its lease is over and another has handled the order: when it goes on, it writes with a token that
//! is too low, and SQLite refuses the write.
//!
//! At the end the log in SQLite is checked: every event handled, no order in two hands at once, the stale write
//! refused. Ends with exit code 1 otherwise. `worker.rs` and `database.rs` are what to copy.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

mod database;
mod worker;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use async_nats::jetstream::{self, consumer, stream};
use natslock::clock::{Clock as _, SystemClock, within};
use natslock::nats::ConnectOptions;
use natslock::service::{Config, Coordinator};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use self::database::Database;

const STREAM: &str = "ORDERS";
const CONSUMER: &str = "workers";
const ORDERS: u64 = 8;
const EVENTS: [&str; 4] = ["created", "paid", "packed", "shipped"];
const WORKERS: u64 = 5;
/// How long one event takes.
const WORK: Duration = Duration::from_millis(100);
/// A dead worker's order is stuck for so long.
const LEASE: Duration = Duration::from_secs(1);
/// A dead worker's event is delivered to another after so long.
const ACK_WAIT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let Ok(url) = std::env::var("NATS_URL") else {
        return Err("NATS_URL is not set; run this as: ./nats/run cargo run --example order_workers".into());
    };
    let mut arguments = std::env::args().skip(1);
    if let (Some(name), Some(database)) = (arguments.next(), arguments.next()) {
        return tokio::select! {
            worked = worker::work(&url, &name, Path::new(&database)) => worked,
            _ = end_of_input() => Ok(()),
        };
    }
    let folder = std::env::temp_dir().join(format!("natslock-orders-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let directed = within(&SystemClock, PATIENCE, direct(&url, &folder.join("orders.db"))).await;
    std::fs::remove_dir_all(&folder)?;
    directed.ok_or("it takes too long")?
}

/// Starts everything, kills and pauses some of it, and checks what came out.
async fn direct(url: &str, path: &Path) -> Result<()> {
    let coordinator = Coordinator::connect(&ConnectOptions::to(url), Config::default(), 1).await?;
    publish(url).await?;
    let database = Database::open(path)?;
    let names = (1..=WORKERS).map(|number| format!("worker-{number}"));
    let mut workers =
        names.map(|name| Ok((name.clone(), start(&name, path)?))).collect::<Result<BTreeMap<_, _>>>()?;

    for name in ["worker-1", "worker-2"] {
        let (_, order, _) = middle(&database, name).await?;
        workers.get_mut(name).ok_or("no such worker")?.kill().await?;
        database.bury(name, SystemClock::boot())?;
        println!("-- {name} is killed in the middle of {order}; its lease ends within {LEASE:?}");
    }
    stall(&database, "worker-3", &workers["worker-3"]).await?;
    let all = i64::try_from(ORDERS * EVENTS.len() as u64)?;
    while database.events()? < all || database.outcomes("Stale")? == 0 {
        pause(20).await;
    }
    drop(workers);
    coordinator.shutdown().await;
    judge(&database, all)
}

/// The stream, its events, and the consumer that all workers share.
async fn publish(url: &str) -> Result<()> {
    let jetstream = jetstream::new(async_nats::connect(url).await?);
    // What an earlier run has left; as a rule nothing.
    _ = jetstream.delete_stream(STREAM).await;
    let subjects = vec!["orders.*".into()];
    let stream = jetstream
        .create_stream(stream::Config { name: STREAM.into(), subjects, ..Default::default() })
        .await?;
    for order in 1..=ORDERS {
        for what in EVENTS {
            jetstream.publish(format!("orders.{order}"), what.into()).await?.await?;
        }
    }
    let durable_name = Some(CONSUMER.into());
    let config = consumer::pull::Config { durable_name, ack_wait: ACK_WAIT, ..Default::default() };
    stream.create_consumer(config).await?;
    println!("-- {} events of {ORDERS} orders; {WORKERS} workers", ORDERS * EVENTS.len() as u64);
    Ok(())
}

/// This program once more, as a worker.
fn start(name: &str, database: &Path) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    Ok(command.arg(name).arg(database).stdin(Stdio::piped()).kill_on_drop(true).spawn()?)
}

/// Waits until the worker is in the middle of an order: its entry in the log, the order, and its token.
async fn middle(database: &Database, worker: &str) -> Result<(i64, String, i64)> {
    loop {
        if let Some(busy) = database.busy(worker)? {
            // Past the transaction that told of it, and far from the next.
            pause(WORK.as_millis() as u64 / 4).await;
            if database.busy(worker)?.as_ref() == Some(&busy) {
                return Ok(busy);
            }
        }
        pause(2).await;
    }
}

/// Pauses a worker in the middle, and lets it go on when another has handled its order.
async fn stall(database: &Database, name: &str, worker: &Child) -> Result<()> {
    let pid = worker.id().and_then(|id| Pid::from_raw(id.cast_signed())).ok_or("the worker has ended")?;
    let (_, order, token) = middle(database, name).await?;
    kill_process(pid, Signal::STOP)?;
    println!("-- {name} is paused in the middle of {order}, with token {token}");
    while database.highest_token(&order)? <= token {
        pause(20).await;
    }
    println!("-- another has handled {order}; {name} goes on, and knows nothing of it");
    Ok(kill_process(pid, Signal::CONT)?)
}

fn judge(database: &Database, all: i64) -> Result<()> {
    let (handled, overlaps) = (database.events()?, database.overlaps()?);
    let (stale, repeated) = (database.outcomes("Stale")?, database.outcomes("Repeated")?);
    println!("\n{handled} of {all} events handled, {repeated} delivered once more and recognised");
    println!("{} handlings cut short by a kill", database.outcomes("Killed")?);
    println!("{overlaps} times an order was in two hands at once");
    println!("{stale} stale write(s) refused");
    if (handled, overlaps) == (all, 0) && stale > 0 { Ok(()) } else { Err("not as it should be".into()) }
}

/// Comes when whoever started this process is done with it, or is gone.
fn end_of_input() -> oneshot::Receiver<()> {
    let (told, ended) = oneshot::channel();
    std::thread::spawn(move || {
        // Nothing is ever written there.
        _ = std::io::stdin().read(&mut [0]);
        _ = told.send(());
    });
    ended
}

async fn pause(ms: u64) {
    SystemClock.sleep_until(SystemClock::boot() + Duration::from_millis(ms)).await;
}
