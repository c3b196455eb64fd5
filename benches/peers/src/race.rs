//! The workloads of `natslock bench`, for anything that can take a lock and give it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Result;
use crate::stats::{Sample, Window};

/// Somebody who takes locks, one at a time.
pub trait Owner: Send + 'static {
    fn acquire(&mut self, key: &str) -> impl Future<Output = Result<()>> + Send;
    fn release(&mut self, key: &str) -> impl Future<Output = Result<()>> + Send;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// One owner, 512 locks in turn.
    W1,
    /// 64 owners, a lock each.
    W2,
    /// 16 owners, one lock.
    W3,
    /// 256 owners, one lock.
    W4,
}

impl Workload {
    pub const ALL: [Self; 4] = [Self::W1, Self::W2, Self::W3, Self::W4];
    pub const OWNERS_MAX: usize = 256;

    pub const fn owners(self) -> usize {
        match self {
            Self::W1 => 1,
            Self::W2 => 64,
            Self::W3 => 16,
            Self::W4 => Self::OWNERS_MAX,
        }
    }

    pub const fn contended(self) -> bool {
        matches!(self, Self::W3 | Self::W4)
    }

    /// The locks that an owner takes, in turn.
    pub fn keys(self, owner: usize) -> Vec<String> {
        match self {
            Self::W1 => (0..512).map(|number| format!("w1-{number}")).collect(),
            Self::W2 => vec![format!("w2-{owner}")],
            Self::W3 => vec!["w3".into()],
            Self::W4 => vec!["w4".into()],
        }
    }
}

struct Race {
    began: Instant,
    window: Window,
    /// When the lock that all want was given back the last time, in nanoseconds since the beginning.
    released: AtomicU64,
    /// How many hold that lock: where it is ever two, the lock is none.
    holders: AtomicU64,
}

/// Runs a workload once. The owners are given back in their order.
pub async fn run<O: Owner>(workload: Workload, owners: &mut Vec<O>, span: Duration) -> Result<Sample> {
    let window = Window::of(span);
    let race = Race {
        began: Instant::now(),
        window,
        released: AtomicU64::new(u64::MAX),
        holders: AtomicU64::new(0),
    };
    let race = Arc::new(race);
    let mut tasks = JoinSet::new();
    for (number, mut owner) in owners.drain(..workload.owners()).enumerate() {
        let race = Arc::clone(&race);
        tasks.spawn(async move {
            let sample = race.take_part(workload, number, &mut owner).await;
            (number, owner, sample)
        });
    }
    let (mut whole, mut returned) = (Sample::default(), Vec::new());
    while let Some(done) = tasks.join_next().await {
        let (number, owner, sample) = done?;
        whole.add(sample?);
        returned.push((number, owner));
    }
    returned.sort_by_key(|(number, _)| *number);
    owners.splice(..0, returned.into_iter().map(|(_, owner)| owner));
    Ok(whole)
}

impl Race {
    async fn take_part(&self, workload: Workload, number: usize, owner: &mut impl Owner) -> Result<Sample> {
        let mut sample = Sample::of_one_owner();
        for key in workload.keys(number).iter().cycle() {
            let called = self.began.elapsed();
            if called > self.window.to {
                break;
            }
            owner.acquire(key).await?;
            let held = self.began.elapsed();
            if workload.contended() {
                self.enter()?;
                let released = self.released.load(Ordering::Acquire);
                if self.window.has(held) && released != u64::MAX {
                    sample.gaps.push(held.saturating_sub(Duration::from_nanos(released)));
                }
            }
            if self.window.has(held) {
                sample.count(held - called);
            }
            let releasing = self.began.elapsed();
            if workload.contended() {
                self.released.store(releasing.as_nanos() as u64, Ordering::Release);
                self.holders.fetch_sub(1, Ordering::AcqRel);
            }
            owner.release(key).await?;
            if self.window.has(releasing) {
                sample.releases.push(self.began.elapsed() - releasing);
            }
        }
        Ok(sample)
    }

    fn enter(&self) -> Result<()> {
        match self.holders.fetch_add(1, Ordering::AcqRel) {
            0 => Ok(()),
            others => Err(format!("{} owners held one lock", others + 1).into()),
        }
    }
}
