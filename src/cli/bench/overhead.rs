//! What figures, events and `serve --http` cost: two coordinators on one server, one that counts, tells and is
//! looked at, and a bare one. Each pair of runs takes both right after each other, now the one first and now the
//! other, so that what changes on the machine meets both alike.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::measure::{CONNECTIONS, clients};
use super::site::{Demand, Site, eventually, free_address, ourselves};
use super::stats::median;
use super::step::{Step, Workload};
use super::trace::Window;
use super::workload;
use crate::cli::error::{CommandError, Kind};
use crate::cli::keeper::Daemon;
use crate::cli::output::Output;
use crate::cli::session::explain_connect;
use crate::client::Client;
use crate::clock::{Clock as _, SystemClock};
use crate::nats::connect;
use crate::types::{CoordinatorId, Namespace};

/// How often somebody looks at the figures.
const SCRAPE_EVERY: Duration = Duration::from_secs(1);

/// What is run.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Pairs {
    pub(in crate::cli) workloads: Vec<Workload>,
    pub(in crate::cli) count: usize,
    pub(in crate::cli) span: Duration,
}

/// What came of one workload.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Overhead {
    workload: &'static str,
    /// What the bare coordinator does a second: the median.
    bare_per_second: f64,
    /// Of what it does, the share that the other does: pair by pair.
    ratios: Vec<f64>,
    /// The first, second and third quartile of them.
    quartiles: [f64; 3],
}

/// One of the two coordinators, and those who ask it.
struct Side {
    coordinator: Daemon,
    clients: Vec<Client>,
}

/// Measures; `progress` is told of each pair before it begins.
pub(in crate::cli) async fn measure(
    pairs: &Pairs,
    progress: impl FnMut(Workload),
) -> Result<Vec<Overhead>, CommandError> {
    let site = Site::servers(Demand { sync: false, replicas: 1 }).await?;
    match race(&site, pairs, progress).await {
        Ok(found) => {
            site.stop().await;
            Ok(found)
        }
        Err(error) => Err(site.explain(error).await),
    }
}

async fn race(
    site: &Site,
    pairs: &Pairs,
    mut progress: impl FnMut(Workload),
) -> Result<Vec<Overhead>, CommandError> {
    let http = free_address()?;
    let bare = Side::start(site, "bare", &["--bare"]).await?;
    let whole = Side::start(site, "whole", &["--http", &http.to_string()]).await?;
    let mut lookers = JoinSet::new();
    lookers.spawn(scrape(http));
    lookers.spawn(async move { get(http, "/live").await });
    let mut found = Vec::new();
    for workload in &pairs.workloads {
        let (mut rates, mut ratios) = (Vec::new(), Vec::new());
        for number in 0..pairs.count {
            progress(*workload);
            let (one, other) = if number % 2 == 0 {
                let one = bare.run(*workload, pairs.span).await?;
                (one, whole.run(*workload, pairs.span).await?)
            } else {
                let other = whole.run(*workload, pairs.span).await?;
                (bare.run(*workload, pairs.span).await?, other)
            };
            if one == 0.0 || other == 0.0 {
                let message =
                    format!("{}: nothing has ended within the time", Step::Workload(*workload).name());
                return Err(CommandError::new(Kind::NoAnswer, message).hint("give it longer: --seconds 10"));
            }
            rates.push(one);
            ratios.push(other / one);
        }
        found.push(Overhead::new(*workload, &rates, ratios));
    }
    if let Some(ended) = lookers.try_join_next() {
        return Err(CommandError::new(Kind::Internal, format!("the figures were not looked at: {ended:?}")));
    }
    for side in [bare, whole] {
        side.coordinator.stop().await;
    }
    Ok(found)
}

impl Side {
    async fn start(site: &Site, name: &str, options: &[&str]) -> Result<Self, CommandError> {
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
        Ok(Self { coordinator, clients })
    }

    /// Locks that were given back, a second.
    async fn run(&self, workload: Workload, span: Duration) -> Result<f64, CommandError> {
        let window = Window::of(span);
        // Any random number will do: the next run has other locks.
        let prefix = CoordinatorId::random().to_string();
        let traces = workload::run(workload, &self.clients, &prefix, window).await?;
        let released: u64 = traces.iter().map(|trace| window.count(&trace.releases)).sum();
        Ok(released as f64 / window.seconds())
    }
}

impl Overhead {
    fn new(workload: Workload, rates: &[f64], ratios: Vec<f64>) -> Self {
        let quartiles = quartiles(&ratios);
        let bare_per_second = median(rates).unwrap_or(0.0);
        Self { workload: Step::Workload(workload).name(), bare_per_second, ratios, quartiles }
    }
}

/// The medians of the lower half, of all, and of the upper half.
fn quartiles(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len().div_ceil(2);
    [&sorted[..half], &sorted, &sorted[sorted.len() - half..]].map(|part| median(part).unwrap_or(0.0))
}

/// Reads the figures again and again, as Prometheus does. It ends only where it cannot.
async fn scrape(address: SocketAddr) -> std::io::Result<usize> {
    loop {
        get(address, "/metrics").await?;
        SystemClock.sleep_until(SystemClock::boot() + SCRAPE_EVERY).await;
    }
}

/// Reads a page to its end, and returns the length of the answer; an answer that is no page is an error.
async fn get(address: SocketAddr, path: &str) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let (mut length, mut buffer) = (0, [0; 8_192]);
    loop {
        let read = stream.read(&mut buffer).await?;
        if length == 0 && !buffer[..read].starts_with(b"HTTP/1.1 200 ") {
            let answer = String::from_utf8_lossy(&buffer[..read.min(40)]).into_owned();
            return Err(std::io::Error::other(format!("{path} is answered {answer:?}")));
        }
        if read == 0 {
            return Ok(length);
        }
        length += read;
    }
}

/// A table of all of them.
pub(in crate::cli) fn print(found: &[Overhead], output: Output) -> Result<(), CommandError> {
    let percent = |ratio: f64| format!("{:+.1} %", (ratio - 1.0) * 100.0);
    let rows = found.iter().map(|overhead| {
        let [lower, middle, upper] = overhead.quartiles.map(percent);
        let rate = format!("{:.0}/s", overhead.bare_per_second);
        [overhead.workload.to_owned(), rate, middle, lower, upper, overhead.ratios.len().to_string()]
    });
    output.table(["workload", "bare", "with figures, events, http", "from", "to", "pairs"], rows)
}

/// The same for programs.
pub(in crate::cli) fn json(found: &[Overhead]) -> Vec<u8> {
    serde_json::to_vec(found).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_pairs_are_between_the_outer_quartiles() {
        assert_eq!(quartiles(&[5.0, 1.0, 2.0, 4.0, 3.0]), [2.0, 3.0, 4.0]);
        assert_eq!(quartiles(&[4.0, 1.0, 2.0, 3.0]), [1.5, 2.5, 3.5]);
        assert_eq!(quartiles(&[7.0]), [7.0; 3]);
    }
}
