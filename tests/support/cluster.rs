//! A private cluster of three NATS servers.

use std::net::TcpListener;

use natslock::nats::ConnectOptions;

use super::server::{Folder, NatsServer};

/// Three servers with JetStream between them, all on 127.0.0.1.
#[derive(Debug)]
pub(crate) struct NatsCluster {
    pub(crate) nodes: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts it. JetStream may need a few more seconds to elect its leader.
    pub(crate) async fn start() -> Self {
        let routes = free_ports(3);
        let clients = free_ports(3);
        let urls: Vec<String> = routes.iter().map(|port| format!("nats-route://127.0.0.1:{port}")).collect();
        let urls = urls.join(", ");
        let mut nodes: Vec<NatsServer> = (0..3)
            .map(|node| {
                let folder = Folder::new();
                let store = folder.0.join("store");
                let (route, client) = (routes[node], clients[node]);
                let config = format!(
                    "server_name: n{node}\njetstream {{ store_dir: {store:?} }}\n\
                     cluster {{ name: natslock, listen: \"127.0.0.1:{route}\", routes: [{urls}] }}\n"
                );
                NatsServer::prepare(folder, config, Some(client))
            })
            .collect();
        for node in &mut nodes {
            node.resume().await;
        }
        Self { nodes }
    }

    /// Options to connect to any of them.
    pub(crate) fn options(&self) -> ConnectOptions {
        let urls = self.nodes.iter().map(NatsServer::url).collect();
        ConnectOptions { urls, ..ConnectOptions::default() }
    }
}

/// Ports that are free now, and all different. A cluster has to know them before it starts.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("its port").port()).collect()
}
