//! Programs of this process's own: they end with it, however that ends.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::error::{CommandError, Kind};
use crate::clock::{SystemClock, within};
use crate::types::CoordinatorId;

/// Finds a server, or gets one; prints its path.
const INSTALL: &str = include_str!("../../nats/install");

/// Starts the program, tells its process id, and waits for the end of its own input, which is the end of
/// natslock, however it came about: then it ends the program and removes the folder. What is read from it is the
/// program's log, so the end of that is the end of the program.
const KEEPER: &str = r#"
folder=$1
shift
"$@" </dev/null 2>&1 &
program=$!
trap '' HUP INT TERM
echo "$program"
exec >/dev/null 2>&1
read -r _
kill -s KILL "$program"
wait "$program"
rm -rf "$folder"
"#;

const STOP_FOR: Duration = Duration::from_secs(5);
/// So many of the last lines of its log are shown when it fails.
const LOG_LINES_MAX: usize = 8;

/// A program that runs as long as this value lives, and its log.
pub(super) struct Keeper {
    child: Child,
    pid: u32,
    /// Its end is the keeper's cue.
    input: Option<ChildStdin>,
    log: Lines<BufReader<ChildStdout>>,
    last: VecDeque<String>,
}

/// A program in the background. Somebody reads its log, so that it never waits for that.
pub(super) struct Daemon {
    pub(super) pid: u32,
    stop: oneshot::Sender<()>,
    reader: JoinHandle<Keeper>,
}

impl Keeper {
    /// Starts a program. The folder is removed when it has ended.
    pub(super) async fn start(
        folder: &Path,
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<Self, CommandError> {
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "natslock-keeper"]).arg(folder).arg(program).args(arguments);
        // What this command was told is not meant for it.
        let ours = |name: &str| name.starts_with("NATSLOCK_") || name == "NATS_URL";
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(ours)) {
            keeper.env_remove(name);
        }
        // Ctrl-C is for natslock: the program ends when natslock has done what it has to.
        keeper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = keeper.spawn().map_err(|error| CommandError::internal("cannot start sh", error))?;
        let input = child.stdin.take();
        let Some(output) = child.stdout.take() else {
            return Err(CommandError::new(Kind::Internal, "a program has no output"));
        };
        let mut log = BufReader::new(output).lines();
        let pid = log.next_line().await?.and_then(|line| line.parse().ok());
        let pid = pid.ok_or_else(|| CommandError::new(Kind::Internal, "sh did not start a program"))?;
        Ok(Self { child, pid, input, log, last: VecDeque::new() })
    }

    /// The next line of its log; `None` where it has ended.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn line(&mut self) -> Option<String> {
        let line = self.log.next_line().await.ok().flatten()?;
        tracing::debug!("{}: {line}", self.pid);
        self.last.push_back(line.clone());
        if self.last.len() > LOG_LINES_MAX {
            self.last.pop_front();
        }
        Some(line)
    }

    /// Its last lines.
    pub(super) fn last_lines(&self) -> impl Iterator<Item = &str> {
        self.last.iter().map(String::as_str)
    }

    /// The same to be shown.
    pub(super) fn said(&self) -> String {
        let lines: Vec<&str> = self.last_lines().collect();
        format!("it said:\n  {}", lines.join("\n  "))
    }

    /// Waits for its end, and returns what it said last.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn ended(&mut self) -> String {
        while self.line().await.is_some() {}
        self.said()
    }

    /// Ends it, and removes its folder.
    pub(super) async fn stop(mut self) {
        drop(self.input.take());
        // If it does not end in time it does so later, by itself.
        let _ = within(&SystemClock, STOP_FOR, self.child.wait()).await;
    }

    /// Lets it run in the background.
    pub(super) fn daemon(mut self) -> Daemon {
        let (stop, stopped) = oneshot::channel::<()>();
        let pid = self.pid;
        let reader = tokio::spawn(async move {
            tokio::select! {
                _ = self.ended() => {}
                _ = stopped => {}
            }
            self
        });
        Daemon { pid, stop, reader }
    }
}

impl Daemon {
    /// True where it has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.reader.is_finished()
    }

    /// Ends it, removes its folder, and returns what it said last.
    pub(super) async fn stop(self) -> String {
        drop(self.stop);
        let Ok(keeper) = self.reader.await else { return String::new() };
        let said = keeper.said();
        keeper.stop().await;
        said
    }
}

/// A NATS server's program: what is on this machine, or what can be had.
pub(super) async fn install() -> Result<PathBuf, CommandError> {
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
pub(super) fn temporary_folder() -> Result<PathBuf, CommandError> {
    // Any random number will do.
    let path = std::env::temp_dir().join(format!("natslock-{}", CoordinatorId::random()));
    let failed = |error| CommandError::internal(format!("cannot make the folder {}", path.display()), error);
    DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
    Ok(path)
}
