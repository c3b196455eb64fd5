//! All processes of a run: servers, coordinators and workers, and the ways between them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::event::{Event, now};
use super::history::{History, WorkerId};
use super::nodes::{NODES, Nodes, node_name};
use super::process::{Process, myself, words};
use super::proxy::{Direction, Proxy, Way};
use super::register::Register;
use super::worker::Role;
use crate::cli::error::{CommandError, Kind};
use crate::cli::session::explain_connect;
use crate::client::{Client, ClientOptions};
use crate::clock::{Clock as _, SystemClock, within};
use crate::connect::ClientError;
use crate::nats::{ConnectOptions, Connection, connect};
use crate::types::{Namespace, OwnerName, ShardId};
use crate::wire::subject::SubjectSpace;

/// Locks that all contenders want.
pub(super) const HOT: usize = 3;
const COORDINATORS: usize = 3;
const CONTENDERS: usize = 3;
const KEEPERS: usize = 2;
const KEPT: usize = 150;
const PROBERS: usize = 4;
/// How long anything may take that must happen in the end: an overlap, a lease, an election, and then some.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);
/// What `natslock serve` tells when it has found the bucket.
const STARTED: &str = "started: it leads";
const ASK_FOR: Duration = Duration::from_secs(3);

/// What a run is made with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) leader_lease: Duration,
    /// The lease time of contended locks.
    pub(super) ttl: Duration,
    /// That of kept locks and of probes.
    pub(super) long_ttl: Duration,
}

/// A process's own ways to the servers.
#[derive(Debug)]
pub(super) struct Links(Vec<Proxy>);

impl Links {
    async fn start(nodes: &Nodes) -> Result<Self, CommandError> {
        let mut proxies = Vec::new();
        for port in nodes.ports() {
            let proxy = Proxy::start(port).await;
            proxies.push(proxy.map_err(|error| CommandError::internal("cannot start a proxy", error))?);
        }
        Ok(Self(proxies))
    }

    fn urls(&self) -> String {
        self.0.iter().map(Proxy::url).collect::<Vec<_>>().join(",")
    }

    pub(super) fn cut(&self) {
        self.0.iter().for_each(Proxy::cut);
    }

    pub(super) fn set(&self, direction: Direction, way: Way) {
        self.0.iter().for_each(|proxy| proxy.set(direction, way));
    }
}

#[derive(Debug)]
pub(super) struct Coordinator {
    pub(super) links: Links,
    pub(super) process: Option<Process>,
    starts: usize,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) role: Role,
    pub(super) links: Links,
    process: Process,
    reader: JoinHandle<()>,
}

#[derive(Debug)]
pub(super) struct Site {
    pub(super) times: Times,
    pub(super) folder: PathBuf,
    pub(super) nodes: Nodes,
    pub(super) register: Register,
    pub(super) coordinators: Vec<Coordinator>,
    pub(super) workers: Vec<Worker>,
    history: Arc<Mutex<History>>,
    pub(super) connection: Connection,
    client: Client,
    started: u64,
    /// What a fault found itself.
    pub(super) violations: Vec<String>,
}

impl Site {
    /// Starts everything in this folder, and returns when the load is on.
    pub(super) async fn start(folder: &Path, times: Times) -> Result<Self, CommandError> {
        let nodes = Nodes::start(folder).await?;
        let register = Register::start().await;
        let register = register.map_err(|error| CommandError::internal("cannot serve registers", error))?;
        let options = ConnectOptions { urls: nodes.urls(), keep_trying: true, ..ConnectOptions::default() };
        let connection = connect(&options).await.map_err(explain_connect)?;
        let client = client(&options).await?;
        let mut site = Self {
            times,
            folder: folder.to_owned(),
            nodes,
            register,
            coordinators: Vec::new(),
            workers: Vec::new(),
            history: Arc::default(),
            connection,
            client,
            started: 0,
            violations: Vec::new(),
        };
        for index in 0..COORDINATORS {
            let links = Links::start(&site.nodes).await?;
            site.coordinators.push(Coordinator { links, process: None, starts: 0 });
            site.start_coordinator(index).await?;
        }
        site.must("a coordinator leads, and the others stand by", async |site: &Self| {
            site.all_have_started() && site.leader().await.is_some()
        })
        .await?;
        for (role, count) in [(Role::Keep, KEEPERS), (Role::Contend, CONTENDERS), (Role::Probe, 1)] {
            for _ in 0..count {
                let links = Links::start(&site.nodes).await?;
                let worker = site.start_worker(role, links).await?;
                site.workers.push(worker);
            }
        }
        let begun = now();
        site.must("every lock is granted", async |site: &Self| {
            site.history().held("calm.") == KEEPERS * KEPT && site.all_go_on(begun)
        })
        .await?;
        Ok(site)
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every contended lock, and a probe, was granted to one who asked after `at`.
    pub(super) fn all_go_on(&self, at: u64) -> bool {
        let history = self.history();
        let hot = (0..HOT).all(|lock| history.granted(&format!("hot.{lock}"), at).is_some());
        hot && history.granted("probe.", at).is_some()
    }

    /// Waits for something, again and again.
    pub(super) async fn eventually(&self, mut holds: impl AsyncFnMut(&Self) -> bool) -> bool {
        within(&SystemClock, PATIENCE, async {
            while !holds(self).await {
                pause(Duration::from_millis(20)).await;
            }
        })
        .await
        .is_some()
    }

    async fn must(&self, what: &str, holds: impl AsyncFnMut(&Self) -> bool) -> Result<(), CommandError> {
        if self.eventually(holds).await {
            return Ok(());
        }
        let message = format!("waited {PATIENCE:?} in vain until {what}");
        Err(CommandError::new(Kind::Internal, message)
            .hint(format!("the logs are in {}", self.folder.display())))
    }

    pub(super) async fn start_coordinator(&mut self, index: usize) -> Result<(), CommandError> {
        let coordinator = &mut self.coordinators[index];
        let lease = format!("{}ms", self.times.leader_lease.as_millis());
        let urls = coordinator.links.urls();
        let arguments =
            words([&"serve", &"--nats", &urls, &"--replicas", &NODES.to_string(), &"--leader-lease", &lease]);
        let recipe = myself(&self.folder, &coordinator_log(index), arguments)?;
        coordinator.starts += 1;
        coordinator.process = Some(Process::start(&recipe).await?);
        Ok(())
    }

    /// Every coordinator has found the bucket, as often as it was started.
    fn all_have_started(&self) -> bool {
        self.coordinators.iter().enumerate().all(|(index, coordinator)| {
            let log = std::fs::read_to_string(self.folder.join(coordinator_log(index))).unwrap_or_default();
            log.matches(STARTED).count() >= coordinator.starts
        })
    }

    pub(super) async fn end_coordinator(&mut self, index: usize, signal: Signal) {
        if let Some(process) = self.coordinators[index].process.take() {
            process.end(signal).await;
        }
    }

    async fn start_worker(&mut self, role: Role, links: Links) -> Result<Worker, CommandError> {
        self.started += 1;
        let (id, owner) = (WorkerId(self.started), format!("{}-{}", role.word(), self.started));
        let (number, ttl) = match role {
            Role::Contend => (HOT, self.times.ttl),
            Role::Keep => (KEPT, self.times.long_ttl),
            Role::Probe => (PROBERS, self.times.long_ttl),
        };
        let arguments = words([
            &"torture-worker",
            &role.word(),
            &"--nats",
            &links.urls(),
            &"--owner",
            &owner,
            &"--number",
            &number.to_string(),
            &"--locks",
            &HOT.to_string(),
            &"--ttl",
            &format!("{}ms", ttl.as_millis()),
            &"--register",
            &self.register.address.to_string(),
        ]);
        let mut process = Process::start(&myself(&self.folder, &format!("{owner}.log"), arguments)?).await?;
        let (lines, history) = (process.output(), Arc::clone(&self.history));
        let reader = tokio::spawn(async move {
            let Some(mut lines) = lines else { return };
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(event) = Event::decode(&line) {
                    history.lock().unwrap_or_else(PoisonError::into_inner).tell(id, event);
                }
            }
        });
        Ok(Worker { id, role, links, process, reader })
    }

    /// Kills a worker, and returns when all it has told is known.
    pub(super) async fn kill_worker(&mut self, index: usize) -> (Role, Links) {
        let Worker { id, role, links, process, reader } = self.workers.remove(index);
        let at = now();
        process.kill().await;
        // It ends with the process's output.
        let _ = reader.await;
        self.history().died(id, at);
        (role, links)
    }

    /// Kills a worker, and starts another in its place after `pause`.
    pub(super) async fn replace_worker(&mut self, index: usize, span: Duration) -> Result<(), CommandError> {
        let (role, links) = self.kill_worker(index).await;
        pause(span).await;
        let worker = self.start_worker(role, links).await?;
        self.workers.push(worker);
        Ok(())
    }

    /// Stops a worker for so long. What it loses by that is its own loss.
    pub(super) async fn stop_worker(&self, index: usize, span: Duration) {
        let worker = &self.workers[index];
        let from = now();
        worker.process.stop().await;
        pause(span).await;
        worker.process.signal(Signal::CONT);
        self.history().disturbed(worker.id, from, now());
    }

    /// The contender that holds this lock, and one that does not.
    pub(super) async fn contenders(&self, lock: &str) -> Option<(usize, usize)> {
        let mut found = None;
        self.eventually(async |site: &Self| {
            let holder = site.history().holder(lock);
            let contends = |(_, worker): &(usize, &Worker)| worker.role == Role::Contend;
            let mut contenders = site.workers.iter().enumerate().filter(contends);
            let holds = contenders.clone().find(|(_, worker)| Some(worker.id) == holder);
            let waits = contenders.find(|(_, worker)| Some(worker.id) != holder);
            found = holds.zip(waits).map(|((holds, _), (waits, _))| (holds, waits));
            found.is_some()
        })
        .await;
        found
    }

    /// Which coordinator leads, if one says so.
    pub(super) async fn leader(&self) -> Option<usize> {
        let info = within(&SystemClock, ASK_FOR, self.client.caller().leaders()).await?.ok()?;
        let pid = info.leaders.first()?.pid;
        let leads = |coordinator: &Coordinator| {
            coordinator.process.as_ref().is_some_and(|process| process.id() == pid)
        };
        self.coordinators.iter().position(leads)
    }

    /// Asks JetStream about the stream of the locks.
    pub(super) async fn ask_stream(&self, call: &str) -> Option<Value> {
        let subject = format!("$JS.API.STREAM.{call}.{}", stream());
        let answer = self.connection.client().request(subject, "".into());
        let answer = within(&SystemClock, ASK_FOR, answer).await?.ok()?;
        serde_json::from_slice(&answer.payload).ok()
    }

    /// Which server leads the stream.
    pub(super) async fn stream_leader(&self) -> Option<usize> {
        let info = self.ask_stream("INFO").await?;
        let leader = info["cluster"]["leader"].as_str()?;
        (0..NODES).find(|index| node_name(*index) == leader)
    }

    /// The stream has a leader, and every replica has all of it.
    async fn is_replicated(&self) -> bool {
        let Some(info) = self.ask_stream("INFO").await else { return false };
        let cluster = &info["cluster"];
        let current = |replica: &Value| replica["current"] == true && replica["offline"] != true;
        let replicas = cluster["replicas"].as_array();
        cluster["leader"].is_string()
            && replicas.is_some_and(|all| all.len() == NODES - 1 && all.iter().all(current))
    }

    /// Waits until all is as it was at the beginning.
    pub(super) async fn is_whole(&self) -> bool {
        self.eventually(async |site: &Self| {
            site.all_have_started() && site.is_replicated().await && site.leader().await.is_some()
        })
        .await
    }

    /// Kills everything, and returns what was told.
    pub(super) async fn end(mut self) -> History {
        while !self.workers.is_empty() {
            self.kill_worker(0).await;
        }
        let mut history = self.history();
        std::mem::take(&mut *history)
    }
}

fn coordinator_log(index: usize) -> String {
    format!("coordinator-{index}.log")
}

async fn client(options: &ConnectOptions) -> Result<Client, CommandError> {
    let owner = OwnerName::encode("torture");
    let owner = owner.map_err(|error| CommandError::internal("a plain word is an owner", error))?;
    Client::connect_with(options, ClientOptions::new(owner)).await.map_err(|error| match error {
        ClientError::Connect(error) => explain_connect(error),
        ClientError::Transport(error) => CommandError::internal("cannot subscribe", error),
    })
}

/// The stream behind the bucket of the locks.
pub(super) fn stream() -> String {
    SubjectSpace::new(Namespace::default()).bucket(ShardId(0)).stream()
}

pub(super) async fn pause(span: Duration) {
    SystemClock.sleep_until(SystemClock::boot() + span).await;
}
