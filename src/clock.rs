//! The one file that reads a clock or sleeps (S1).
//!
//! Lease arithmetic uses a clock that goes on during suspend: CLOCK_BOOTTIME on Linux, elsewhere the monotonic
//! clock (which counts sleep on macOS). A runtime's sleep stops during suspend, so long sleeps are cut into
//! slices of at most 250 ms and the clock is read again after each.

use std::future::Future;
use std::time::Duration;

use crate::engine::message::Now;
use crate::types::{Timestamp, WallTime};

/// How long a sleep may go without a look at the clock.
const SLICE: Duration = Duration::from_millis(250);

/// Where the time comes from.
pub trait Clock: Clone + Send + Sync + 'static {
    /// Both clocks, read once.
    fn now(&self) -> Now;

    /// Waits until the boot clock shows `deadline`.
    ///
    /// # Cancel safety
    /// Dropping it forgets nothing: it holds no state but the deadline.
    fn sleep_until(&self, deadline: Timestamp) -> impl Future<Output = ()> + Send;
}

/// The clocks of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The clock that counts suspend.
    pub fn boot() -> Timestamp {
        #[cfg(target_os = "linux")]
        let id = rustix::time::ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let id = rustix::time::ClockId::Monotonic;
        let read = rustix::time::clock_gettime(id);
        let seconds = u64::try_from(read.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(read.tv_nsec).unwrap_or(0);
        Timestamp::from_boot(Duration::new(seconds, nanos))
    }

    /// The wall clock, for people.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn wall() -> WallTime {
        let since_1970 =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        WallTime(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now { boot: Self::boot(), wall: Self::wall() }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
    async fn sleep_until(&self, deadline: Timestamp) {
        loop {
            let left = deadline.since(Self::boot());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(SLICE)).await;
        }
    }
}

/// Runs `work`, but not beyond `span` from now; `None` where the time ran out first.
///
/// # Cancel safety
/// As that of `work`, which is dropped when the time runs out.
pub async fn within<C: Clock, T>(clock: &C, span: Duration, work: impl Future<Output = T>) -> Option<T> {
    let deadline = clock.now().boot + span;
    tokio::select! {
        biased;
        done = work => Some(done),
        () = clock.sleep_until(deadline) => None,
    }
}
