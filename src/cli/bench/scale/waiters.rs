//! Waiters of one lock: what they weigh, and how fast it goes from one to the next.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{Points, client, memory, not_granted};
use crate::cli::bench::site::Site;
use crate::cli::error::CommandError;
use crate::clock::{Clock as _, SystemClock};

const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) async fn measure(site: &Site, sizes: &[usize]) -> Result<Points, CommandError> {
    let pid = site.coordinator_pid();
    let (_connection, client) = client(site, "waiter").await?;
    let (mut points, empty) = (Points::default(), memory(pid));
    for size in sizes {
        let holder = client.acquire("queue").await.map_err(not_granted)?;
        let mut waiters = JoinSet::new();
        for _ in 0..*size {
            let client = client.clone();
            waiters.spawn(async move { client.acquire("queue").await });
        }
        loop {
            let view =
                client.check("queue").await.map_err(|error| CommandError::internal("no answer", error))?;
            if view.is_some_and(|view| view.waiter_count == *size) {
                break;
            }
            SystemClock.sleep_until(SystemClock::boot() + LOOK_EVERY).await;
        }
        points.add("memory of waiters", *size, (memory(pid) - empty) / 1024.0, "KiB");
        points.add("memory of a waiter", *size, (memory(pid) - empty) / *size as f64, "B");
        let began = SystemClock::boot();
        holder.release().await;
        while let Some(granted) = waiters.join_next().await {
            let granted = granted.map_err(|error| CommandError::internal("a waiter has ended", error))?;
            granted.map_err(not_granted)?.release().await;
        }
        let micros = SystemClock::boot().since(began).as_secs_f64() * 1e6;
        points.add("hand-over to one of", *size, micros / *size as f64, "us");
    }
    Ok(points)
}
