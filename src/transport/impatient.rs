//! Sending without being held up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::Transport;
use crate::clock::{Clock, within};

/// How long a message may wait for a connection that takes none.
const PATIENCE: Duration = Duration::from_millis(250);

/// Sends messages that may be lost. A connection that takes no messages must not hold up a task that has
/// deadlines to watch: the first message waits a moment for it, and until one gets through the others do not
/// wait at all.
#[derive(Debug)]
pub struct Impatient<T, C> {
    transport: T,
    clock: C,
    clogged: AtomicBool,
}

impl<T: Transport, C: Clock> Impatient<T, C> {
    /// Sends by this transport.
    pub const fn new(transport: T, clock: C) -> Self {
        Self { transport, clock, clogged: AtomicBool::new(false) }
    }

    /// Sends a message, or loses it.
    ///
    /// # Cancel safety
    /// Dropping it leaves open whether the message is sent.
    pub async fn send(&self, subject: String, reply: Option<String>, body: Bytes) {
        let patience = if self.clogged.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
        let sent = within(&self.clock, patience, self.transport.publish(subject, reply, body)).await;
        let was_clogged = self.clogged.swap(sent.is_none(), Ordering::Relaxed);
        match sent {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(%error, "a message was not sent"),
            None if was_clogged => {}
            None => tracing::warn!("the connection takes no messages; they are lost until it does"),
        }
    }
}
