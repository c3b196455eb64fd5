//! Tests that measure tenths of a second, and tests that load the machine: never at the same time.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static QUIET: RwLock<()> = RwLock::const_new(());

/// While this is held nobody measures. Many may hold it.
pub(crate) fn disturb() -> RwLockReadGuard<'static, ()> {
    QUIET.blocking_read()
}

/// While this is held nobody disturbs.
pub(crate) async fn measure() -> RwLockWriteGuard<'static, ()> {
    QUIET.write().await
}
