//! What every store does.

use super::Store;

/// Checks that a fresh, empty store keeps the contract.
pub async fn contract<S: Store>(_store: S) {}
