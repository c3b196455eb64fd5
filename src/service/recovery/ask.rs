//! Asking the coordinators of a shard what they know.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::clock::{Clock, within};
use crate::transport::{Transport, TransportError};
use crate::types::{Namespace, ShardId};
use crate::wire::report::Report;
use crate::wire::subject::SubjectSpace;

/// How long coordinators have to answer.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// No more answers are heard than there can be coordinators.
const REPORTS_MAX: usize = 1_000;

/// What the coordinators that run and answer within a second and a half say. Of one that does not, nothing is
/// known.
///
/// # Errors
/// The connection does not carry messages.
pub async fn ask_around<T: Transport, C: Clock>(
    transport: &T,
    clock: &C,
    namespace: &Namespace,
    shard: ShardId,
) -> Result<Vec<Report>, TransportError> {
    let inbox = transport.new_inbox();
    let mut answers = transport.subscribe(inbox.clone()).await?;
    let subject = SubjectSpace::new(namespace.clone()).inquiry(shard);
    transport.publish(subject, Some(inbox), Bytes::new()).await?;
    let mut reports: Vec<Report> = Vec::new();
    let collected = within(clock, PATIENCE, async {
        while let Some(answer) = answers.next().await {
            if answer.no_responders || reports.len() >= REPORTS_MAX {
                return;
            }
            match Report::decode(&answer.payload) {
                Ok(report) => reports.push(report),
                Err(error) => tracing::debug!(%error, "not a report"),
            }
        }
    });
    // Running out of time is how it ends.
    let _ = collected.await;
    Ok(reports)
}
