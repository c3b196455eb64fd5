//! Where it is measured: private servers with a coordinator, or what runs already.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::Context;
use crate::cli::error::{CommandError, Kind};
use crate::cli::keeper::{Daemon, Keeper, install, temporary_folder};
use crate::clock::{Clock as _, SystemClock, within};
use crate::nats::ConnectOptions;
use crate::types::Namespace;

const READY: &str = "Server is ready";
const LISTENS: &str = "Listening for client connections on ";
const MONITORS: &str = "Starting http monitor on ";
const START_FOR: Duration = Duration::from_secs(20);
/// Between two looks whether something is ready.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const NAMESPACE: &str = "bench";

/// What is to be measured.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Demand {
    /// JetStream writes to the disk before it acknowledges.
    pub(in crate::cli) sync: bool,
    pub(in crate::cli) replicas: usize,
}

/// The servers and the coordinator that are measured.
pub(in crate::cli) struct Site {
    pub(super) options: ConnectOptions,
    pub(super) namespace: Namespace,
    /// Where the servers' counters are; nothing where they are not ours.
    pub(super) monitors: Vec<SocketAddr>,
    pub(super) servers: Vec<Daemon>,
    pub(super) coordinator: Option<Daemon>,
    echo: Option<Daemon>,
}

/// A server that listens.
struct Server {
    url: String,
    monitor: SocketAddr,
    daemon: Daemon,
}

impl Site {
    /// Private servers and a coordinator of their own, all on 127.0.0.1. They end with this value.
    pub(in crate::cli) async fn private(demand: Demand) -> Result<Self, CommandError> {
        let mut site = Self::servers(demand).await?;
        site.start_coordinator(demand.replicas).await?;
        Ok(site)
    }

    /// The same without a coordinator.
    pub(super) async fn servers(demand: Demand) -> Result<Self, CommandError> {
        let namespace = NAMESPACE.parse().map_err(|error| CommandError::internal("no namespace", error))?;
        let servers = start_servers(demand).await?;
        // All on one server: how many hops a message takes must not be left to chance.
        let first = servers.first().map(|server| server.url.clone());
        let options = ConnectOptions { urls: first.into_iter().collect(), ..ConnectOptions::default() };
        Ok(Self {
            options,
            namespace,
            monitors: servers.iter().map(|server| server.monitor).collect(),
            servers: servers.into_iter().map(|server| server.daemon).collect(),
            coordinator: None,
            echo: None,
        })
    }

    /// Starts a coordinator in a process of its own.
    pub(super) async fn start_coordinator(&mut self, replicas: usize) -> Result<(), CommandError> {
        let (urls, replicas) = (self.options.urls.join(","), replicas.to_string());
        let words = ["serve", "--nats", &urls, "--namespace", NAMESPACE, "--replicas", &replicas];
        self.coordinator = Some(ourselves(words).await?.daemon());
        Ok(())
    }

    /// Kills the coordinator, as a crash would.
    pub(super) async fn stop_coordinator(&mut self) {
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.stop().await;
        }
    }

    /// Whose memory and processor time count; zero where there is none of ours.
    pub(super) fn coordinator_pid(&self) -> u32 {
        self.coordinator.as_ref().map_or(0, |coordinator| coordinator.pid)
    }

    /// What serves the namespace of the command line.
    pub(in crate::cli) fn given(context: &Context) -> Result<Self, CommandError> {
        Ok(Self {
            options: context.connect_options("bench")?,
            namespace: context.global.namespace.clone(),
            monitors: Vec::new(),
            servers: Vec::new(),
            coordinator: None,
            echo: None,
        })
    }

    /// Starts what answers to the requests of the limits, in a process of its own as the coordinator is.
    pub(super) async fn start_echo(&mut self, subject: &str) -> Result<(), CommandError> {
        let urls = self.options.urls.join(",");
        self.echo = Some(ourselves(["bench", "echo", subject, "--nats", &urls]).await?.daemon());
        Ok(())
    }

    /// Says so where something has ended that should not have.
    pub(in crate::cli) async fn explain(self, error: CommandError) -> CommandError {
        let (servers, others) = (self.servers, [self.coordinator, self.echo]);
        let servers = servers.into_iter().map(|server| ("the NATS server", server));
        let others = ["the coordinator", "the echo"].into_iter().zip(others);
        let others = others.filter_map(|(name, daemon)| Some((name, daemon?)));
        let mut error = error;
        for (name, daemon) in others.chain(servers) {
            let ended = daemon.has_ended();
            let said = daemon.stop().await;
            if ended {
                error = CommandError::new(Kind::Internal, format!("{name} has ended by itself")).hint(said);
            }
        }
        error
    }

    /// Ends what was started.
    pub(in crate::cli) async fn stop(self) {
        for daemon in [self.echo, self.coordinator].into_iter().flatten().chain(self.servers) {
            daemon.stop().await;
        }
    }
}

/// This program again, with another command.
pub(super) async fn ourselves<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Keeper, CommandError> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| CommandError::internal("cannot find this program", error))?;
    let words = words.into_iter().map(OsString::from);
    Keeper::start(&temporary_folder()?, &program, words).await
}

async fn start_servers(demand: Demand) -> Result<Vec<Server>, CommandError> {
    let program = install().await?;
    let routes = if demand.replicas > 1 { free_ports(demand.replicas)? } else { Vec::new() };
    let mut starting = Vec::new();
    for number in 0..demand.replicas {
        starting.push(start_server(&program, number, &routes, demand.sync).await?);
    }
    let mut servers = Vec::new();
    for keeper in starting {
        servers.push(listening(keeper).await?);
    }
    Ok(servers)
}

async fn start_server(
    program: &Path,
    number: usize,
    routes: &[u16],
    sync: bool,
) -> Result<Keeper, CommandError> {
    let folder = temporary_folder()?;
    let path = folder.join("server.conf");
    let written = std::fs::write(&path, configuration(&folder, number, routes, sync));
    written.map_err(|error| CommandError::internal(format!("cannot write {}", path.display()), error))?;
    Keeper::start(&folder, program, [OsString::from("-c"), path.into()]).await
}

fn configuration(folder: &Path, number: usize, routes: &[u16], sync: bool) -> String {
    let store: PathBuf = folder.join("store");
    let mut text = format!("server_name: n{number}\nlisten: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\n");
    let always = if sync { ", sync_interval: always" } else { "" };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "jetstream {{ store_dir: {store:?}{always} }}");
    if let Some(own) = routes.get(number) {
        let all: Vec<_> = routes.iter().map(|port| format!("\"nats-route://127.0.0.1:{port}\"")).collect();
        let all = all.join(", ");
        // No other cluster of this machine has a route of this number.
        let name = format!("bench-{}", routes[0]);
        let _ = writeln!(text, "cluster {{ name: {name}, listen: \"127.0.0.1:{own}\", routes: [{all}] }}");
    }
    text
}

/// An address that is free now.
pub(super) fn free_address() -> Result<SocketAddr, CommandError> {
    Ok(SocketAddr::from(([127, 0, 0, 1], free_ports(1)?[0])))
}

/// Ports that are free now. A cluster has to know them before it starts.
fn free_ports(count: usize) -> Result<Vec<u16>, CommandError> {
    let failed = |error| CommandError::internal("no port is free", error);
    let listeners: Result<Vec<_>, _> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    let addresses = listeners.map_err(failed)?;
    addresses.iter().map(|listener| Ok(listener.local_addr().map_err(failed)?.port())).collect()
}

async fn listening(mut keeper: Keeper) -> Result<Server, CommandError> {
    let ready = within(&SystemClock, START_FOR, ready(&mut keeper)).await.flatten();
    let Some((url, monitor)) = ready else {
        let said = keeper.said();
        keeper.stop().await;
        return Err(CommandError::new(Kind::Internal, "the NATS server does not start").hint(said));
    };
    Ok(Server { url, monitor, daemon: keeper.daemon() })
}

/// Where it listens and where its counters are; `None` where it ends before.
async fn ready(keeper: &mut Keeper) -> Option<(String, SocketAddr)> {
    let (mut url, mut monitor) = (None, None);
    loop {
        let line = keeper.line().await?;
        if let Some((_, address)) = line.split_once(LISTENS) {
            url = Some(format!("nats://{}", address.trim()));
        }
        if let Some((_, address)) = line.split_once(MONITORS) {
            monitor = address.trim().parse().ok();
        }
        if line.contains(READY) {
            return url.zip(monitor);
        }
    }
}

/// Tries something until it succeeds, or for too long.
pub(super) async fn eventually<V>(
    attempt: impl AsyncFn() -> Result<V, CommandError>,
) -> Result<V, CommandError> {
    let until = SystemClock::boot() + START_FOR;
    loop {
        match attempt().await {
            Err(error) if SystemClock::boot() > until => return Err(error),
            Err(_) => SystemClock.sleep_until(SystemClock::boot() + LOOK_EVERY).await,
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_alone_has_no_routes() {
        let alone = configuration(Path::new("/tmp/x"), 0, &[], false);
        assert!(!alone.contains("cluster") && !alone.contains("sync_interval"), "{alone}");
        let third = configuration(Path::new("/tmp/x"), 2, &[7, 8, 9], true);
        assert!(
            third.contains("listen: \"127.0.0.1:9\"") && third.contains("sync_interval: always"),
            "{third}"
        );
    }
}
