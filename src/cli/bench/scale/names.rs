//! Names that are used once and never again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::try_join_all;

use super::{Points, client, memory, not_granted};
use crate::cli::bench::site::Site;
use crate::cli::error::CommandError;
use crate::clock::SystemClock;

const AT_A_TIME: usize = 64;

pub(super) async fn measure(site: &Site, sizes: &[usize]) -> Result<Points, CommandError> {
    let pid = site.coordinator_pid();
    let (_connection, client) = client(site, "nomad").await?;
    let (mut points, empty, mut used) = (Points::default(), memory(pid), 0);
    for size in sizes {
        let began = SystemClock::boot();
        let next = Arc::new(AtomicUsize::new(used));
        let tasks = (0..AT_A_TIME).map(|_| {
            let (client, next) = (client.clone(), Arc::clone(&next));
            async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= *size {
                        return Ok::<(), CommandError>(());
                    }
                    let guard = client.acquire(&format!("once.{number}")).await.map_err(not_granted)?;
                    guard.release().await;
                }
            }
        });
        try_join_all(tasks).await?;
        let micros = SystemClock::boot().since(began).as_secs_f64() * 1e6;
        points.add("pair on a new name, of", *size, micros / (size - used) as f64, "us");
        points.add("memory after names used once", *size, (memory(pid) - empty) / 1024.0, "KiB");
        used = *size;
    }
    Ok(points)
}
