//! `natslock run`

use std::ffi::OsString;
use std::io;
use std::process::Command;
use std::time::Duration;

use super::acquire::Acquire;
use crate::cli::error::CommandError;
use crate::cli::run::{FIRST, REST, Relay, StartError, Supervisor, Teller};
use crate::cli::session::Session;
use crate::cli::{Context, describe, text};
use crate::client::LockGuard;
use crate::clock::{SystemClock, within};

/// How long the release may take before it is left to the end of the lease.
const RELEASE_FOR: Duration = Duration::from_secs(5);
const CLOSE_FOR: Duration = Duration::from_secs(1);

const MANUAL: &str = "\
CMD finds the lock in its environment:
  NATSLOCK_NAME   its name, as it is typed
  NATSLOCK_TOKEN  the fencing token: give it to whatever CMD writes to
  NATSLOCK_ID     the id of the acquisition: release and renew take it from there

CMD and what it starts are a process group of their own. INT, TERM, HUP, QUIT, USR1, USR2 and WINCH are passed \
on to it. The lock is released when the whole group has ended: what CMD leaves running in it gets SIGTERM when \
CMD has ended, and SIGKILL 5 s later. What makes a group or a session of its own (setsid, the jobs of an \
interactive shell) is out of reach. If natslock is killed, the group is killed too.

Where the lock is lost, the group gets SIGTERM at once, and SIGKILL after 5 s or when the lease would have \
ended. Where no renewal gets through, it gets SIGTERM 5 s (or TTL/3) before the lease ends, and SIGKILL 0.5 s \
(or TTL/20) before it ends; if a renewal gets through after SIGTERM, CMD ends in its own time. Before SIGKILL \
nobody else gets the lock, unless an administrator has taken it away. If natslock was stopped or the machine \
slept beyond the end of the lease, the group is killed as soon as natslock goes on.

In a terminal CMD is in front: Ctrl-C is for CMD alone. Ctrl-Z stops CMD and natslock, and the lease is not \
renewed until fg or bg; beyond its end CMD is killed. A shell that has the terminal gets SIGHUP besides \
SIGTERM, and passes it on to its jobs.

natslock prints nothing to the standard output, with --json neither: that is for CMD.

Exit codes:
  CMD's own, or 128 + n if signal n ended it; 127 if there is no such program, 126 if it cannot be run
  64   usage
  69   no server or coordinator
  70   internal
  75   not acquired
  124  the lock was lost, or about to be, before CMD had ended";

/// Run a command under a lock, and end it before anybody else can get the lock
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = MANUAL,
    after_help = "natslock run --help tells what CMD can rely on, and the exit codes",
    mut_arg("ttl", |ttl| ttl.help("Hold it so long without a renewal, should natslock or its host die")),
    mut_arg("id", |id| id.help("Name the acquisition, as nobody else does [default: a new one]")),
    mut_arg("keep", |keep| keep.help("When CMD has ended, keep it held so much longer"))
)]
pub(crate) struct Run {
    #[command(flatten)]
    acquire: Acquire,
    /// Run this, with its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(in crate::cli) async fn run(run: Run, context: &Context) -> Result<u8, CommandError> {
    let options = run.acquire.options()?;
    let options = options.keep(run.acquire.keep.unwrap_or_default());
    let session = context.open("run").await?;
    let mut relay = Relay::default();
    relay.listen(&FIRST).map_err(deaf)?;
    let done = match run.acquire.attempt(&session, options, context).await {
        Ok(guard) => run.hold(guard, relay).await,
        Err(error) => Err(error),
    };
    // What else is on its way is of no use to anybody.
    let _ = within(&SystemClock, CLOSE_FOR, Session::close(session)).await;
    done
}

fn deaf(error: io::Error) -> CommandError {
    CommandError::internal("cannot listen for signals", error)
}

impl Run {
    async fn hold(&self, guard: LockGuard, mut relay: Relay) -> Result<u8, CommandError> {
        relay.listen(&REST).map_err(deaf)?;
        let teller = Teller::start();
        let mut command = self.command(&guard);
        let done = match Supervisor::start(&mut command, &guard, self.acquire.ttl, relay, &teller) {
            Ok(supervisor) => Ok(supervisor.watch().await),
            Err(StartError::Watchdog(error)) => Err(CommandError::internal("cannot start sh", error)),
            Err(StartError::Command(error)) => Ok(self.not_run(&error, &teller)),
        };
        release(guard, &teller).await;
        done
    }

    fn command(&self, guard: &LockGuard) -> Command {
        let mut words = self.command.iter();
        // There is one: it is required.
        let mut command = Command::new(words.next().cloned().unwrap_or_default());
        command.args(words);
        command.env("NATSLOCK_TOKEN", guard.token().to_string());
        command.env("NATSLOCK_ID", guard.id().reveal());
        command.env("NATSLOCK_NAME", guard.name().to_string());
        command
    }

    /// The codes of a shell.
    fn not_run(&self, error: &io::Error, teller: &Teller) -> u8 {
        let program = self.command.first().map(|program| program.to_string_lossy()).unwrap_or_default();
        teller.tell(format!("cannot run {}: {error}", text::quoted(&program)));
        if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
    }
}

/// Gives the lock back. One that is lost is not ours to give.
async fn release(guard: LockGuard, teller: &Teller) {
    if !guard.is_valid() {
        return;
    }
    let (lock, deadline) = (describe::lock(guard.name()), guard.deadline());
    if within(&SystemClock, RELEASE_FOR, guard.release()).await.is_none() {
        let left = text::span(deadline.since(SystemClock::boot()));
        teller.tell(format!("{lock} could not be released; it ends by itself in {left}"));
    }
}
