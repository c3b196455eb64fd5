//! What the platform itself takes: one request after another, and one write after another, with nothing of
//! natslock in between but the client library's connection.

use std::time::Duration;

use bytes::Bytes;

use super::trace::{Lap, Trace, Window};
use crate::cli::commands::serve::explain_store;
use crate::cli::error::CommandError;
use crate::cli::session::explain_transport;
use crate::clock::SystemClock;
use crate::nats::{BucketConfig, Connection};
use crate::types::{Key, LockName, Revision};

/// About as long as a request to acquire.
const REQUEST_BYTES: usize = 96;
/// About as long as the record of a lock with one holder.
const RECORD_BYTES: usize = 192;
/// As many keys in turn as the workload of one owner has locks.
const KEYS: usize = 512;

/// Asks the echo on this subject, one request after another.
pub(super) async fn requests(
    connection: &Connection,
    subject: &str,
    window: Window,
) -> Result<Trace, CommandError> {
    let payload = Bytes::from_static(&[b'x'; REQUEST_BYTES]);
    let mut stopwatch = Stopwatch::start(window);
    while let Some(called) = stopwatch.next() {
        connection.bare_request(subject, payload.clone()).await.map_err(explain_transport)?;
        stopwatch.lap(called);
    }
    Ok(stopwatch.trace)
}

/// The keys that are written, with their revisions.
#[derive(Debug)]
pub(super) struct Keys(Vec<(Key, Revision)>);

impl Keys {
    pub(super) fn new() -> Self {
        let key = |number| LockName::encode(&format!("limit.{number}")).map(Key::Lock);
        Self((0..KEYS).filter_map(|number| key(number).ok()).map(|key| (key, Revision::NONE)).collect())
    }
}

/// Writes the keys in turn, one after another.
pub(super) async fn writes(
    connection: &Connection,
    bucket: &BucketConfig,
    keys: &mut Keys,
    window: Window,
) -> Result<Trace, CommandError> {
    let value = Bytes::from_static(&[b'x'; RECORD_BYTES]);
    let mut stopwatch = Stopwatch::start(window);
    'time: loop {
        for (key, revision) in &mut keys.0 {
            let Some(called) = stopwatch.next() else { break 'time };
            let written = connection.bare_write(bucket, key, *revision, value.clone()).await;
            *revision = written.map_err(|error| explain_store(&error))?;
            stopwatch.lap(called);
        }
    }
    Ok(stopwatch.trace)
}

struct Stopwatch {
    began: crate::types::Timestamp,
    window: Window,
    trace: Trace,
}

impl Stopwatch {
    fn start(window: Window) -> Self {
        Self { began: SystemClock::boot(), window, trace: Trace::default() }
    }

    /// The time, while there is some left.
    fn next(&self) -> Option<Duration> {
        let elapsed = SystemClock::boot().since(self.began);
        (elapsed <= self.window.end()).then_some(elapsed)
    }

    fn lap(&mut self, called: Duration) {
        let ended = SystemClock::boot().since(self.began);
        self.trace.acquires.push(Lap { ended, took: ended.saturating_sub(called) });
    }
}
