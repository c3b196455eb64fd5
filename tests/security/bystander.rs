//! Some who do honest work while others do not.

use std::time::Duration;

use natslock::client::Client;
use natslock::clock::{Clock as _, SystemClock};
use natslock::types::LockName;

use crate::support::service::{acquire, options, release};

/// Between two pieces of work.
const PAUSE: Duration = Duration::from_millis(20);
/// A machine that runs other tests beside this one has quiet times that are not: a p99 below this counts as this.
const NOISE: Duration = Duration::from_millis(2);

/// How long an acquire and a release took together.
#[derive(Debug, Default)]
pub(super) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Each in turn takes and gives back a lock, again and again, for so long. Everything must succeed.
    pub(super) async fn work(&mut self, clients: &[Client], name: &LockName, span: Duration) {
        let until = SystemClock::boot() + span;
        for client in clients.iter().cycle() {
            let began = SystemClock::boot();
            if began >= until {
                break;
            }
            let lease = acquire(client, name, &options(10_000, 0)).await;
            release(client, &lease).await;
            self.0.push(SystemClock::boot().since(began));
            SystemClock.sleep_until(SystemClock::boot() + PAUSE).await;
        }
    }

    pub(super) const fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn p99(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() * 99 / 100).copied().unwrap_or_default()
    }

    /// How many times as long as in `quiet` times.
    pub(super) fn ratio(&self, quiet: &Self) -> f64 {
        self.p99().max(NOISE).as_secs_f64() / quiet.p99().max(NOISE).as_secs_f64()
    }
}
