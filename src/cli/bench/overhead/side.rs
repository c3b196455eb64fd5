//! A coordinator, and those who ask it.

use std::net::SocketAddr;
use std::ops::AddAssign;

use futures_util::future::{try_join, try_join_all};

use super::look::look;
use crate::cli::bench::counters::processor_time;
use crate::cli::bench::measure::{CONNECTIONS, clients};
use crate::cli::bench::site::{Site, eventually, ourselves};
use crate::cli::bench::step::Workload;
use crate::cli::bench::trace::Window;
use crate::cli::bench::workload;
use crate::cli::error::{CommandError, Kind};
use crate::cli::keeper::Daemon;
use crate::cli::session::explain_connect;
use crate::client::Client;
use crate::clock::{Clock as _, SystemClock};
use crate::nats::connect;
use crate::types::Namespace;

pub(super) struct Side {
    coordinator: Daemon,
    clients: Vec<Client>,
    /// Where it is looked at.
    http: Option<SocketAddr>,
}

/// What came of its slices so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    /// Locks that were granted within the windows.
    pub(super) counted: u64,
    /// All that were granted.
    pub(super) all: u64,
    /// How long the windows were.
    pub(super) seconds: f64,
    /// What it took the processors, in microseconds; nothing where the system does not tell.
    pub(super) busy: Option<u64>,
}

impl Default for Taken {
    fn default() -> Self {
        Self { counted: 0, all: 0, seconds: 0.0, busy: Some(0) }
    }
}

impl AddAssign for Taken {
    fn add_assign(&mut self, other: Self) {
        self.counted += other.counted;
        self.all += other.all;
        self.seconds += other.seconds;
        self.busy = self.busy.zip(other.busy).map(|(one, other)| one + other);
    }
}

impl Taken {
    pub(super) fn per_second(&self) -> f64 {
        self.counted as f64 / self.seconds
    }

    /// For each lock.
    pub(super) fn processor_us(&self) -> Option<f64> {
        self.busy.map(|busy| busy as f64 / self.all as f64)
    }
}

impl Side {
    pub(super) async fn start(
        site: &Site,
        name: &str,
        options: &[&str],
        http: Option<SocketAddr>,
    ) -> Result<Self, CommandError> {
        let namespace: Namespace =
            name.parse().map_err(|error| CommandError::internal("no namespace", error))?;
        let urls = site.options.urls.join(",");
        let words = [&["serve", "--nats", &urls, "--namespace", name], options].concat();
        let coordinator = ourselves(words).await?.daemon();
        let connections = try_join_all((0..CONNECTIONS).map(|_| connect(&site.options))).await;
        let connections = connections.map_err(explain_connect)?;
        let owners = [Workload::W1, Workload::W2, Workload::W3, Workload::W4].map(Workload::owners);
        let owners = owners.into_iter().max().unwrap_or(1);
        let clients = clients(&namespace, &connections, owners).await?;
        eventually(async || {
            let leaders = clients[0].caller().leaders().await;
            leaders
                .map(drop)
                .map_err(|error| CommandError::internal("the coordinator does not answer", error))
        })
        .await?;
        Ok(Self { coordinator, clients, http })
    }

    pub(super) async fn stop(self) {
        self.coordinator.stop().await;
    }

    /// Puts it under load for so long, and looks at it meanwhile, where that is wanted and it can be looked at.
    pub(super) async fn slice(
        &self,
        site: &Site,
        workload: Workload,
        window: Window,
        looked_at: bool,
    ) -> Result<Taken, CommandError> {
        let before = self.busy(site);
        // The same locks each time, as those who have a coordinator use them.
        let load = workload::run(workload, &self.clients, "overhead", window);
        let (traces, ()) = try_join(load, self.look(window, looked_at)).await?;
        let busy = self.busy(site).zip(before).map(|(after, before)| after.saturating_sub(before));
        Ok(Taken {
            counted: traces.iter().map(|trace| window.count(&trace.acquires)).sum(),
            all: traces.iter().map(|trace| trace.acquires.len() as u64).sum(),
            seconds: window.seconds(),
            busy,
        })
    }

    async fn look(&self, window: Window, looked_at: bool) -> Result<(), CommandError> {
        let Some(http) = self.http.filter(|_| looked_at) else { return Ok(()) };
        SystemClock.sleep_until(SystemClock::boot() + window.begin()).await;
        let failed =
            |error| CommandError::new(Kind::Internal, format!("the figures were not looked at: {error}"));
        look(http).await.map_err(failed)
    }

    /// The processor time of the coordinator and of the server up to now, in microseconds.
    fn busy(&self, site: &Site) -> Option<u64> {
        let pids = site.servers.iter().chain([&self.coordinator]).map(|daemon| daemon.pid);
        pids.map(processor_time).sum()
    }
}
