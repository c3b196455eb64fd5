//! A coordinator that is killed, and the next one, which loads all records before it answers.

use futures_util::future::try_join_all;

use super::{Points, answered, client, memory};
use crate::cli::bench::site::Site;
use crate::cli::commands::serve::explain_store;
use crate::cli::error::CommandError;
use crate::clock::SystemClock;
use crate::engine::message::{LockRecord, StoredHolder, StoredToken};
use crate::nats::{BucketConfig, Connection};
use crate::types::{
    AttemptId, Claim, CoordinatorId, Epoch, Key, LeaseId, LockName, OwnerName, Revision, ShardId, Ttl,
    WallTime,
};
use crate::wire::record::encode_lock;
use crate::wire::subject::SubjectSpace;

const AT_A_TIME: usize = 256;

pub(super) async fn measure(site: &mut Site, sizes: &[usize]) -> Result<Points, CommandError> {
    let (connection, client) = client(site, "loader").await?;
    let bucket = SubjectSpace::new(site.namespace.clone()).bucket(ShardId(0));
    let bucket =
        BucketConfig { bucket: bucket.name().to_owned(), replicas: 1, first_sequence: Revision::new(1) };
    let (mut points, mut stored) = (Points::default(), 0);
    for size in [0].iter().chain(sizes) {
        store(&connection, &bucket, stored, *size).await?;
        stored = *size;
        site.stop_coordinator().await;
        let began = SystemClock::boot();
        site.start_coordinator(1).await?;
        answered(&client).await?;
        let took = SystemClock::boot().since(began).as_secs_f64() * 1e3;
        points.add("takeover with records", *size, took, "ms");
        let memory = memory(site.coordinator_pid()) / 1024.0;
        points.add("memory after a takeover with records", *size, memory, "KiB");
    }
    Ok(points)
}

/// Writes the records of held locks from one number to another, as a coordinator would have.
async fn store(
    connection: &Connection,
    bucket: &BucketConfig,
    from: usize,
    to: usize,
) -> Result<(), CommandError> {
    let writers = (0..AT_A_TIME).map(|first| async move {
        for number in (from + first..to).step_by(AT_A_TIME) {
            let (key, record) = record(number)?;
            let written = connection.bare_write(bucket, &key, Revision::NONE, encode_lock(&record)).await;
            written.map_err(|error| explain_store(&error))?;
        }
        Ok::<(), CommandError>(())
    });
    try_join_all(writers).await.map(drop)
}

fn record(number: usize) -> Result<(Key, LockRecord), CommandError> {
    let no_name = |error| CommandError::internal("no name", error);
    let owner = OwnerName::encode(&format!("owner-{}", number % 64)).map_err(no_name)?;
    let name = LockName::encode(&format!("stored.{number}")).map_err(no_name)?;
    let holder = StoredHolder {
        id: LeaseId::random().hash(&owner),
        owner,
        claim: Claim::Exclusive,
        token: StoredToken::Index(0),
        ttl: Ttl::from_millis(Ttl::MS_MAX).unwrap_or_default(),
        kept: false,
        granted_at: WallTime(0),
        note: None,
    };
    let attempt = AttemptId { coordinator: CoordinatorId(1), number: number as u64 };
    let record = LockRecord { attempt, epoch: Epoch::new(Revision::new(1)), holders: vec![holder] };
    Ok((Key::Lock(name), record))
}
