//! `natslock dev`

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use natslock::clock::SystemClock;
use rustix::process::Signal;

use super::program::elapsed_since;
use super::redact::redact;
use super::{Program, Running};
use crate::support::eventually;

/// A folder for temporary files that shows what is left in it.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("natslock-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn program(&self) -> Program {
        Program::new("").with("TMPDIR", self.0.to_str().unwrap())
    }

    fn is_empty(&self) -> bool {
        std::fs::read_dir(&self.0).unwrap().next().is_none()
    }

    /// Whether a process has this folder in its command line.
    fn is_used(&self) -> bool {
        let folder = self.0.to_str().unwrap().as_bytes().to_vec();
        std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            line.windows(folder.len()).any(|part| part == folder)
        })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What it prints until it is ready.
fn ready(dev: &mut Running) -> String {
    let mut text = String::new();
    loop {
        let line = dev.line();
        text += &format!("{line}\n");
        if line.starts_with("Ctrl-C") {
            return text;
        }
        assert!(text.lines().count() < 30, "{text}");
    }
}

fn url_of(text: &str) -> String {
    text.split_whitespace().find(|word| word.starts_with("nats://")).unwrap().to_owned()
}

#[tokio::test]
async fn it_is_ready_soon_and_leaves_nothing_behind() {
    // The first run may have to get the server.
    let temporary = Temporary::new("ready");
    drop(Program::new("").shell(&format!("sh '{}/nats/install'", env!("CARGO_MANIFEST_DIR"))).done());
    let began = SystemClock::boot();
    let mut dev = temporary.program().start(&["dev", "--port", "0"]);
    let text = ready(&mut dev);
    let elapsed = elapsed_since(began);
    assert!(elapsed.as_secs() < 2, "it took {elapsed:?}");
    insta::assert_snapshot!("dev", redact(&text));
    let program = Program::new(&url_of(&text));
    program.run(&["acquire", "demo"]).done();
    assert!(!temporary.is_empty());
    dev.signal(Signal::INT);
    let (code, _, stderr) = dev.end().await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(temporary.is_empty() && !temporary.is_used());
    assert_eq!(program.run(&["info"]).code, 3);
}

#[tokio::test]
async fn nothing_is_left_after_kill_9_either() {
    let temporary = Temporary::new("killed");
    let mut dev = temporary.program().start(&["dev", "--port", "0", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&dev.line()).unwrap();
    assert_eq!(told["namespace"], "default");
    let address = told["url"].as_str().unwrap().strip_prefix("nats://").unwrap().to_owned();
    assert!(TcpStream::connect(&address).is_ok() && temporary.is_used());
    dev.signal(Signal::KILL);
    assert_eq!(dev.end().await.0, None);
    eventually("all is gone", async || {
        temporary.is_empty() && !temporary.is_used() && TcpStream::connect(&address).is_err()
    })
    .await;
}

#[tokio::test]
async fn where_the_port_is_taken_it_says_how_to_find_the_other() {
    let temporary = Temporary::new("taken");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut dev = temporary.program().start(&["dev", "--port", &port]);
    let text = ready(&mut dev);
    let url = url_of(&text);
    assert!(!url.ends_with(&format!(":{port}")), "{text}");
    assert!(text.contains(&format!("export NATS_URL={url}\n")), "{text}");
    Program::new(&url).run(&["info"]).done();
}

#[tokio::test]
async fn a_store_that_is_given_is_kept_and_not_shared() {
    let temporary = Temporary::new("store");
    let store = temporary.0.join("kept");
    let words = ["dev", "--port", "0", "--json", "--store-dir", store.to_str().unwrap()];
    let mut dev = temporary.program().start(&words);
    let url = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["url"].clone();
    let first = url(&dev.line());
    Program::new(first.as_str().unwrap()).run(&["acquire", "demo", "--ttl", "2h"]).done();
    let refused = temporary.program().run(&words);
    assert_eq!((refused.code, &refused.json()["code"]), (2, &"usage".into()));
    dev.signal(Signal::TERM);
    assert_eq!(dev.end().await.0, Some(0));
    let mut again = temporary.program().start(&words);
    let second = url(&again.line());
    assert_eq!(Program::new(second.as_str().unwrap()).run(&["acquire", "demo", "--wait", "0"]).code, 1);
}
