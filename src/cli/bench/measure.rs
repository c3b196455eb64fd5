//! One run: every repetition takes each step once, so that what changes on the machine meanwhile meets all alike.

use std::time::Duration;

use futures_util::future::try_join_all;

use super::counters::{Counters, messages, per_operation, processor_time};
use super::figure::{Cost, Figure, Part, Repetition, Summary, repetition};
use super::limits::{self, Keys};
use super::site::{Demand, Site, eventually};
use super::step::{Step, Workload};
use super::trace::{Trace, Window};
use super::workload;
use crate::cli::commands::serve::explain_store;
use crate::cli::error::{CommandError, Kind};
use crate::cli::session::{explain_connect, explain_transport};
use crate::client::{Client, ClientOptions};
use crate::nats::{BucketConfig, Connection, NatsTransport, connect};
use crate::transport::SharedTransport;
use crate::types::{CoordinatorId, Namespace, OwnerName, Revision, ShardId};
use crate::wire::info::Info;
use crate::wire::subject::SubjectSpace;

/// Owners share so many connections.
pub(super) const CONNECTIONS: usize = 4;
/// A machine under load may be slow to answer: that is told by the figures, not by giving up.
const PATIENCE: Duration = Duration::from_secs(20);
const LIMITS_BUCKET: &str = "natslock-bench";

/// What a run is.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Measurement {
    pub(in crate::cli) demand: Demand,
    pub(in crate::cli) workloads: Vec<Workload>,
    pub(in crate::cli) repetitions: usize,
    pub(in crate::cli) span: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(in crate::cli) struct Measured {
    pub(super) info: Info,
    pub(super) summaries: Vec<Summary>,
    /// The time of a bare request, from the first measurement to the last.
    pub(super) requests: Vec<f64>,
}

/// Everything that a step needs.
struct Bench<'a> {
    site: &'a Site,
    /// For what is not counted.
    control: Connection,
    connections: Vec<Connection>,
    clients: Vec<Client>,
    /// Where the limit of a write is taken.
    limits: BucketConfig,
    keys: Keys,
    /// Where the coordinator writes.
    locks: BucketConfig,
    echo: String,
    prefix: String,
    window: Window,
}

/// Measures; `progress` is told of each step before it begins.
pub(in crate::cli) async fn measure(
    site: &mut Site,
    measurement: &Measurement,
    mut progress: impl FnMut(usize, Step),
) -> Result<Measured, CommandError> {
    // Any random number will do: another run has other locks.
    let run = CoordinatorId::random();
    let echo = format!("natslock-bench.{run}");
    site.start_echo(&echo).await?;
    let (mut bench, info) = Bench::prepare(site, measurement, format!("natslock-bench.{run}"), echo).await?;
    let mut rounds: Vec<(Step, Vec<Repetition>)> =
        Step::all(&measurement.workloads).into_iter().map(|step| (step, Vec::new())).collect();
    let done = bench.rounds(&mut rounds, measurement.repetitions, &mut progress).await;
    let removed = bench.control.remove_bucket(&bench.limits).await;
    let requests = done?;
    removed.map_err(|error| explain_store(&error))?;
    let summaries = rounds.iter().map(|(step, repetitions)| Summary::of(*step, repetitions)).collect();
    Ok(Measured { info, summaries, requests })
}

impl<'a> Bench<'a> {
    async fn prepare(
        site: &'a Site,
        measurement: &Measurement,
        prefix: String,
        echo: String,
    ) -> Result<(Self, Info), CommandError> {
        let connected = (0..=CONNECTIONS).map(|_| connect(&site.options));
        let mut connections = try_join_all(connected).await.map_err(explain_connect)?;
        let control = connections.remove(0);
        let replicas = measurement.demand.replicas;
        let bucket = |bucket: &str| BucketConfig {
            bucket: bucket.to_owned(),
            replicas,
            first_sequence: Revision::new(1),
        };
        let limits = bucket(LIMITS_BUCKET);
        let locks = SubjectSpace::new(site.namespace.clone()).bucket(ShardId(0));
        let locks = bucket(locks.name());
        eventually(async || control.make_bucket(&limits).await.map_err(|error| explain_store(&error)))
            .await?;
        eventually(async || control.bare_request(&echo, "".into()).await.map_err(explain_transport)).await?;
        let owners = measurement.workloads.iter().map(|workload| workload.owners()).max().unwrap_or(1);
        let clients = clients(&site.namespace, &connections, owners).await?;
        let info = eventually(async || {
            let leaders = clients[0].caller().leaders().await;
            leaders.map_err(|error| CommandError::internal("the coordinator does not answer", error))
        })
        .await?;
        let (keys, window) = (Keys::new(), Window::of(measurement.span));
        let bench = Self { site, control, connections, clients, limits, keys, locks, echo, prefix, window };
        Ok((bench, info))
    }

    async fn rounds(
        &mut self,
        rounds: &mut [(Step, Vec<Repetition>)],
        repetitions: usize,
        progress: &mut impl FnMut(usize, Step),
    ) -> Result<Vec<f64>, CommandError> {
        let mut requests = Vec::new();
        let mut note = |repetition: &Repetition| {
            requests.extend(repetition.figures.get(&Figure::P50(Part::Request)));
        };
        for number in 0..repetitions {
            for (step, done) in rounds.iter_mut() {
                progress(number, *step);
                let repetition = self.step(*step).await?;
                note(&repetition);
                done.push(repetition);
            }
        }
        // Once more: whether the machine is still as fast as it was.
        progress(repetitions, Step::Request);
        note(&self.step(Step::Request).await?);
        Ok(requests)
    }

    async fn step(&mut self, step: Step) -> Result<Repetition, CommandError> {
        let before = self.counters(step).await?;
        let traces = self.traces(step).await?;
        let after = self.counters(step).await?;
        // Also those that warmed it up.
        let operations: usize = traces.iter().map(|trace| trace.acquires.len()).sum();
        let mut repetition = repetition(step, &traces, self.window);
        if repetition.figures.get(&Figure::PerSecond).is_none_or(|count| *count == 0.0) {
            let message = format!("{}: nothing has ended within the time", step.name());
            return Err(CommandError::new(Kind::NoAnswer, message).hint("give it longer: --seconds 10"));
        }
        let costs = per_operation(&before, &after, operations as u64);
        repetition.figures.extend(costs.map(|(cost, value)| (Figure::Per(cost), value)));
        Ok(repetition)
    }

    async fn traces(&mut self, step: Step) -> Result<Vec<Trace>, CommandError> {
        let connection = &self.connections[0];
        Ok(match step {
            Step::Request => vec![limits::requests(connection, &self.echo, self.window).await?],
            Step::Write => {
                vec![limits::writes(connection, &self.limits, &mut self.keys, self.window).await?]
            }
            Step::Workload(workload) => {
                workload::run(workload, &self.clients, &self.prefix, self.window).await?
            }
        })
    }

    async fn counters(&self, step: Step) -> Result<Counters, CommandError> {
        let carried = self.connections.iter().map(Connection::carried);
        let client_messages = carried.map(|carried| carried.sent + carried.received).sum();
        let bucket = if step == Step::Write { &self.limits } else { &self.locks };
        let newest = self.control.newest_revision(bucket).await.map_err(|error| explain_store(&error))?;
        let mut counters =
            Counters::from([(Cost::ClientMessages, client_messages), (Cost::Writes, newest.get())]);
        if let Some((received, sent)) = messages(&self.site.monitors).await {
            counters.extend([(Cost::ServerReceived, received), (Cost::ServerSent, sent)]);
        }
        let servers: Vec<u64> =
            self.site.servers.iter().filter_map(|server| processor_time(server.pid)).collect();
        let coordinator = self.site.coordinator.as_ref().and_then(|daemon| processor_time(daemon.pid));
        let used = [
            (Cost::ClientCpu, processor_time(std::process::id())),
            (Cost::CoordinatorCpu, coordinator),
            (Cost::ServerCpu, (!servers.is_empty()).then(|| servers.iter().sum())),
        ];
        counters.extend(used.into_iter().filter_map(|(cost, used)| Some((cost, used?))));
        Ok(counters)
    }
}

/// One for each owner.
pub(super) async fn clients(
    namespace: &Namespace,
    connections: &[Connection],
    owners: usize,
) -> Result<Vec<Client>, CommandError> {
    let transports: Vec<_> = connections
        .iter()
        .map(|connection| SharedTransport::new(NatsTransport::new(connection.clone())))
        .collect();
    let clients = (0..owners).map(|number| {
        let transport = transports[number % transports.len()].clone();
        let namespace = namespace.clone();
        async move {
            let owner = OwnerName::encode(&format!("owner-{number}"));
            let owner = owner.map_err(|error| CommandError::internal("no owner", error))?;
            let options = ClientOptions::new(owner).namespace(namespace).patience(PATIENCE);
            Client::over(transport, options).await.map_err(explain_transport)
        }
    });
    try_join_all(clients).await
}

/// Answers the requests of the limits, until it is ended.
pub(in crate::cli) async fn echo(
    options: &crate::nats::ConnectOptions,
    subject: &str,
) -> Result<(), CommandError> {
    let connection = connect(options).await.map_err(explain_connect)?;
    connection.echo(subject).await.map_err(explain_transport)
}
