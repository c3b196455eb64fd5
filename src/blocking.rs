//! Locks for code without async: the same client, driven by a thread of its own.
//!
//! ```
//! use natslock::blocking::Client;
//! use natslock::client::{AcquireError, AcquireOptions};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::in_memory()?; // or Client::connect("nats://127.0.0.1:4222")
//! let guard = client.acquire("orders.42")?;
//! println!("write with fencing token {}", guard.token());
//! assert!(matches!(client.try_acquire("orders.42"), Err(AcquireError::Held(_))));
//! guard.release();
//!
//! // Clients and guards may be used from several threads.
//! std::thread::scope(|scope| {
//!     for _ in 0..3 {
//!         scope.spawn(|| client.acquire_with("orders.43", AcquireOptions::new().shared()).map(drop));
//!     }
//! });
//! # Ok(())
//! # }
//! ```
//!
//! Every call blocks the thread it is made on: in async code use [`crate::client`].

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::client::{self, AcquireError, AcquireOptions, CallError, ClientOptions};
use crate::clock::{SystemClock, within};
use crate::connect;
use crate::engine::message::LockView;
use crate::nats::ConnectOptions;
#[cfg(feature = "coordinator")]
use crate::service::StartError;
use crate::types::{LockName, Timestamp, Token};

/// How long the end of the last client and guard waits for locks that are being given back.
const LEAVE_FOR: Duration = Duration::from_secs(2);

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The system gives no thread.
    #[error("the client's thread cannot be started: {0}")]
    Thread(#[from] io::Error),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] connect::ClientError),
    /// The coordinator in memory could not begin.
    #[cfg(feature = "coordinator")]
    #[error(transparent)]
    Start(#[from] StartError),
}

/// A client of one namespace, in the name of one owner. Clones share its connection and its thread.
///
/// Dropping the last clone and the last guard waits for the locks that are being given back, two seconds at
/// most: a program that ends then leaves none behind.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

impl Client {
    /// A client in the name of this process's user and host, on a connection of its own to a NATS server.
    ///
    /// # Errors
    /// No server answered, it refused, or it is too old.
    pub fn connect(url: &str) -> Result<Self, ClientError> {
        let url = url.to_owned();
        Self::open(async move { Ok(client::Client::connect(&url).await?) })
    }

    /// A client on a connection of its own.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_with(options: &ConnectOptions, client: ClientOptions) -> Result<Self, ClientError> {
        let options = options.clone();
        Self::open(async move { Ok(client::Client::connect_with(&options, client).await?) })
    }

    /// A client of a coordinator of its own, in the memory of this process; as `client::Client::in_memory`.
    ///
    /// # Errors
    /// The system gives no thread.
    #[cfg(feature = "coordinator")]
    pub fn in_memory() -> Result<Self, ClientError> {
        Self::open(async { Ok(client::Client::in_memory().await?) })
    }

    fn open(
        client: impl Future<Output = Result<client::Client, ClientError>> + Send + 'static,
    ) -> Result<Self, ClientError> {
        let thread = Thread::start()?;
        let client = thread.wait(client)?;
        Ok(Self { shared: Arc::new(Shared { client, thread }) })
    }

    /// Acquires a lock, however long it takes.
    ///
    /// # Errors
    /// As [`client::Client::acquire`].
    pub fn acquire(&self, name: &str) -> Result<LockGuard, AcquireError> {
        self.acquire_with(name, AcquireOptions::new())
    }

    /// Acquires a lock if it is free.
    ///
    /// # Errors
    /// [`AcquireError::Held`] where it is not; otherwise as [`Client::acquire`].
    pub fn try_acquire(&self, name: &str) -> Result<LockGuard, AcquireError> {
        self.acquire_with(name, AcquireOptions::new().wait(Duration::ZERO))
    }

    /// Acquires a lock as the options say. A wait that is to be given up needs an end: [`AcquireOptions::wait`].
    ///
    /// # Errors
    /// As [`client::Client::acquire_with`].
    pub fn acquire_with(&self, name: &str, options: AcquireOptions) -> Result<LockGuard, AcquireError> {
        let name = name.to_owned();
        let guard = self.ask(move |client| async move { client.acquire_with(&name, options).await })?;
        Ok(LockGuard { guard, shared: Arc::clone(&self.shared) })
    }

    /// Who holds a lock and who waits for it; nobody where it is free.
    ///
    /// # Errors
    /// A name that is none, or no answer.
    pub fn check(&self, name: &str) -> Result<Option<LockView>, CallError> {
        let name = name.to_owned();
        self.ask(move |client| async move { client.check(&name).await })
    }

    /// All held or waited-for locks whose names begin so, in byte order of the encoded name.
    ///
    /// # Errors
    /// No answer.
    pub fn list(&self, prefix: &str) -> Result<Vec<(LockName, LockView)>, CallError> {
        let prefix = prefix.to_owned();
        self.ask(move |client| async move { client.list(&prefix).await })
    }

    /// Does something with the async client, on the client's thread.
    fn ask<W>(&self, work: impl FnOnce(client::Client) -> W) -> W::Output
    where
        W: Future<Output: Send> + Send + 'static,
    {
        self.shared.thread.wait(work(self.shared.client.clone()))
    }
}

/// A lock that is held, see [`client::LockGuard`]: it is renewed by the client's thread, whatever this one does.
///
/// Dropping the guard gives the lock back in the background. A guard may be sent to other threads.
#[must_use = "if unused the lock is given back at once"]
#[derive(Debug)]
pub struct LockGuard {
    // Dropped first, so that the end of the thread waits for the release.
    guard: client::LockGuard,
    shared: Arc<Shared>,
}

impl LockGuard {
    /// The lock.
    pub const fn name(&self) -> &LockName {
        self.guard.name()
    }

    /// The fencing token: higher than that of every earlier holder. Resources that refuse a lower token than
    /// the highest they have seen are safe from holders that were paused.
    pub fn token(&self) -> Token {
        self.guard.token()
    }

    /// Until when the lock may be believed in if no renewal gets through; see [`client::LockGuard::deadline`].
    pub fn deadline(&self) -> Timestamp {
        self.guard.deadline()
    }

    /// How long that is from now; zero when it is over.
    pub fn remaining(&self) -> Duration {
        self.guard.remaining()
    }

    /// True while the lock may be believed in. It reads the clock, so it is right also after a pause of the
    /// whole process.
    pub fn is_valid(&self) -> bool {
        self.guard.is_valid()
    }

    /// A flag that is set when the lock is lost, for whoever works under it on other threads.
    pub fn lost_flag(&self) -> LostFlag {
        LostFlag(self.guard.lost_token())
    }

    /// Gives the lock back, and says how long it was held, by the leader's clock; nothing where the lease had
    /// ended before, or no answer came before it ended by itself.
    pub fn release(self) -> Option<Duration> {
        let Self { guard, shared } = self;
        shared.thread.wait(guard.release())
    }

    /// Gives the lock back with one message and waits for nothing, see [`client::LockGuard::release_detached`].
    pub fn release_detached(self) {
        self.guard.release_detached();
    }
}

/// Whether a lock was lost. It is set by the client's thread: after a pause of the whole process a moment late,
/// so whoever must know asks [`LockGuard::is_valid`]. Giving the lock back does not set it.
#[derive(Debug, Clone)]
pub struct LostFlag(CancellationToken);

impl LostFlag {
    /// True once the lock was lost.
    pub fn is_set(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// A client and the thread that drives it.
#[derive(Debug)]
struct Shared {
    client: client::Client,
    thread: Thread,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let client = self.client.clone();
        self.thread.wait(async move { _ = within(&SystemClock, LEAVE_FOR, client.settled()).await });
    }
}

/// A thread that does what others wait for, and what goes on in the background.
#[derive(Debug)]
struct Thread {
    handle: Handle,
    /// Dropped when the thread is to end.
    alive: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Thread {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("natslock".into()).spawn(move || {
            // It ends with an error: nothing is ever sent.
            _ = runtime.block_on(ended);
        })?;
        Ok(Self { handle, alive: Some(alive), thread: Some(thread) })
    }

    /// Blocks until the thread has done it.
    fn wait<W>(&self, work: W) -> W::Output
    where
        W: Future<Output: Send> + Send + 'static,
    {
        let (told, done) = sync_channel(1);
        self.handle.spawn(async move {
            // Whoever waits is there until it is told.
            _ = told.send(work.await);
        });
        done.recv().unwrap_or_else(|_| unreachable!("the thread lives as long as its handle"))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // A panic on it was shown when it happened.
            _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn lease_of_a_second() -> AcquireOptions {
        AcquireOptions::new().ttl(Duration::from_secs(1))
    }

    #[test]
    fn threads_take_turns() {
        let client = Client::in_memory().unwrap();
        let (inside, turns) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let guard = client.acquire("orders.42").unwrap();
                        assert!(guard.is_valid() && !guard.remaining().is_zero());
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                        turns.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        guard.release();
                    }
                });
            }
        });
        assert_eq!(turns.into_inner(), 20);
        assert!(client.check("orders.42").unwrap().is_none());
        assert!(client.list("").unwrap().is_empty());
    }

    #[test]
    fn it_is_renewed_while_its_thread_is_busy() {
        let client = Client::in_memory().unwrap();
        let guard = client.acquire_with("orders.42", lease_of_a_second()).unwrap();
        let first = guard.deadline();
        while SystemClock::boot() < first {
            std::hint::spin_loop();
        }
        assert!(guard.is_valid() && guard.deadline() > first);
        assert_eq!(client.list("orders").unwrap()[0].1.holders[0].token, guard.token());
    }

    #[test]
    fn the_flag_is_set_when_the_lock_is_lost() {
        let client = Client::in_memory().unwrap();
        let guard = client.acquire_with("orders.42", lease_of_a_second()).unwrap();
        let flag = guard.lost_flag();
        assert!(!flag.is_set());
        let name = guard.name().clone();
        client.ask(|client| async move { client.caller().admin_release(&name, None).await }).unwrap();
        while !flag.is_set() {
            std::thread::yield_now();
        }
        assert!(!guard.is_valid() && guard.release().is_none());
    }

    #[test]
    fn what_cannot_be_reached_is_an_error() {
        let nobody = Client::connect("nats://127.0.0.1:1");
        assert!(matches!(nobody, Err(ClientError::Connect(_))), "{nobody:?}");
    }
}
