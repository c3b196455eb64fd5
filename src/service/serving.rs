//! What a leader has while it serves.

use futures_util::stream::BoxStream;

use super::holds::Holds;
use super::outbox::ReplyTo;
use crate::engine::Engine;
use crate::store::Delivery;
use crate::transport::Message;

/// A term that is being served.
pub(super) struct Serving {
    pub(super) engine: Engine<ReplyTo>,
    pub(super) holds: Holds,
    /// Counts the terms of this coordinator: what belongs to an earlier one is not for this engine.
    pub(super) number: u64,
    /// The standing consumer of the bucket (S5).
    pub(super) records: Option<BoxStream<'static, Delivery>>,
    pub(super) requests: Option<BoxStream<'static, Message>>,
    /// The store was found, after the takeover, to be the one it was at the beginning, or not to be: then the
    /// shard is quarantined (S11).
    pub(super) identified: bool,
    /// All that was written before the term is known.
    pub(super) loaded: bool,
}
