//! Owners that take locks and give them back, as fast as they can.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::step::{Locks, Workload};
use super::trace::{Lap, Trace, Window};
use crate::cli::error::{CommandError, Kind};
use crate::client::{AcquireError, Client, LockGuard};
use crate::clock::SystemClock;
use crate::types::Timestamp;

/// What all owners of a step know.
#[derive(Debug)]
struct Race {
    began: Timestamp,
    window: Window,
    /// When the lock that all want was given back the last time, in nanoseconds since the beginning. Only the
    /// holder writes it, and the next holder reads it.
    released: AtomicU64,
    /// The highest token of that lock.
    token: AtomicU64,
}

#[derive(Debug)]
struct Owner {
    client: Client,
    names: Vec<String>,
    contended: bool,
    /// It gives back with one message.
    detaches: bool,
    race: Arc<Race>,
    trace: Trace,
}

fn failed(error: AcquireError) -> CommandError {
    let message = format!("a lock was not granted: {error}");
    match error {
        AcquireError::Refused(refused, raw) => CommandError::refused(refused, raw),
        AcquireError::NoCoordinator { .. } => CommandError::new(Kind::NoCoordinator, message),
        AcquireError::NoAnswer => CommandError::new(Kind::NoAnswer, message),
        _ => CommandError::new(Kind::Internal, message),
    }
}

/// Runs a workload. The names of its locks begin with `prefix`; there are as many clients as it has owners, or
/// more.
///
/// # Cancel safety
/// Locks that are held are given back in the background.
pub(super) async fn run(
    workload: Workload,
    clients: &[Client],
    prefix: &str,
    window: Window,
) -> Result<Vec<Trace>, CommandError> {
    let began = SystemClock::boot();
    let race = Race { began, window, released: AtomicU64::new(u64::MAX), token: AtomicU64::new(0) };
    let race = Arc::new(race);
    let mut owners = JoinSet::new();
    for (number, client) in clients.iter().take(workload.owners()).enumerate() {
        let owner = Owner {
            client: client.clone(),
            names: names(workload.locks(), prefix, number),
            contended: workload.locks() == Locks::One,
            detaches: workload == Workload::W1Detached,
            race: Arc::clone(&race),
            trace: Trace::default(),
        };
        owners.spawn(owner.run());
    }
    let mut traces = Vec::new();
    while let Some(done) = owners.join_next().await {
        traces.push(done.map_err(|error| CommandError::internal("an owner has ended", error))??);
    }
    Ok(traces)
}

fn names(locks: Locks, prefix: &str, owner: usize) -> Vec<String> {
    match locks {
        Locks::InTurn(count) => (0..count).map(|number| format!("{prefix}.turn.{number}")).collect(),
        Locks::Own => vec![format!("{prefix}.own.{owner}")],
        Locks::One => vec![format!("{prefix}.one")],
    }
}

impl Race {
    fn elapsed(&self) -> Duration {
        SystemClock::boot().since(self.began)
    }
}

impl Owner {
    async fn run(mut self) -> Result<Trace, CommandError> {
        let names = std::mem::take(&mut self.names);
        for name in names.iter().cycle() {
            if self.race.elapsed() > self.race.window.end() {
                break;
            }
            let guard = self.acquire(name).await?;
            self.release(guard).await?;
        }
        Ok(self.trace)
    }

    async fn acquire(&mut self, name: &str) -> Result<LockGuard, CommandError> {
        let called = self.race.elapsed();
        let guard = self.client.acquire(name).await.map_err(failed)?;
        let ended = self.race.elapsed();
        self.trace.acquires.push(Lap { ended, took: ended.saturating_sub(called) });
        if self.contended {
            self.take_over(ended, guard.token().get())?;
        }
        Ok(guard)
    }

    /// What the next holder sees of the one before.
    fn take_over(&mut self, ended: Duration, token: u64) -> Result<(), CommandError> {
        let before = self.race.token.fetch_max(token, Ordering::AcqRel);
        if before >= token {
            let message = format!("there were two holders: the token {token} was granted after {before}");
            return Err(CommandError::new(Kind::Internal, message));
        }
        let released = self.race.released.load(Ordering::Acquire);
        // The first holder of a step has no predecessor.
        if released != u64::MAX {
            let took = ended.saturating_sub(Duration::from_nanos(released));
            self.trace.gaps.push(Lap { ended, took });
        }
        Ok(())
    }

    async fn release(&mut self, guard: LockGuard) -> Result<(), CommandError> {
        let called = self.race.elapsed();
        let nanos = u64::try_from(called.as_nanos()).unwrap_or(u64::MAX);
        self.race.released.store(nanos, Ordering::Release);
        if self.detaches {
            guard.release_detached();
            return Ok(());
        }
        let held = guard.release().await;
        held.ok_or_else(|| CommandError::new(Kind::NoAnswer, "a lock was lost before it was given back"))?;
        let ended = self.race.elapsed();
        self.trace.releases.push(Lap { ended, took: ended.saturating_sub(called) });
        Ok(())
    }
}
