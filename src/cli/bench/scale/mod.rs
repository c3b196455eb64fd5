//! How costs grow with the size of what there is: locks, waiters, records, names, namespaces.
//!
//! Each part has private servers of its own, so that none starts with what another has left.

mod held;
mod names;
mod namespaces;
mod points;
mod takeover;
mod waiters;

use std::time::Duration;

use super::counters::{processor_time, resident};
use super::site::{Demand, Site, eventually};
use crate::cli::error::CommandError;
use crate::cli::session::{explain_connect, explain_transport};
use crate::client::{AcquireError, Client, ClientOptions};
use crate::clock::SystemClock;
use crate::nats::{Connection, NatsTransport, connect};
use crate::transport::SharedTransport;
use crate::types::{OwnerName, Timestamp};

pub(in crate::cli) use self::namespaces::serve as serve_namespaces;
pub(in crate::cli) use self::points::{Points, print};

/// A leader with much to do may be slow to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(in crate::cli) enum Subject {
    /// Held locks that are renewed
    Held,
    /// Waiters of one lock
    Waiters,
    /// Records that a new leader loads
    Takeover,
    /// Names that are used once
    Names,
    /// Namespaces in one process
    Namespaces,
}

/// Measures the costs of sizes up to `largest`, each ten times the one before.
pub(in crate::cli) async fn measure(subject: Subject, largest: usize) -> Result<Points, CommandError> {
    let mut site = Site::private(Demand { sync: false, replicas: 1 }).await?;
    let sizes = sizes(largest);
    let measured = match subject {
        Subject::Held => held::measure(&site, &sizes).await,
        Subject::Waiters => waiters::measure(&site, &sizes).await,
        Subject::Takeover => takeover::measure(&mut site, &sizes).await,
        Subject::Names => names::measure(&site, &sizes).await,
        Subject::Namespaces => namespaces::measure(&site, &sizes).await,
    };
    match measured {
        Ok(points) => {
            site.stop().await;
            Ok(points)
        }
        Err(error) => Err(site.explain(error).await),
    }
}

/// Three sizes, the last of them the largest.
fn sizes(largest: usize) -> Vec<usize> {
    let mut sizes: Vec<usize> = [100, 10, 1].map(|share| (largest / share).max(1)).into();
    sizes.dedup();
    sizes
}

/// A client on a connection of its own, whose coordinator answers.
async fn client(site: &Site, owner: &str) -> Result<(Connection, Client), CommandError> {
    let connection = connect(&site.options).await.map_err(explain_connect)?;
    let transport = SharedTransport::new(NatsTransport::new(connection.clone()));
    let owner = OwnerName::encode(owner).map_err(|error| CommandError::internal("no owner", error))?;
    let options = ClientOptions::new(owner).namespace(site.namespace.clone()).patience(PATIENCE);
    let client = Client::over(transport, options).await.map_err(explain_transport)?;
    answered(&client).await?;
    Ok((connection, client))
}

/// Waits until a leader answers.
async fn answered(client: &Client) -> Result<(), CommandError> {
    eventually(async || {
        let leaders = client.caller().leaders().await;
        leaders.map(drop).map_err(|error| CommandError::internal("the coordinator does not answer", error))
    })
    .await
}

fn not_granted(error: AcquireError) -> CommandError {
    CommandError::internal("a lock was not granted", error)
}

/// What a process used of a processor while something went on.
struct Watch {
    pid: u32,
    began: Timestamp,
    used: u64,
}

impl Watch {
    fn start(pid: u32) -> Self {
        Self { pid, began: SystemClock::boot(), used: processor_time(pid).unwrap_or(0) }
    }

    /// As a share of one processor.
    fn share(&self) -> f64 {
        let used = processor_time(self.pid).unwrap_or(0).saturating_sub(self.used);
        used as f64 / 1e6 / SystemClock::boot().since(self.began).as_secs_f64()
    }
}

/// The memory of a process in bytes; zero where the system does not tell.
fn memory(pid: u32) -> f64 {
    resident(pid).unwrap_or(0) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_end_with_the_largest() {
        assert_eq!(sizes(100_000), [1_000, 10_000, 100_000]);
        assert_eq!(sizes(5), [1, 5]);
    }
}
