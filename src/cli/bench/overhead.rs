//! What figures, `serve --http` and events cost: three coordinators on one server. One does without figures and events,
//! one without figures, and one does all and is looked at. Each round runs all three right after each other, each time
//! in another order, so that what changes on the machine meets all alike.
//!
//! Beside the rates it compares the processor time of the coordinator and the server: a busy machine changes that less.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::counters::processor_time;
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
use crate::nats::connect;
use crate::types::{CoordinatorId, Namespace};

/// What is run.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Pairs {
    pub(in crate::cli) workloads: Vec<Workload>,
    pub(in crate::cli) count: usize,
    pub(in crate::cli) span: Duration,
}

/// What one of the parts costs in one workload.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Overhead {
    workload: &'static str,
    part: &'static str,
    /// Locks that were given back, a second.
    rate: Compared,
    /// Microseconds of the coordinator and the server for each; nothing where the system does not tell.
    processor_us: Option<Compared>,
}

/// With the part, and without it.
#[derive(Debug, Serialize)]
struct Compared {
    /// Without: the median.
    without: f64,
    /// With it, as a share of that without: pair by pair.
    ratios: Vec<f64>,
    /// The first, second and third quartile of them.
    quartiles: [f64; 3],
}

/// The coordinators, the one that does least first.
struct Sides([Side; 3]);

/// What the second and the third do that the one before does not.
const PARTS: [&str; 2] = ["events", "figures, http"];

/// A coordinator, and those who ask it.
struct Side {
    coordinator: Daemon,
    clients: Vec<Client>,
    /// Where it is looked at.
    http: Option<SocketAddr>,
}

/// What came of one run.
#[derive(Debug, Clone, Copy)]
struct Run {
    per_second: f64,
    processor_us: Option<f64>,
}

/// Measures; `progress` is told of each round before it begins.
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
    let sides = Sides::start(site).await?;
    let mut found = Vec::new();
    for workload in &pairs.workloads {
        let mut rounds = Vec::new();
        for number in 0..pairs.count {
            progress(*workload);
            rounds.push(sides.round(site, number, *workload, pairs.span).await?);
        }
        found.extend(
            PARTS.iter().enumerate().map(|(part, name)| Overhead::new(*workload, name, part, &rounds)),
        );
    }
    for side in sides.0 {
        side.coordinator.stop().await;
    }
    Ok(found)
}

impl Sides {
    async fn start(site: &Site) -> Result<Self, CommandError> {
        let http = free_address()?;
        Ok(Self([
            Side::start(site, "bare", &["--without", "figures,events"], None).await?,
            Side::start(site, "uncounted", &["--without", "figures"], None).await?,
            Side::start(site, "whole", &["--http", &http.to_string()], Some(http)).await?,
        ]))
    }

    async fn round(
        &self,
        site: &Site,
        number: usize,
        workload: Workload,
        span: Duration,
    ) -> Result<[Run; 3], CommandError> {
        let mut runs = [Run { per_second: 0.0, processor_us: None }; 3];
        for turn in 0..3 {
            // Each of the six orders in its turn.
            let turn = if (number / 3).is_multiple_of(2) { turn } else { 2 - turn };
            let which = (number + turn) % 3;
            runs[which] = self.0[which].run(site, workload, span).await?;
        }
        Ok(runs)
    }
}

impl Side {
    async fn start(
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

    async fn run(&self, site: &Site, workload: Workload, span: Duration) -> Result<Run, CommandError> {
        let window = Window::of(span);
        // Any random number will do: the next run has other locks.
        let prefix = CoordinatorId::random().to_string();
        let before = self.busy(site);
        let mut view = JoinSet::new();
        if let Some(http) = self.http {
            look(http, &mut view).await?;
        }
        let traces = workload::run(workload, &self.clients, &prefix, window).await?;
        if let Some(ended) = view.try_join_next() {
            return Err(not_looked_at(format!("{ended:?}")));
        }
        let busy = self.busy(site).zip(before).map(|(after, before)| after.saturating_sub(before));
        let all: usize = traces.iter().map(|trace| trace.releases.len()).sum();
        let released: u64 = traces.iter().map(|trace| window.count(&trace.releases)).sum();
        if released == 0 {
            let message = format!("{}: nothing has ended within the time", Step::Workload(workload).name());
            return Err(CommandError::new(Kind::NoAnswer, message).hint("give it longer: --seconds 10"));
        }
        let processor_us = busy.map(|micros| micros as f64 / all as f64);
        Ok(Run { per_second: released as f64 / window.seconds(), processor_us })
    }

    /// The processor time of the coordinator and of the server up to now, in microseconds.
    fn busy(&self, site: &Site) -> Option<u64> {
        let pids = site.servers.iter().chain([&self.coordinator]).map(|daemon| daemon.pid);
        pids.map(processor_time).sum()
    }
}

/// Reads the figures once in each run, which is more often than Prometheus does, and opens a view for as long.
async fn look(address: SocketAddr, view: &mut JoinSet<std::io::Result<usize>>) -> Result<(), CommandError> {
    get(address, "/metrics").await.map_err(|error| not_looked_at(error.to_string()))?;
    view.spawn(async move { get(address, "/live").await });
    Ok(())
}

fn not_looked_at(why: String) -> CommandError {
    CommandError::new(Kind::Internal, format!("the figures were not looked at: {why}"))
}

impl Overhead {
    fn new(workload: Workload, part: &'static str, number: usize, rounds: &[[Run; 3]]) -> Self {
        let pairs = || rounds.iter().map(|runs| (runs[number], runs[number + 1]));
        let busy: Option<Vec<_>> =
            pairs().map(|(one, other)| one.processor_us.zip(other.processor_us)).collect();
        Self {
            workload: Step::Workload(workload).name(),
            part,
            rate: Compared::new(pairs().map(|(one, other)| (one.per_second, other.per_second)).collect()),
            processor_us: busy.map(Compared::new),
        }
    }
}

impl Compared {
    fn new(pairs: Vec<(f64, f64)>) -> Self {
        let ratios: Vec<_> = pairs.iter().map(|(without, with)| with / without).collect();
        let without: Vec<_> = pairs.into_iter().map(|(without, _)| without).collect();
        let quartiles = quartiles(&ratios);
        Self { without: median(&without).unwrap_or(0.0), ratios, quartiles }
    }

    /// What was without, and what it is with: the median, and the quartiles.
    fn told(&self, unit: &str) -> [String; 3] {
        let [lower, middle, upper] = self.quartiles.map(|ratio| format!("{:+.1} %", (ratio - 1.0) * 100.0));
        [format!("{:.0}{unit}", self.without), middle, format!("{lower} to {upper}")]
    }
}

/// The medians of the lower half, of all, and of the upper half.
fn quartiles(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len().div_ceil(2);
    [&sorted[..half], &sorted, &sorted[sorted.len() - half..]].map(|part| median(part).unwrap_or(0.0))
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
    let rows = found.iter().map(|overhead| {
        let [rate, change, range] = overhead.rate.told("/s");
        let none = || [String::new(), String::new(), String::new()];
        let [busy, more, _] = overhead.processor_us.as_ref().map_or_else(none, |busy| busy.told(" us"));
        [overhead.workload.to_owned(), overhead.part.to_owned(), rate, change, range, busy, more]
    });
    output.table(["workload", "part", "without", "with", "half of the pairs", "processor", "with"], rows)
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
