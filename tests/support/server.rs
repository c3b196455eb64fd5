//! A private NATS server.

use std::ffi::OsStr;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use natslock::nats::{ConnectOptions, Connection, connect};
use rustix::process::Signal;

use super::eventually;
use super::process::Guarded;

/// A server of one test's own: on a free port of 127.0.0.1, with a store of its own. It goes with its value,
/// and with the test process.
#[derive(Debug)]
pub(crate) struct NatsServer {
    folder: Folder,
    config: String,
    port: Option<u16>,
    starts: u32,
    process: Option<Guarded>,
}

impl NatsServer {
    /// A server with JetStream.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same with more lines of configuration.
    pub(crate) async fn start_with(config: &str) -> Self {
        let folder = Folder::new();
        let jetstream = format!("jetstream {{ store_dir: {:?} }}\n", folder.0.join("store"));
        Self::launch(folder, jetstream + config, None).await
    }

    /// A server with just these lines of configuration, and no JetStream by itself.
    pub(crate) async fn start_bare(config: &str) -> Self {
        Self::launch(Folder::new(), config.into(), None).await
    }

    async fn launch(folder: Folder, config: String, port: Option<u16>) -> Self {
        let mut server = Self::prepare(folder, config, port);
        server.resume().await;
        server
    }

    /// A server that is not running yet.
    pub(super) const fn prepare(folder: Folder, config: String, port: Option<u16>) -> Self {
        Self { folder, config, port, starts: 0, process: None }
    }

    /// Starts the process, on the store and the port of the one before, without waiting for it.
    pub(super) fn spawn(&mut self) {
        assert!(self.process.is_none(), "the server runs already");
        self.starts += 1;
        let ports = self.ports();
        std::fs::create_dir_all(&ports).expect("a folder for the ports");
        let port = self.port.map_or(-1, i32::from);
        let config = format!("listen: \"127.0.0.1:{port}\"\nports_file_dir: {ports:?}\n{}", self.config);
        let path = self.folder.0.join("server.conf");
        std::fs::write(&path, config).expect("a configuration");
        let log = self.folder.0.join("log");
        let arguments = [OsStr::new("-c"), path.as_os_str(), OsStr::new("-l"), log.as_os_str()];
        self.process = Some(Guarded::start(binary().as_os_str(), &arguments));
    }

    /// Starts it again on the store and the port it had, and waits until it answers.
    pub(crate) async fn resume(&mut self) {
        self.spawn();
        let mut port = None;
        let ports = self.ports();
        let log = self.folder.0.join("log");
        eventually(&format!("the server starts; its log is {}", log.display()), async || {
            port = read_ports(&ports).filter(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok());
            port.is_some()
        })
        .await;
        self.port = port;
    }

    /// Kills it with signal 9.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Kills it and starts it again.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.resume().await;
    }

    /// What is stored, as a backup would have it. The server must not run.
    pub(crate) fn backup(&self) -> Folder {
        assert!(self.process.is_none(), "a server that runs is still writing");
        let folder = Folder::new();
        copy_all(&self.folder.0.join("store"), &folder.0);
        folder
    }

    /// Puts the backup in the place of what is stored. The server must not run.
    pub(crate) fn restore(&self, backup: &Folder) {
        assert!(self.process.is_none(), "a server that runs is still writing");
        let store = self.folder.0.join("store");
        std::fs::remove_dir_all(&store).expect("the store is removed");
        copy_all(&backup.0, &store);
    }

    /// Stops the process as a debugger would, and returns when it stands still.
    pub(crate) async fn pause(&self) {
        self.signal(Signal::STOP);
        eventually("the server stands still", async || self.running().is_stopped()).await;
    }

    /// Lets it read its configuration again.
    pub(crate) fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Lets a paused process go on.
    pub(crate) fn unpause(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        self.running().signal(signal);
    }

    fn running(&self) -> &Guarded {
        self.process.as_ref().expect("the server runs")
    }

    /// What it has written into its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.0.join("log")).unwrap()
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port.expect("the server has run"))
    }

    /// Options to connect to it.
    pub(crate) fn options(&self) -> ConnectOptions {
        ConnectOptions { urls: vec![self.url()], ..ConnectOptions::default() }
    }

    /// A connection to it.
    pub(crate) async fn connect(&self) -> Connection {
        connect(&self.options()).await.unwrap()
    }

    fn ports(&self) -> PathBuf {
        self.folder.0.join(format!("ports.{}", self.starts))
    }
}

/// The server's program: what `NATS_SERVER_BIN` names, or what `nats/install` finds or gets.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("NATS_SERVER_BIN") {
            return path.into();
        }
        let install = Path::new(env!("CARGO_MANIFEST_DIR")).join("nats/install");
        let hint = "the tests need a nats-server: run nats/install, or name one in NATS_SERVER_BIN";
        let output = Command::new(&install).output().unwrap_or_else(|error| panic!("{hint} ({error})"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{hint}; nats/install said:\n{said}");
        String::from_utf8_lossy(&output.stdout).trim().into()
    })
}

/// The port for clients in the file that the server writes when it listens.
fn read_ports(folder: &Path) -> Option<u16> {
    let file = std::fs::read_dir(folder).ok()?.next()?.ok()?.path();
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let target = to.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// A temporary folder that goes with its value.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("natslock-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A test that failed keeps its server's log.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
