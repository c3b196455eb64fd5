//! What the worker processes of a run do: contend for a few locks, keep many, or ask again and again whether
//! anything is granted.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::event::{Event, nanos, now};
use super::register::RegisterClient;
use crate::cli::Context;
use crate::cli::duration;
use crate::cli::error::CommandError;
use crate::client::{AcquireError, AcquireOptions, Client, LockGuard, LostReason};
use crate::clock::{Clock as _, SystemClock};
use crate::types::{CoordinatorId, Ttl};

/// How long one request waits for a contended lock.
const WAIT: Duration = Duration::from_secs(60);
/// Between two requests of a prober.
const PROBE_PAUSE: Duration = Duration::from_millis(20);
/// A prober uses so many locks in turn.
const PROBES: u64 = 50;
/// How often a keeper looks whether a deadline was put off.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// After a request without an answer.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the work under a contended lock takes, in milliseconds.
const WORK_MS: std::ops::Range<u64> = 5..45;

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// Take turns at a few locks, and write to the registers under each
    Contend,
    /// Hold many locks for ever
    Keep,
    /// Acquire and release free locks
    Probe,
}

impl Role {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Contend => "contend",
            Self::Keep => "keep",
            Self::Probe => "probe",
        }
    }
}

/// A worker process of a torture run
#[derive(Debug, Args)]
pub(crate) struct Worker {
    #[arg(value_enum)]
    role: Role,
    /// So many clients or locks
    #[arg(long)]
    number: usize,
    /// Contend for so many locks
    #[arg(long, default_value_t = 1)]
    locks: usize,
    #[arg(long, value_parser = duration::ttl)]
    ttl: Ttl,
    #[arg(long)]
    register: SocketAddr,
}

/// Runs until the process is killed.
pub(in crate::cli) async fn run(worker: Worker, context: &Context) -> Result<(), CommandError> {
    let mut tasks = Vec::new();
    let ttl = worker.ttl.get();
    match worker.role {
        Role::Contend => {
            for number in 0..worker.number {
                let register = RegisterClient::connect(worker.register).await;
                let register =
                    register.map_err(|error| CommandError::internal("cannot reach the registers", error))?;
                let session = context.open("torture").await?;
                let lock = format!("hot.{}", number % worker.locks);
                tasks.push(tokio::spawn(contend(session.client, register, lock, ttl)));
            }
        }
        Role::Keep => {
            let session = context.open("torture").await?;
            for number in 0..worker.number {
                let lock = format!("calm.{}.{number}", context.owner());
                tasks.push(tokio::spawn(keep(session.client.clone(), lock, ttl)));
            }
        }
        Role::Probe => {
            for number in 0..worker.number {
                let session = context.open("torture").await?;
                tasks.push(tokio::spawn(probe(session.client, number, ttl)));
            }
        }
    }
    for task in tasks {
        task.await.map_err(|error| CommandError::internal("a worker's task has ended", error))?;
    }
    Ok(())
}

/// Written before anything else is done, in one piece: after a kill the parent knows all that was done.
#[expect(clippy::expect_used, reason = "nobody listens any more: there is nothing left to do")]
fn tell(event: &Event) {
    let line = event.encode() + "\n";
    std::io::stdout().lock().write_all(line.as_bytes()).expect("the parent listens");
}

/// A lock that this process believes to hold.
struct Hold {
    number: u64,
    guard: LockGuard,
    /// When the guard said that the lock is lost.
    lost: tokio::task::JoinHandle<u64>,
}

impl Hold {
    /// Nothing where the lease is over already.
    fn begin(guard: LockGuard, ttl: Duration, asked: u64) -> Option<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (until, from) = (nanos(guard.deadline()), now());
        if until <= from {
            return None;
        }
        let is_lost = guard.lost_token();
        let lost = tokio::spawn(async move {
            is_lost.cancelled().await;
            now()
        });
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let (lock, token) = (guard.name().to_string(), guard.token().get());
        tell(&Event::Granted { hold: number, lock, token, ttl_ms, asked, from, until });
        Some(Self { number, guard, lost })
    }

    /// Tells until when the lock was believed to be held, and leaves the guard to be released.
    async fn end(self) -> LockGuard {
        let (at, deadline) = (now(), nanos(self.guard.deadline()));
        let is_lost = !self.guard.is_valid();
        let (lost, until) = if is_lost {
            let (reason, lost_at) = (self.guard.lost().await, self.lost.await.unwrap_or(at));
            (Some(word(reason)), at.min(deadline).min(lost_at))
        } else {
            self.lost.abort();
            (None, at.min(deadline))
        };
        tell(&Event::Ended { hold: self.number, until, lost });
        self.guard
    }
}

fn word(reason: LostReason) -> String {
    format!("{reason:?}").to_lowercase()
}

/// Asks once. Why there is no lock is told, and followed by a pause.
async fn acquire(client: &Client, lock: &str, ttl: Duration) -> Option<Hold> {
    let asked = now();
    let why = match client.acquire_with(lock, AcquireOptions::new().ttl(ttl).wait(WAIT)).await {
        Ok(guard) => return Hold::begin(guard, ttl, asked),
        Err(AcquireError::Held(_)) => "held".to_owned(),
        Err(other) => other.to_string(),
    };
    tell(&Event::Failed { lock: lock.to_owned(), at: now(), why });
    pause(PAUSE).await;
    None
}

async fn pause(span: Duration) {
    SystemClock.sleep_until(SystemClock::boot() + span).await;
}

async fn contend(client: Client, mut register: RegisterClient, lock: String, ttl: Duration) {
    // Any number will do.
    let mut random = CoordinatorId::random().0;
    loop {
        let Some(hold) = acquire(&client, &lock, ttl).await else { continue };
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let work = WORK_MS.start + (random >> 33) % (WORK_MS.end - WORK_MS.start);
        careless_work(&hold.guard, &mut register, Duration::from_millis(work)).await;
        hold.end().await.release().await;
    }
}

/// Looks at the guard, works, and then writes without looking again, as code does that knows nothing of pauses.
/// This is what fencing is for.
async fn careless_work(guard: &LockGuard, register: &mut RegisterClient, work: Duration) {
    let (lock, token) = (guard.name().to_string(), guard.token().get());
    if let Some(read) = register.read(&lock, token).await
        && guard.is_valid()
    {
        pause(work).await;
        register.write(&lock, token, read).await;
    }
}

async fn keep(client: Client, lock: String, ttl: Duration) {
    loop {
        let Some(hold) = acquire(&client, &lock, ttl).await else { continue };
        let mut known = nanos(hold.guard.deadline());
        while hold.guard.is_valid() {
            tokio::select! {
                _ = hold.guard.lost() => {}
                () = pause(LOOK_EVERY) => {
                    let until = nanos(hold.guard.deadline());
                    if until > known {
                        known = until;
                        tell(&Event::Extended { hold: hold.number, until });
                    }
                }
            }
        }
        drop(hold.end().await);
    }
}

async fn probe(client: Client, prober: usize, ttl: Duration) {
    for number in 0_u64.. {
        let lock = format!("probe.{prober}.{}", number % PROBES);
        if let Some(hold) = acquire(&client, &lock, ttl).await {
            // Given back in the background: the next request need not wait for that.
            drop(hold.end().await);
        }
        pause(PROBE_PAUSE).await;
    }
}
