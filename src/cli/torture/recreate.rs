//! The bucket is deleted and made again under load: coordinators that were running then grant nothing more, from
//! the leader's next write of its own record on, and whatever is granted later has a higher token.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Command;

use super::event::now;
use super::faults::any;
use super::nodes::NODES;
use super::site::{Site, pause, stream};
use crate::cli::error::{CommandError, Kind};
use crate::clock::SystemClock;
use crate::nats::{BucketConfig, NatsStore};
use crate::types::Revision;

/// How long the coordinators are watched.
const WATCH_FOR: Duration = Duration::from_secs(5);
/// How long after a third of the leadership lease the leader's write may be.
const LATE: Duration = Duration::from_secs(2);
/// As every coordinator does: see `connect`.
const REVISIONS_PER_MS: u64 = 8;

pub(super) async fn recreate(site: &mut Site) -> Result<Option<Duration>, CommandError> {
    let failed = |what: &str| CommandError::new(Kind::Internal, what.to_owned());
    let deleted = site.ask_stream("DELETE").await;
    if deleted.is_none_or(|answer| answer["success"] != true) {
        return Err(failed("the bucket cannot be deleted"));
    }
    make_bucket(site).await?;
    let made = now();
    pause(site.times.leader_lease / 3 + LATE).await;
    let noticed = now();
    pause(WATCH_FOR).await;
    let granted = site.history().granted("", noticed);
    if let Some(granted) = granted {
        site.violations.push(format!("a lock was granted at {granted}, in a bucket made again at {made}"));
    }
    start_anew(site).await
}

async fn make_bucket(site: &Site) -> Result<(), CommandError> {
    let name = stream();
    let config = BucketConfig {
        bucket: name.strip_prefix("KV_").unwrap_or(&name).to_owned(),
        replicas: NODES,
        first_sequence: Revision::new(SystemClock::wall().0 * REVISIONS_PER_MS),
    };
    let opened = NatsStore::open(site.connection.clone(), config).await;
    opened.map(|_| ()).map_err(|error| CommandError::internal("the bucket cannot be made again", error))
}

/// All coordinators end, every lease runs out, and then they begin again and the shard is recovered.
async fn start_anew(site: &mut Site) -> Result<Option<Duration>, CommandError> {
    let all = 0..site.coordinators.len();
    for index in all.clone() {
        site.end_coordinator(index, Signal::KILL).await;
    }
    let (from, ids): (_, Vec<_>) = (now(), site.workers.iter().map(|worker| worker.id).collect());
    pause(site.times.long_ttl.max(site.times.ttl)).await;
    let at = now();
    // What is lost here is lost with the bucket.
    ids.iter().for_each(|id| site.history().disturbed(*id, from, at));
    for index in all {
        site.start_coordinator(index).await?;
    }
    recover(site).await?;
    Ok(any(site, at).await)
}

/// Where a restart of all coordinators is enough there is nothing to recover: what matters is that locks are granted.
async fn recover(site: &Site) -> Result<(), CommandError> {
    let failed = |error| CommandError::internal("the shard cannot be recovered", error);
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(["admin", "recover", "--yes", "--wait", "0s", "--nats", &site.nodes.urls().join(",")]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(failed)?;
    tracing::info!(code = ?output.status.code(), "recovered");
    Ok(())
}
