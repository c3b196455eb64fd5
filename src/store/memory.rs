//! The store in memory.

/// A store in memory.
#[derive(Debug, Clone)]
pub struct MemoryStore;
