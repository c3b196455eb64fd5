//! A NATS server of this process's own: it ends with the process, however that ends.

use std::collections::VecDeque;
use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::error::{CommandError, Kind};
use crate::clock::{SystemClock, within};
use crate::types::CoordinatorId;

/// Finds a server, or gets one; prints its path.
const INSTALL: &str = include_str!("../../nats/install");

/// Starts the server and waits for the end of its own input, which is the end of natslock, however it came
/// about: then it ends the server and removes the folder. What is read from it is the server's log, so the end
/// of that is the end of the server.
const KEEPER: &str = r#"
folder=$1
shift
"$@" </dev/null 2>&1 &
server=$!
trap '' HUP INT TERM
exec >/dev/null 2>&1
read -r _
kill -s KILL "$server"
wait "$server"
rm -rf "$folder"
"#;

const READY: &str = "Server is ready";
const LISTENS: &str = "Listening for client connections on ";
const PORT_TAKEN: &str = "address already in use";
const START_FOR: Duration = Duration::from_secs(20);
const STOP_FOR: Duration = Duration::from_secs(5);
/// So many of the last lines of its log are shown when it fails.
const LOG_LINES_MAX: usize = 8;

/// A NATS server with JetStream that only this machine can reach.
pub(super) struct PrivateServer {
    url: String,
    keeper: Keeper,
    /// Nobody else may use the store meanwhile.
    _lock: Option<File>,
}

struct Keeper {
    child: Child,
    /// Its end is the keeper's cue.
    input: Option<ChildStdin>,
    log: Lines<BufReader<ChildStdout>>,
    last: VecDeque<String>,
}

impl PrivateServer {
    /// Starts it on this port, or on another where this one is taken, and waits until it listens.
    pub(super) async fn start(port: u16, store: Option<&Path>) -> Result<Self, CommandError> {
        let program = install().await?;
        let lock = store.map(lock).transpose()?;
        // The server chooses a port for -1.
        let mut choices = [i32::from(port), -1].into_iter().filter(|port| *port != 0);
        loop {
            let port = choices.next().unwrap_or(-1);
            let mut keeper = Keeper::start(&program, port, store)?;
            let listens = within(&SystemClock, START_FOR, keeper.ready()).await.flatten();
            if let Some(address) = listens {
                return Ok(Self { url: format!("nats://{address}"), keeper, _lock: lock });
            }
            let taken = keeper.last.iter().any(|line| line.contains(PORT_TAKEN));
            let said = keeper.said();
            keeper.stop().await;
            if !taken || port == -1 {
                return Err(CommandError::new(Kind::Internal, "the NATS server does not start").hint(said));
            }
        }
    }

    /// Where it listens.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Waits for its end, and returns what it said last.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn ended(&mut self) -> String {
        while self.keeper.line().await.is_some() {}
        self.keeper.said()
    }

    /// Ends it, and removes what it has stored, but for a folder that was given.
    pub(super) async fn stop(self) {
        self.keeper.stop().await;
    }
}

impl Keeper {
    fn start(program: &Path, port: i32, store: Option<&Path>) -> Result<Self, CommandError> {
        let folder = temporary_folder()?;
        let store = store.map_or_else(|| folder.join("store"), Path::to_owned);
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "natslock-dev"]).arg(&folder).arg(program);
        keeper.args(["--name", "natslock-dev", "--addr", "127.0.0.1", "--port", &port.to_string()]);
        keeper.arg("--jetstream").arg("--store_dir").arg(store);
        // Ctrl-C is for natslock: the server ends when natslock has resigned.
        keeper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = keeper.spawn().map_err(|error| CommandError::internal("cannot start sh", error))?;
        let input = child.stdin.take();
        let Some(output) = child.stdout.take() else {
            return Err(CommandError::new(Kind::Internal, "the NATS server has no output"));
        };
        Ok(Self { child, input, log: BufReader::new(output).lines(), last: VecDeque::new() })
    }

    /// The address that it listens on; `None` where it ends before.
    async fn ready(&mut self) -> Option<String> {
        let mut address = None;
        loop {
            let line = self.line().await?;
            if let Some((_, listens)) = line.split_once(LISTENS) {
                address = Some(listens.trim().to_owned());
            }
            if line.contains(READY) {
                return address;
            }
        }
    }

    /// The next line of its log; `None` where it has ended.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    async fn line(&mut self) -> Option<String> {
        let line = self.log.next_line().await.ok().flatten()?;
        tracing::debug!("nats-server: {line}");
        self.last.push_back(line.clone());
        if self.last.len() > LOG_LINES_MAX {
            self.last.pop_front();
        }
        Some(line)
    }

    /// Its last lines.
    fn said(&self) -> String {
        let lines: Vec<&str> = self.last.iter().map(String::as_str).collect();
        format!("it said:\n  {}", lines.join("\n  "))
    }

    async fn stop(mut self) {
        drop(self.input.take());
        // If it does not end in time it does so later, by itself.
        let _ = within(&SystemClock, STOP_FOR, self.child.wait()).await;
    }
}

/// A server's program.
async fn install() -> Result<PathBuf, CommandError> {
    let failed = |error| CommandError::internal("cannot look for a nats-server", error);
    let mut shell = Command::new("sh");
    // It tells on the standard error stream what it does, should that take a while.
    shell.args(["-c", INSTALL, "nats/install"]).stdin(Stdio::null()).stderr(Stdio::inherit());
    shell.kill_on_drop(true);
    let output = shell.output().await.map_err(failed)?;
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !path.is_empty() {
        return Ok(path.into());
    }
    Err(CommandError::new(Kind::Unfit, "there is no nats-server, and none could be had")
        .hint("get one from https://github.com/nats-io/nats-server/releases and put it on PATH"))
}

/// A folder that nobody else can look into.
fn temporary_folder() -> Result<PathBuf, CommandError> {
    // Any random number will do.
    let path = std::env::temp_dir().join(format!("natslock-dev-{}", CoordinatorId::random()));
    let failed = |error| CommandError::internal(format!("cannot make the folder {}", path.display()), error);
    DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
    Ok(path)
}

/// Two servers would ruin each other's store.
fn lock(store: &Path) -> Result<File, CommandError> {
    let failed = |error| {
        let message = format!("cannot use the folder {}: {error}", store.display());
        CommandError::new(Kind::Usage, message)
    };
    std::fs::create_dir_all(store).map_err(failed)?;
    let file = File::create(store.join("natslock-dev.lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(failed(error)),
        Err(TryLockError::WouldBlock) => {
            let message = format!("another natslock dev uses the folder {}", store.display());
            Err(CommandError::new(Kind::Usage, message))
        }
    }
}
