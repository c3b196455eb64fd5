//! The bucket is deleted and made again under load: coordinators that were running then grant nothing more, from
//! the leader's next write of its own record on. Then the shard is recovered, and they go on without a restart:
//! whatever is granted later has a higher token.

use std::time::Duration;

use super::event::now;
use super::faults::any;
use super::nodes::NODES;
use super::site::{Site, pause, stream};
use crate::cli::error::{CommandError, Kind};
use crate::cli::session::explain_transport;
use crate::clock::SystemClock;
use crate::nats::{BucketConfig, NatsStore, NatsTransport};
use crate::service::recovery::{Recovery, Wish, ask_around, first_revision, survey};
use crate::store::StoreError;
use crate::types::{Namespace, ShardId};

/// How long the coordinators are watched.
const WATCH_FOR: Duration = Duration::from_secs(5);
/// How long after a third of the leadership lease the leader's write may be.
const LATE: Duration = Duration::from_secs(2);

pub(super) async fn recreate(site: &mut Site) -> Result<Option<Duration>, CommandError> {
    let failed = |what: &str| CommandError::new(Kind::Internal, what.to_owned());
    let deleted = site.ask_stream("DELETE").await;
    if deleted.is_none_or(|answer| answer["success"] != true) {
        return Err(failed("the bucket cannot be deleted"));
    }
    open_bucket(site).await?;
    let made = now();
    pause(site.times.leader_lease / 3 + LATE).await;
    let noticed = now();
    pause(WATCH_FOR).await;
    let granted = site.history().granted("", noticed);
    if let Some(granted) = granted {
        site.violations.push(format!("a lock was granted at {granted}, in a bucket made again at {made}"));
    }
    recover(site, noticed).await
}

async fn open_bucket(site: &Site) -> Result<NatsStore, CommandError> {
    let name = stream();
    let config = BucketConfig {
        bucket: name.strip_prefix("KV_").unwrap_or(&name).to_owned(),
        replicas: NODES,
        first_sequence: first_revision(SystemClock::wall()),
    };
    let opened = NatsStore::open(site.connection.clone(), config).await;
    opened.map_err(|error| CommandError::internal("the bucket cannot be made again", error))
}

/// As an operator does, but for the questions: the coordinators run on, and go on once every lease that is lost
/// with the bucket has run out.
async fn recover(site: &mut Site, noticed: u64) -> Result<Option<Duration>, CommandError> {
    let failed = |error: StoreError| CommandError::internal("the shard cannot be recovered", error);
    let (from, ids): (_, Vec<_>) = (now(), site.workers.iter().map(|worker| worker.id).collect());
    let wait = site.times.long_ttl.max(site.times.ttl) + site.times.leader_lease;
    let store = open_bucket(site).await?;
    let transport = NatsTransport::new(site.connection.clone());
    let reports = ask_around(&transport, &SystemClock, &Namespace::default(), ShardId(0)).await;
    let findings = survey(&store, reports.map_err(explain_transport)?, SystemClock::wall()).await;
    let wish = Wish { force: false, wait: Some(wait) };
    let plan = findings.map_err(failed)?.plan(wish);
    let plan = plan.ok_or_else(|| CommandError::new(Kind::Internal, "nobody has found anything wrong"))?;
    let mut recovery = Recovery::new(store, SystemClock, plan, "torture".into());
    recovery.carry_out(drop).await.map_err(failed)?;
    pause(wait.saturating_sub(LATE)).await;
    let granted = site.history().granted("", noticed);
    if let Some(granted) = granted {
        site.violations.push(format!("a lock was granted at {granted}, before lost leases had run out"));
    }
    pause(LATE).await;
    let at = now();
    // What is lost here is lost with the bucket.
    ids.iter().for_each(|id| site.history().disturbed(*id, from, at));
    Ok(any(site, at).await)
}
