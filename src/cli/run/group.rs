//! A process group that ends when natslock does, however that comes about.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStdin, Command, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

/// Is told the group. If then its input ends without another word natslock has died, and the group is killed.
/// At once: a shell that could still say farewell would take the terminal from the one that has it again.
/// The watchdog is in a group of its own, and has neither streams nor folder of the command's.
const WATCHDOG: &str = r#"
trap '' HUP INT QUIT TERM USR1 USR2 TSTP TTIN TTOU
read -r group || exit 0
read -r _ && exit 0
kill -s KILL -- "-$group"
"#;

/// The group of a command that was started, under a watchdog.
#[derive(Debug)]
pub(super) struct Group {
    leader: Pid,
    /// Its end is the watchdog's cue.
    watchdog: ChildStdin,
}

impl Group {
    /// Starts the command in a group of its own. The watchdog is there before it, and is told its number just after:
    /// a SIGKILL of natslock between the two would leave the command running.
    ///
    /// Neither process is waited for by its `Child`: [`super::Supervisor`] hears of the end of all children.
    pub(super) fn start(command: &mut Command) -> Result<Self, StartError> {
        let mut watchdog = start_watchdog().map_err(StartError::Watchdog)?;
        let child = command.process_group(0).spawn().map_err(StartError::Command)?;
        let leader = pid(child.id()).map_err(StartError::Command)?;
        let told = writeln!(watchdog, "{leader}");
        let started = Self { leader, watchdog };
        if let Err(error) = told {
            started.signal(Signal::KILL);
            return Err(StartError::Watchdog(error));
        }
        Ok(started)
    }

    /// The process that leads it, whose id is the group's.
    pub(super) const fn leader(&self) -> Pid {
        self.leader
    }

    /// Sends all of it a signal. What has ended, or belongs to another user, does not hear it.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.leader, signal);
    }

    /// True where nobody is left in it.
    pub(super) fn is_gone(&self) -> bool {
        test_kill_process_group(self.leader) == Err(Errno::SRCH)
    }

    /// The group has ended, and its number may soon be another's.
    pub(super) fn stand_down(mut self) {
        // It fails only if the watchdog has gone.
        let _ = writeln!(self.watchdog, "done");
    }
}

/// Why nothing runs.
#[derive(Debug)]
pub(in crate::cli) enum StartError {
    /// The command cannot be started.
    Command(io::Error),
    /// What watches over it cannot.
    Watchdog(io::Error),
}

fn start_watchdog() -> io::Result<ChildStdin> {
    let mut shell = Command::new("sh");
    shell.args(["-c", WATCHDOG, "natslock-run"]).current_dir("/").process_group(0);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let input = shell.spawn()?.stdin.take();
    input.ok_or_else(|| io::Error::other("the watchdog has no input"))
}

fn pid(id: u32) -> io::Result<Pid> {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::Error::other("the process has no id"))
}
