//! A server and a coordinator that the tests share, so that each has locks of its own only.

use std::sync::{Arc, Weak};

use tokio::sync::Mutex;

use super::{Program, Ran, Running};
use crate::support::NatsServer;

/// Both go with the last test that uses them.
pub(super) struct Site {
    /// The coordinator's process id.
    pub(super) pid: u32,
    /// What it tells is not read, and only one test at a time could.
    _coordinator: std::sync::Mutex<Running>,
    pub(super) server: NatsServer,
}

impl Site {
    /// The one there is, or a new one.
    pub(super) async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Site>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(site) = shared.upgrade() {
            return site;
        }
        let server = NatsServer::start().await;
        let coordinator = Program::new(&server.url()).start(&["serve"]);
        let pid = coordinator.id();
        let site = Arc::new(Self { pid, _coordinator: coordinator.into(), server });
        site.run(&["info"]).done();
        *shared = Arc::downgrade(&site);
        site
    }

    pub(super) fn program(&self) -> Program {
        Program::new(&self.server.url())
    }

    /// Runs a command as `ada@host`.
    pub(super) fn run(&self, arguments: &[&str]) -> Ran {
        self.program().run(arguments)
    }

    /// Acquires a lock for hours, and returns the id.
    pub(super) fn hold(&self, name: &str, owner: &str) -> String {
        let words = ["acquire", name, "--ttl", "2h", "--wait", "0", "--owner", owner];
        self.run(&words).done().field("id").to_owned()
    }
}
