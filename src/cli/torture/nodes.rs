//! A cluster of three nats-servers, each a process of its own with a store of its own.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::process::{Process, Recipe};
use crate::cli::error::{CommandError, Kind};
use crate::cli::keeper;
use crate::clock::{Clock as _, SystemClock, within};

/// What is advised for a cluster, but for ports and places.
const CONFIG: &str = include_str!("../../../nats/cluster-node.conf");
const START_FOR: Duration = Duration::from_secs(20);

pub(super) const NODES: usize = 3;

#[derive(Debug)]
pub(super) struct Node {
    recipe: Recipe,
    pub(super) port: u16,
    process: Option<Process>,
}

#[derive(Debug)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
}

impl Nodes {
    /// Starts them. JetStream may need some seconds more.
    pub(super) async fn start(folder: &Path) -> Result<Self, CommandError> {
        let program = keeper::install().await?;
        let failed = |error| CommandError::internal("cannot lay out a cluster", error);
        let config = folder.join("node.conf");
        std::fs::write(&config, CONFIG).map_err(failed)?;
        let ports = free_ports(2 * NODES).map_err(failed)?;
        let (routes, ports) = ports.split_at(NODES);
        let all: Vec<String> = routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut nodes = Vec::new();
        for (index, (route, port)) in routes.iter().zip(ports).enumerate() {
            let home = folder.join(node_name(index));
            std::fs::create_dir_all(&home).map_err(failed)?;
            let words = [
                ["--config", &config.to_string_lossy()],
                ["--name", &node_name(index)],
                ["--addr", "127.0.0.1"],
                ["--port", &port.to_string()],
                ["--http_port", "-1"],
                ["--cluster_name", &name],
                ["--cluster", &format!("nats://127.0.0.1:{route}")],
                ["--routes", &all.join(",")],
            ];
            let mut arguments: Vec<String> =
                words.as_flattened().iter().map(|word| (*word).to_owned()).collect();
            // Whoever knows only the ways that it was given can be cut off.
            arguments.push("--no_advertise".into());
            let recipe = Recipe { program: program.clone(), arguments, folder: home, log: "log".into() };
            nodes.push(Node { recipe, port: *port, process: None });
        }
        let mut nodes = Self { nodes };
        for index in 0..NODES {
            nodes.launch(index).await?;
        }
        for index in 0..NODES {
            nodes.listens(index).await?;
        }
        Ok(nodes)
    }

    pub(super) fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.port).collect()
    }

    /// The ways that nothing can cut.
    pub(super) fn urls(&self) -> Vec<String> {
        self.ports().iter().map(|port| format!("nats://127.0.0.1:{port}")).collect()
    }

    /// The folder of a node, with its store and its log.
    pub(super) fn folder(&self, index: usize) -> PathBuf {
        self.nodes[index].recipe.folder.clone()
    }

    async fn launch(&mut self, index: usize) -> Result<(), CommandError> {
        let node = &mut self.nodes[index];
        node.process = Some(Process::start(&node.recipe).await?);
        Ok(())
    }

    async fn listens(&self, index: usize) -> Result<(), CommandError> {
        let node = &self.nodes[index];
        let listens = within(&SystemClock, START_FOR, async {
            while TcpStream::connect(("127.0.0.1", node.port)).is_err() {
                SystemClock.sleep_until(SystemClock::boot() + Duration::from_millis(20)).await;
            }
        });
        listens.await.ok_or_else(|| {
            let log = node.recipe.folder.join("log");
            CommandError::new(Kind::Internal, "a nats-server does not start")
                .hint(format!("see {}", log.display()))
        })
    }

    /// Starts one again on the store that it had.
    pub(super) async fn resume(&mut self, index: usize) -> Result<(), CommandError> {
        self.launch(index).await?;
        self.listens(index).await
    }

    /// Ends it by this signal, and returns when it has ended.
    pub(super) async fn end(&mut self, index: usize, signal: Signal) {
        if let Some(process) = self.nodes[index].process.take() {
            process.end(signal).await;
        }
    }

    /// Kills all of them, the first as nearly at the same time as the last as can be.
    pub(super) async fn kill_all(&mut self) {
        for process in self.nodes.iter().filter_map(|node| node.process.as_ref()) {
            process.signal(Signal::KILL);
        }
        for index in 0..NODES {
            self.end(index, Signal::KILL).await;
        }
    }

    pub(super) async fn stop(&self, index: usize) {
        if let Some(process) = &self.nodes[index].process {
            process.stop().await;
        }
    }

    pub(super) fn cont(&self, index: usize) {
        if let Some(process) = &self.nodes[index].process {
            process.signal(Signal::CONT);
        }
    }
}

pub(super) fn node_name(index: usize) -> String {
    format!("n{}", index + 1)
}

/// Ports that are free now, and all different. A cluster has to know them before it starts.
fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    let listeners: Vec<_> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<_>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
