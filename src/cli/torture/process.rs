//! Child processes that end with this one, however that ends.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::cli::error::{CommandError, Kind};
use crate::clock::{Clock as _, SystemClock, within};

/// Starts the program, which tells its process id first, and kills it at the end of its own input. The program
/// alone has the output, so the end of that is the end of the program.
const WATCHDOG: &str = r#"
sh -c 'echo $$; exec "$@"' child "$@" </dev/null &
child=$!
trap '' HUP INT TERM
exec >/dev/null 2>&1
while read -r _; do :; done
kill -s KILL "$child"
wait
"#;
/// What of the environment goes on to the program.
const KEPT: [&str; 3] = ["PATH", "HOME", "TMPDIR"];
const STOP_FOR: Duration = Duration::from_secs(10);

/// A program under a watchdog. Dropping it kills the program.
#[derive(Debug)]
pub(super) struct Process {
    _watchdog: Child,
    _input: Option<ChildStdin>,
    output: Option<Lines<BufReader<ChildStdout>>>,
    pid: Pid,
}

/// What to start, and where.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) folder: PathBuf,
    /// The file in the folder that gets what the program tells.
    pub(super) log: String,
}

impl Process {
    pub(super) async fn start(recipe: &Recipe) -> Result<Self, CommandError> {
        let path = recipe.folder.join(&recipe.log);
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let log = log.map_err(|error| CommandError::internal(format!("cannot write {path:?}"), error))?;
        let mut command = Command::new("sh");
        command.args(["-c", WATCHDOG, "watchdog"]).arg(&recipe.program).args(&recipe.arguments);
        let kept = KEPT.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.env_clear().envs(kept).current_dir(&recipe.folder);
        // Ctrl-C is for the parent, which then ends all the others.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let failed = |error| CommandError::internal("cannot start sh", error);
        let mut watchdog = command.spawn().map_err(failed)?;
        let input = watchdog.stdin.take();
        let mut output = watchdog.stdout.take().map(|output| BufReader::new(output).lines());
        let first = match &mut output {
            Some(lines) => lines.next_line().await.map_err(failed)?,
            None => None,
        };
        let pid = first.and_then(|line| line.trim().parse().ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| {
            CommandError::new(Kind::Internal, format!("cannot start {}", recipe.program.display()))
        })?;
        Ok(Self { _watchdog: watchdog, _input: input, output, pid })
    }

    pub(super) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// What it prints; once.
    pub(super) fn output(&mut self) -> Option<Lines<BufReader<ChildStdout>>> {
        self.output.take()
    }

    /// A process that has ended already needs no signal.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid, signal);
    }

    /// Stops it as a debugger would, and returns when every thread of it stands still.
    pub(super) async fn stop(&self) {
        self.signal(Signal::STOP);
        let stands = within(&SystemClock, STOP_FOR, async {
            while !self.stands_still() {
                SystemClock.sleep_until(SystemClock::boot() + Duration::from_millis(1)).await;
            }
        });
        if stands.await.is_none() {
            tracing::warn!(pid = self.id(), "it does not stand still");
        }
    }

    fn stands_still(&self) -> bool {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", self.pid)) else { return true };
        threads.flatten().all(|thread| is_in_state(&thread.path(), &['T', 'Z', 'X']))
    }

    /// Kills it, and returns when it is dead.
    pub(super) async fn kill(self) {
        self.end(Signal::KILL).await;
    }

    /// Sends it a signal that ends it, and returns when it has ended.
    pub(super) async fn end(self, signal: Signal) {
        self.signal(signal);
        let dead = within(&SystemClock, STOP_FOR, async {
            let path = PathBuf::from(format!("/proc/{}", self.pid));
            while path.exists() && !is_in_state(&path, &['Z', 'X']) {
                SystemClock.sleep_until(SystemClock::boot() + Duration::from_millis(1)).await;
            }
        });
        if dead.await.is_none() {
            tracing::warn!(pid = self.id(), ?signal, "it does not end");
        }
    }
}

/// The state follows the name, which stands in brackets.
fn is_in_state(process: &Path, states: &[char]) -> bool {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with(states))
}

/// This program, with these arguments.
pub(super) fn myself(folder: &Path, log: &str, arguments: Vec<String>) -> Result<Recipe, CommandError> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| CommandError::internal("cannot find this program", error))?;
    Ok(Recipe { program, arguments, folder: folder.to_owned(), log: log.to_owned() })
}

/// The words of a command line.
pub(super) fn words<const N: usize>(words: [&dyn AsRef<OsStr>; N]) -> Vec<String> {
    words.iter().map(|word| word.as_ref().to_string_lossy().into_owned()).collect()
}
