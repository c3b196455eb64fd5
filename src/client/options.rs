//! What a client and an acquisition may be told.

use std::time::Duration;

use crate::engine::message::Acquire;
use crate::types::{
    Claim, LeaseId, LockName, NameError, Namespace, Note, NoteError, OwnerName, Permits, PermitsError,
    SpanError, Ttl, WAIT_MS_MAX, Wait,
};

/// How a client behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Whose locks. Default: `default`.
    pub namespace: Namespace,
    /// In whose name.
    pub owner: OwnerName,
    /// How long to go on without any answer from a coordinator. Default: 5 s.
    pub patience: Duration,
}

impl ClientOptions {
    /// The defaults, for this owner.
    pub fn new(owner: OwnerName) -> Self {
        Self { namespace: Namespace::default(), owner, patience: Duration::from_secs(5) }
    }

    /// The same for another namespace.
    #[must_use]
    pub fn namespace(self, namespace: Namespace) -> Self {
        Self { namespace, ..self }
    }

    /// The same with another patience.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }
}

/// `<user>@<host>`, as the command line has it.
pub fn default_owner() -> OwnerName {
    let mut users = ["USER", "LOGNAME", "USERNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    let user = users.find(|user| !user.is_empty()).unwrap_or_else(|| "unknown".into());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let encoded = OwnerName::encode(&format!("{user}@{host}"));
    // A host with a very long name: the user alone will do, and if not even that, a word.
    encoded
        .or_else(|_| OwnerName::encode(&user))
        .or_else(|_| OwnerName::encode("unknown"))
        .unwrap_or_else(|_| unreachable!("a plain word is an owner"))
}

/// An option that cannot be used, found before anything is sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// The name of a lock that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A time outside its limits.
    #[error(transparent)]
    Span(#[from] SpanError),
    /// Permits outside their limits.
    #[error(transparent)]
    Permits(#[from] PermitsError),
    /// A note that is too long.
    #[error(transparent)]
    Note(#[from] NoteError),
}

#[derive(Debug, Clone, Copy)]
enum Asked {
    Exclusive,
    Shared,
    Permits { permits: u64, capacity: u64 },
}

/// How to acquire a lock: exclusively, with a lease of 30 seconds, waiting as long as it takes, unless told
/// otherwise.
///
/// ```
/// use std::time::Duration;
/// use natslock::client::AcquireOptions;
/// let options = AcquireOptions::new().ttl(Duration::from_secs(10)).wait(Duration::from_secs(3)).shared();
/// ```
#[derive(Debug, Clone)]
pub struct AcquireOptions {
    id: Option<LeaseId>,
    asked: Asked,
    ttl: Duration,
    wait: Option<Duration>,
    note: Option<String>,
    keep: Duration,
}

impl Default for AcquireOptions {
    fn default() -> Self {
        Self {
            id: None,
            asked: Asked::Exclusive,
            ttl: Ttl::default().get(),
            wait: None,
            note: None,
            keep: Duration::ZERO,
        }
    }
}

impl AcquireOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The lease time, 1 s to 24 h; it is renewed every third of it. Default: 30 s. A shorter one frees the lock
    /// of a dead process sooner, and is sooner lost in an outage of the coordinator or of NATS.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// Wait at most so long, up to 24 h; zero is a try. Default: as long as it takes.
    #[must_use]
    pub fn wait(self, wait: Duration) -> Self {
        Self { wait: Some(wait), ..self }
    }

    /// Hold it together with other readers.
    #[must_use]
    pub fn shared(self) -> Self {
        Self { asked: Asked::Shared, ..self }
    }

    /// Hold some of the permits of a counting lock. All users of the name must agree on the capacity, 1 to 1000.
    #[must_use]
    pub fn permits(self, permits: u64, capacity: u64) -> Self {
        Self { asked: Asked::Permits { permits, capacity }, ..self }
    }

    /// A text of up to 256 bytes that everybody sees beside the holder.
    #[must_use]
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// When the lock is given back, it stays held that much longer. Default: not at all. For jobs that hosts
    /// whose clocks differ start at about the same time: the late ones find it held.
    #[must_use]
    pub fn keep(self, keep: Duration) -> Self {
        Self { keep, ..self }
    }

    /// The id of the acquisition. Default: a new one that nobody can guess. Whoever knows it can renew and
    /// release the lease; an id is used once.
    #[must_use]
    pub fn id(self, id: LeaseId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// Checks the options.
    ///
    /// # Errors
    /// The first that is outside its limits.
    pub fn check(self) -> Result<Terms, OptionsError> {
        let claim = match self.asked {
            Asked::Exclusive => Claim::Exclusive,
            Asked::Shared => Claim::Shared,
            Asked::Permits { permits, capacity } => Claim::Counting(Permits::new(permits, capacity)?),
        };
        let ttl = Ttl::from_millis(millis(self.ttl))?;
        if let Some(wait) = self.wait {
            Wait::from_millis(millis(wait))?;
        }
        let keep = millis(self.keep);
        if keep > Ttl::MS_MAX {
            return Err(SpanError { field: "keep_ms", given_ms: keep, min_ms: 0, max_ms: Ttl::MS_MAX }.into());
        }
        let note = self.note.map(|note| note.parse()).transpose()?;
        let replaceable = self.id.is_none();
        let id = self.id.unwrap_or_else(LeaseId::random);
        Ok(Terms { id, replaceable, claim, ttl, wait: self.wait, note, keep: self.keep })
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Options that were checked.
#[derive(Debug, Clone)]
pub struct Terms {
    pub(super) id: LeaseId,
    /// The client made the id, and may take another where it is over before its grant was heard of.
    pub(super) replaceable: bool,
    pub(super) claim: Claim,
    pub(super) ttl: Ttl,
    /// As long as it takes where there is none.
    pub(super) wait: Option<Duration>,
    pub(super) note: Option<Note>,
    pub(super) keep: Duration,
}

impl Terms {
    pub(super) const fn tries(&self) -> bool {
        matches!(self.wait, Some(wait) if wait.is_zero())
    }

    /// The request that wants to wait so long.
    pub(super) fn ask(&self, name: &LockName, wait: Duration) -> Acquire {
        let ms = millis(wait).clamp(u64::from(!self.tries()), WAIT_MS_MAX);
        Acquire {
            name: name.clone(),
            id: self.id.clone(),
            claim: self.claim,
            ttl: self.ttl,
            wait: Wait::from_millis(ms).unwrap_or_default(),
            note: self.note.clone(),
            progress: true,
        }
    }
}
