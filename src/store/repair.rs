//! What only a recovery does to a store (S11): see `service::recovery`.

use std::future::Future;

use super::{Entry, Store, StoreError};
use crate::types::Revision;

/// Where the revisions of a store are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where they began when the store was made.
    pub begun: Revision,
    /// The highest that was given, or the one before the first that will be.
    pub last: Revision,
    /// The store is set aside: see [`Repair::set_aside`].
    pub aside: bool,
}

/// A store that can be recovered. Every call may be repeated, and a copy of it that is carried out late does no
/// harm.
pub trait Repair: Store {
    /// Where its revisions are.
    ///
    /// # Errors
    /// The store did not answer.
    fn extent(&self) -> impl Future<Output = Result<Extent, StoreError>> + Send;

    /// The last record of every key, in order of revision. Of what is written meanwhile it may miss the new or
    /// the old record.
    ///
    /// # Errors
    /// The store did not answer.
    fn records(&self) -> impl Future<Output = Result<Vec<Entry>, StoreError>> + Send;

    /// Removes all records below `first` and gives no revision below it from now on. Where revisions are as high
    /// already, nothing happens.
    ///
    /// # Errors
    /// The store did not answer, or does not let its records be removed.
    fn raise(&self, first: Revision) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Sets it aside, or not any more: while it is, [`Store::identity`] is unavailable, so that no term that
    /// begins meanwhile serves.
    ///
    /// # Errors
    /// The store did not answer.
    fn set_aside(&self, aside: bool) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The store that a recovery keeps this one's records in, where there is one.
    ///
    /// # Errors
    /// The store did not answer.
    fn copy(&self) -> impl Future<Output = Result<Option<Self>, StoreError>> + Send;

    /// Makes that store, with `first` for its first revision. Of several that make one at once, the first wins;
    /// the others get its store.
    ///
    /// # Errors
    /// The store did not answer.
    fn make_copy(&self, first: Revision) -> impl Future<Output = Result<Self, StoreError>> + Send;

    /// Removes that store.
    ///
    /// # Errors
    /// The store did not answer.
    fn remove_copy(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}
