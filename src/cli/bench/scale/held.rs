//! Locks that are held and kept alive by a client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;

use super::{Points, Watch, client, memory, not_granted};
use crate::cli::bench::site::Site;
use crate::cli::error::CommandError;
use crate::client::{AcquireOptions, Client, LockGuard};
use crate::clock::{Clock as _, SystemClock};

/// Every lease is renewed once in a third of it.
const TTL: Duration = Duration::from_secs(30);
/// Long enough for every lease to be renewed.
const WATCH_FOR: Duration = Duration::from_secs(12);
const AT_A_TIME: usize = 128;

pub(super) async fn measure(site: &Site, sizes: &[usize]) -> Result<Points, CommandError> {
    let pid = site.coordinator_pid();
    let (_connection, client) = client(site, "holder").await?;
    let (mut points, mut guards, empty) = (Points::default(), Vec::new(), memory(pid));
    for size in sizes {
        let began = SystemClock::boot();
        let before = guards.len();
        guards.extend(acquire(&client, before, *size).await?);
        let seconds = SystemClock::boot().since(began).as_secs_f64();
        points.add("acquire one of", *size, seconds * 1e6 / (size - before) as f64, "us");
        points.add("memory of held locks", *size, (memory(pid) - empty) / 1024.0, "KiB");
        points.add("memory of a held lock", *size, (memory(pid) - empty) / *size as f64, "B");
        let watch = Watch::start(pid);
        SystemClock.sleep_until(SystemClock::boot() + WATCH_FOR).await;
        points.add("renewals every 10 s", *size, watch.share() * 100.0, "% of a processor");
        if let Some(lost) = guards.iter().find(|guard| !guard.is_valid()) {
            let message = format!("the lock {} was lost", lost.name());
            return Err(CommandError::new(crate::cli::error::Kind::NoAnswer, message));
        }
    }
    Ok(points)
}

/// The locks from one number to another.
async fn acquire(client: &Client, from: usize, to: usize) -> Result<Vec<LockGuard>, CommandError> {
    let next = Arc::new(AtomicUsize::new(from));
    let tasks = (0..AT_A_TIME).map(|_| {
        let (client, next) = (client.clone(), Arc::clone(&next));
        async move {
            let mut guards = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= to {
                    return Ok::<_, CommandError>(guards);
                }
                let options = AcquireOptions::new().ttl(TTL);
                let guard = client.acquire_with(&format!("held.{number}"), options).await;
                guards.push(guard.map_err(not_granted)?);
            }
        }
    });
    Ok(try_join_all(tasks).await?.into_iter().flatten().collect())
}
