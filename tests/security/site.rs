//! A server with the configuration of `nats/`, and users that the command line has made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use natslock::client::{Client, ClientOptions};
use natslock::clock::{SystemClock, within};
use natslock::nats::{ConnectOptions, Credentials, Tls};
use natslock::service::{Config, Coordinator};
use natslock::types::OwnerName;

use crate::cli::program::Program;
use crate::support::{Folder, NatsServer, PATIENCE};

/// The users: a name, which is the owner too, and what `admin permissions` is told beside it.
const USERS: &[(&str, &[&str])] = &[
    ("alice", &["--role", "client", "--names", "orders", "--names", "orders.>"]),
    ("bob", &["--role", "client", "--names", "orders.>", "--names", "payroll.*", "--may-list"]),
    ("eve", &["--role", "client", "--names", "orders.>"]),
    ("dora", &["--role", "client", "--names", "theirs.>"]),
    ("emil", &["--role", "client", "--names", "theirs.>"]),
    ("finn", &["--role", "client", "--names", "theirs.>"]),
    ("observer", &["--role", "observer"]),
    ("operator", &["--role", "operator"]),
    ("mender", &["--role", "operator", "--may-recover"]),
    ("coordinator", &["--role", "coordinator"]),
    ("front", &["--role", "coordinator-front"]),
    ("store", &["--role", "coordinator-store"]),
];

/// Who may do everything, so that a test can see what arrives where.
const AUDITOR: &str = "{ user: auditor, password: x, permissions: { publish: \">\", subscribe: \">\" } }\n";

/// The server goes with its value, and so does the folder with the keys.
pub(super) struct Site {
    pub(super) server: NatsServer,
    folder: Folder,
    /// The blocks of the users.
    users: BTreeMap<String, String>,
}

impl Site {
    /// A server with this file of `nats/`.
    pub(super) async fn start(file: &str) -> Self {
        let folder = Folder::new();
        let certs = folder.0.join("certs");
        make_certs(&certs);
        for conf in ["single.conf", "secure.conf", "mutual-tls.conf"] {
            let text = std::fs::read_to_string(repository(&format!("nats/{conf}"))).unwrap();
            // The server is started elsewhere.
            let text = text.replace("\"certs/", &format!("\"{}/", certs.display()));
            // And the machine may be busy with other tests.
            let text = text.replace("timeout: 3", "timeout: 30");
            std::fs::write(folder.0.join(conf), text).unwrap();
        }
        let new = |name: &str| {
            ["--make-nkey".to_owned(), folder.0.join(format!("{name}.nk")).display().to_string()]
        };
        let block = |(name, words): &(&str, &[&str])| ((*name).to_owned(), user(name, words, &new(name)));
        let users = USERS.iter().map(block).collect();
        write_users(&folder.0, &users);
        // Ports and the store are this test's own; what stands later counts. A path to a file that is included is
        // taken from the folder of the file that includes it, which is beside this one.
        let beside = Path::new("..").join(folder.0.file_name().unwrap()).join(file);
        let store = folder.0.join("jetstream");
        let config = format!(
            "include {beside:?}\nlisten: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\n\
             jetstream {{ store_dir: {store:?} }}\n"
        );
        Self { server: NatsServer::start_bare(&config).await, folder, users }
    }

    /// Takes a user away, and tells the server.
    pub(super) fn revoke(&mut self, name: &str) {
        self.users.remove(name);
        self.reload();
    }

    /// Gives a user other rights, and tells the server.
    pub(super) fn regrant(&mut self, name: &str, words: &[&str]) {
        let seed = std::fs::read_to_string(self.seed(name)).unwrap();
        let public = nkeys::KeyPair::from_seed(seed.trim()).unwrap().public_key();
        self.users.insert(name.to_owned(), user(name, words, &["--public-nkey".to_owned(), public]));
        self.reload();
    }

    fn reload(&self) {
        write_users(&self.folder.0, &self.users);
        self.server.reload();
    }

    /// How this user connects: over TLS, with the key that was made for it.
    pub(super) fn options(&self, user: &str) -> ConnectOptions {
        let seed = std::fs::read_to_string(self.seed(user)).unwrap();
        let (certificate, key) = (self.certificate("client.pem"), self.certificate("client.key"));
        ConnectOptions {
            urls: vec![self.server.url().replace("nats://", "tls://")],
            credentials: Credentials::NkeySeed(seed.trim().into()),
            tls: Tls {
                authority: Some(self.certificate("ca.pem")),
                identity: Some((certificate, key)),
                required: true,
            },
            inbox_prefix: Some(format!("_INBOX.{user}")),
            keep_trying: true,
            ..ConnectOptions::default()
        }
    }

    /// How somebody connects who may hear everything.
    pub(super) fn auditor(&self) -> ConnectOptions {
        let credentials = Credentials::User { name: "auditor".into(), password: "x".into() };
        ConnectOptions { credentials, inbox_prefix: None, ..self.options("alice") }
    }

    /// How a coordinator connects: its inboxes are its own.
    pub(super) fn coordinator_options(&self, user: &str) -> ConnectOptions {
        ConnectOptions { inbox_prefix: None, ..self.options(user) }
    }

    /// A coordinator that leads, with one user for clients and one for the store.
    pub(super) async fn serve(&self, config: Config) -> Coordinator {
        let (front, store) = (self.coordinator_options("front"), self.coordinator_options("store"));
        leading(Coordinator::connect_apart(&front, Some(&store), config, 1).await.unwrap()).await
    }

    pub(super) async fn client(&self, user: &str) -> Client {
        let owner = OwnerName::encode(user).unwrap();
        let options = ClientOptions::new(owner).patience(PATIENCE);
        Client::connect_with(&self.options(user), options).await.unwrap()
    }

    /// The program in the name of this user.
    pub(super) fn program(&self, user: &str) -> Program {
        let options = self.options(user);
        let file = |path: PathBuf| path.display().to_string();
        Program::new(&options.urls[0])
            .with("NATSLOCK_OWNER", user)
            .with("NATSLOCK_NKEY", &file(self.seed(user)))
            .with("NATSLOCK_INBOX_PREFIX", &format!("_INBOX.{user}"))
            .with("NATSLOCK_TLS_CA", &file(self.certificate("ca.pem")))
            .with("NATSLOCK_TLS_CERT", &file(self.certificate("client.pem")))
            .with("NATSLOCK_TLS_KEY", &file(self.certificate("client.key")))
    }

    pub(super) fn seed(&self, user: &str) -> PathBuf {
        self.folder.0.join(format!("{user}.nk"))
    }

    pub(super) fn certificate(&self, file: &str) -> PathBuf {
        self.folder.0.join("certs").join(file)
    }
}

/// Waits until it leads.
pub(super) async fn leading(mut coordinator: Coordinator) -> Coordinator {
    let ready = within(&SystemClock, PATIENCE, coordinator.ready()).await;
    assert_eq!(ready, Some(true), "the coordinator leads");
    coordinator
}

/// Certificates of an authority of their own.
pub(super) fn make_certs(folder: &Path) {
    let made = Command::new(repository("nats/make-certs")).arg(folder).output().expect("the script starts");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "certificates need openssl (on Debian: apt install openssl): {said}");
}

/// The block of one user with this key.
fn user(name: &str, words: &[&str], key: &[String; 2]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_natslock"));
    command.env_clear().args(["admin", "permissions", "--owner", name]).args(words);
    let printed = command.args(key).output().unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    String::from_utf8(printed.stdout).unwrap()
}

fn write_users(folder: &Path, users: &BTreeMap<String, String>) {
    let users: String = users.values().map(String::as_str).collect();
    std::fs::write(folder.join("users.conf"), format!("users: [\n{users}{AUDITOR}]\n")).unwrap();
}

fn repository(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}
