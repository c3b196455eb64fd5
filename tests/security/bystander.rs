//! Some who do honest work while others do not, and how much longer it takes them.
//!
//! A machine that runs other things beside a test is quick at one moment and slow at the next. So quiet and loud
//! times take turns, each too short for the machine to change much, and what counts is the median of the ratios of
//! neighbours: it stays near one where the loud times do nothing, whatever else the machine does, and leaves it where
//! they do something each time.

use std::time::Duration;

use futures_util::future::join_all;
use natslock::client::{Client, ClientOptions};
use natslock::clock::{Clock as _, SystemClock};
use natslock::nats::ConnectOptions;
use natslock::types::{LockName, OwnerName};

use crate::support::PATIENCE;
use crate::support::service::{acquire, lock, options, release};

/// Who does the honest work: each with a lock of its own.
pub(super) struct Bystanders {
    all: Vec<(Client, LockName)>,
    /// Between two pieces of work of one of them.
    pause: Duration,
}

impl Bystanders {
    /// So many, each with a connection of its own; none asks more often than so many times a second.
    pub(super) async fn connect(server: &ConnectOptions, count: usize, rate: u32) -> Self {
        let mut all = Vec::new();
        for number in 0..count {
            let owner = OwnerName::encode(&format!("honest-{number}")).unwrap();
            let patient = ClientOptions::new(owner).patience(PATIENCE);
            let client = Client::connect_with(server, patient).await.unwrap();
            all.push((client, lock(&format!("theirs.{number}"))));
        }
        Self::of(all, rate)
    }

    /// Those who are connected already, and the lock that each takes.
    pub(super) fn of(all: Vec<(Client, LockName)>, rate: u32) -> Self {
        // A piece of work is two requests.
        Self { all, pause: Duration::from_secs(2) / rate }
    }

    /// Each takes and gives back its lock, again and again, for so long. Everything must succeed.
    pub(super) async fn work(&self, span: Duration) -> Latencies {
        let until = SystemClock::boot() + span;
        let each = self.all.iter().map(|(client, name)| async move {
            let mut took = Vec::new();
            while SystemClock::boot() < until {
                let began = SystemClock::boot();
                let lease = acquire(client, name, &options(10_000, 0)).await;
                release(client, &lease).await;
                took.push(SystemClock::boot().since(began));
                SystemClock.sleep_until(SystemClock::boot() + self.pause).await;
            }
            took
        });
        Latencies::of(join_all(each).await.concat())
    }
}

/// How long an acquire and a release took together, in order of length.
#[derive(Debug, Default, Clone)]
pub(super) struct Latencies(Vec<Duration>);

impl Latencies {
    fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        Self(took)
    }

    pub(super) const fn count(&self) -> usize {
        self.0.len()
    }

    /// So many in a thousand took no longer.
    fn permille(&self, permille: usize) -> Duration {
        self.0.get(self.0.len() * permille / 1_000).copied().unwrap_or_default()
    }

    pub(super) fn p50(&self) -> Duration {
        self.permille(500)
    }

    pub(super) fn p99(&self) -> Duration {
        self.permille(990)
    }
}

/// What was measured in two kinds of times that took turns.
#[derive(Debug, Default)]
pub(super) struct Turns(Vec<(Latencies, Latencies)>);

impl Turns {
    /// A quiet time and the loud one beside it.
    pub(super) fn add(&mut self, quiet: Latencies, loud: Latencies) {
        self.0.push((quiet, loud));
    }

    /// How many times as long as in quiet times the p99 is: the median over all turns.
    pub(super) fn ratio(&self) -> f64 {
        let ratio = |(quiet, loud): &(Latencies, Latencies)| {
            loud.p99().as_secs_f64() / quiet.p99().as_secs_f64().max(f64::EPSILON)
        };
        let mut ratios: Vec<f64> = self.0.iter().map(ratio).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    }

    /// For people.
    pub(super) fn told(&self) -> String {
        let all = |loud: bool| {
            let of = |(quiet, other): &(Latencies, Latencies)| {
                if loud { other.0.clone() } else { quiet.0.clone() }
            };
            let all = Latencies::of(self.0.iter().flat_map(of).collect());
            format!("p50 {:.2?} p99 {:.2?} of {}", all.p50(), all.p99(), all.count())
        };
        format!("quiet {}, loud {}, ratio of p99 {:.2}", all(false), all(true), self.ratio())
    }
}
