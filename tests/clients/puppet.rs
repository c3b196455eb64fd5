//! A client in another language, in a process of its own, that does what it is told.

use std::process::Stdio;
use std::time::Duration;

use natslock::clock::{SystemClock, within};
use natslock::types::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::setup;
use crate::support::PATIENCE;

/// In which language a client is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Rust,
    Python,
    JavaScript,
}

/// The process. It ends with its value, and with the test process, because its input ends then.
pub(super) struct Puppet {
    kind: Kind,
    _process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

/// A lock that a puppet was granted.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) token: u64,
    pub(super) deadline: Timestamp,
}

/// The loss of a lock, as a puppet saw it.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) at: Timestamp,
    pub(super) deadline: Timestamp,
    pub(super) valid: bool,
}

impl Puppet {
    /// Starts it, and returns when it is connected.
    pub(super) async fn start(kind: Kind, url: &str, owner: &str, namespace: &str) -> Self {
        let prepared = tokio::task::spawn_blocking(move || command(kind));
        let mut command = prepared.await.unwrap();
        command.args([url, owner, namespace]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut puppet = Self { kind, _process: process, input, output };
        assert_eq!(puppet.hears().await, ["READY"], "{kind:?}");
        puppet
    }

    pub(super) async fn told(&mut self, what: &str) {
        self.input.write_all(format!("{what}\n").as_bytes()).await.unwrap();
    }

    /// The words of the next line that it writes.
    pub(super) async fn hears(&mut self) -> Vec<String> {
        let line = within(&SystemClock, PATIENCE, self.output.next_line()).await;
        let line = line.unwrap_or_else(|| panic!("{:?} says nothing for {PATIENCE:?}", self.kind)).unwrap();
        let line = line.unwrap_or_else(|| panic!("{:?} has ended; see its error output", self.kind));
        line.split(' ').map(str::to_owned).collect()
    }

    pub(super) async fn is_granted(&mut self) -> Granted {
        let words = self.hears().await;
        assert_eq!(words[0], "GRANTED", "{:?}: {words:?}", self.kind);
        Granted { token: words[1].parse().unwrap(), deadline: self.time(&words[2]) }
    }

    pub(super) async fn loses(&mut self) -> Lost {
        let words = self.hears().await;
        assert_eq!(words[0], "LOST", "{:?}: {words:?}", self.kind);
        Lost { at: self.time(&words[1]), deadline: self.time(&words[2]), valid: words[3] == "valid" }
    }

    pub(super) async fn ends(&mut self) {
        assert_eq!(self.hears().await, ["ENDED"], "{:?}", self.kind);
    }

    /// What its clock showed, on the clock of the other processes.
    pub(super) fn time(&self, nanos: &str) -> Timestamp {
        let time = Duration::from_nanos(nanos.parse().unwrap());
        Timestamp::from_boot(if self.kind == Kind::JavaScript { time + suspended() } else { time })
    }
}

fn command(kind: Kind) -> Command {
    match kind {
        Kind::Python => {
            let client = setup::client("python");
            let path = std::env::join_paths([client.as_path(), setup::python()]).unwrap();
            let mut command = Command::new("python3");
            command.arg(setup::here("puppet.py"));
            command.env("PYTHONPATH", path).env("PYTHONDONTWRITEBYTECODE", "1");
            command
        }
        Kind::JavaScript => {
            let mut command = Command::new("node");
            command.arg(setup::node().join("puppet.mjs"));
            command
        }
        Kind::Rust => unreachable!("the Rust client needs no puppet"),
    }
}

/// How much further the boot clock is than the monotonic one, which is all that Node can read: the time that the machine
/// was suspended.
pub(super) fn suspended() -> Duration {
    let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap();
    // The least of some, because the thread may be interrupted between the two readings.
    let differences = (0..20).map(|_| {
        let monotonic = read(ClockId::Monotonic);
        read(ClockId::Boottime).saturating_sub(monotonic)
    });
    differences.min().unwrap()
}
