//! The transport in memory.

/// A transport in memory.
#[derive(Debug, Clone)]
pub struct MemoryTransport;
