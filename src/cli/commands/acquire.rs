//! `natslock acquire`

use std::time::Duration;

use crate::cli::Context;
use crate::cli::error::{CommandError, Kind};
use crate::cli::output::{BOLD, GREEN};
use crate::cli::session::{Failure, Session};
use crate::cli::signals::Signals;
use crate::cli::waiting::WaitingLine;
use crate::cli::{describe, duration, text};
use crate::client::{AcquireError, AcquireOptions, Contended, Lease, LockGuard};
use crate::clock::{SystemClock, within};
use crate::engine::message::LockView;
use crate::types::{LeaseId, LockName, Note, Ttl, Wait};
use crate::wire::subject::Verb;

/// How long a wait that was interrupted may take to be cancelled.
const CANCEL_FOR: Duration = Duration::from_secs(2);

/// Acquire a lock, and print the token and how to release it
#[derive(Debug, clap::Args)]
pub(crate) struct Acquire {
    /// The lock: tokens with dots between them
    #[arg(value_parser = LockName::encode)]
    pub(super) name: LockName,
    /// Hold it so long unless it is renewed or released
    #[arg(
        long,
        env = "NATSLOCK_TTL",
        hide_env_values = true,
        value_name = "TIME",
        default_value = "30s",
        value_parser = duration::ttl,
        allow_hyphen_values = true
    )]
    pub(super) ttl: Ttl,
    /// Wait so long for it; 0 tries
    #[arg(
        long,
        env = "NATSLOCK_WAIT",
        hide_env_values = true,
        value_name = "TIME",
        default_value = "10s",
        value_parser = duration::wait,
        allow_hyphen_values = true
    )]
    wait: Wait,
    /// Share it with others who share it
    #[arg(
        long,
        env = "NATSLOCK_SHARED",
        hide_env_values = true,
        value_parser = clap::builder::FalseyValueParser::new(),
        conflicts_with_all = ["permits", "capacity"]
    )]
    shared: bool,
    /// Take so many of its permits [default: 1]
    #[arg(long, env = "NATSLOCK_PERMITS", hide_env_values = true, value_name = "N", requires = "capacity")]
    permits: Option<u64>,
    /// Use it as a lock of so many permits; all its users name the same number
    #[arg(long, env = "NATSLOCK_CAPACITY", hide_env_values = true, value_name = "N")]
    capacity: Option<u64>,
    /// Show this text beside the holder
    #[arg(long, env = "NATSLOCK_NOTE", hide_env_values = true, value_name = "TEXT")]
    note: Option<Note>,
    /// Name the acquisition; the same again is never a second one [default: a new one]
    #[arg(long, value_name = "ID")]
    id: Option<LeaseId>,
    /// Print a release command that keeps it held so much longer
    #[arg(
        long,
        env = "NATSLOCK_KEEP",
        hide_env_values = true,
        value_name = "TIME",
        value_parser = duration::keep,
        allow_hyphen_values = true
    )]
    pub(super) keep: Option<Duration>,
}

/// What came of it.
enum Outcome {
    Granted(LockGuard),
    Held(Contended),
    Interrupted,
}

pub(in crate::cli) async fn run(acquire: Acquire, context: &Context) -> Result<(), CommandError> {
    let options = acquire.options()?;
    let session = context.open("acquire").await?;
    let began = SystemClock::boot();
    let done = match acquire.attempt(&session, options, context).await.map(LockGuard::leave) {
        Ok(lease) if context.output.json => context.output.raw(&lease.reply),
        Ok(lease) => acquire.granted(&lease, SystemClock::boot().since(began), context),
        Err(error) => Err(error),
    };
    session.close().await;
    done
}

/// Waits for an answer or for a signal. Whatever is not granted is taken back by the client.
async fn wait(
    session: &Session<'_>,
    name: &LockName,
    options: AcquireOptions,
    context: &Context,
) -> Result<Outcome, CommandError> {
    let mut signals = Signals::listen()?;
    let line = WaitingLine::new(name, context.owner(), !context.output.json);
    let decoded = name.to_string();
    let acquired = async {
        let acquiring = session.client.acquire_reporting(&decoded, options, |progress| line.report(progress));
        match acquiring.await {
            Ok(guard) => Ok(Outcome::Granted(guard)),
            Err(AcquireError::Held(by)) => Ok(Outcome::Held(by)),
            Err(error) => Err(failure(error)),
        }
    };
    tokio::select! {
        biased;
        acquired = session.ask(Verb::Acquire, acquired) => acquired,
        never = line.look(session.caller()) => match never {},
        _ = signals.next() => Ok(Outcome::Interrupted),
    }
}

fn failure(error: AcquireError) -> Failure {
    let message = error.to_string();
    match error {
        AcquireError::Refused(refused, raw) => Failure::Told(CommandError::refused(refused, raw)),
        AcquireError::NoCoordinator { .. } => Failure::Unanswered { message, nobody: true },
        AcquireError::NoAnswer => Failure::Unanswered { message, nobody: false },
        AcquireError::Options(_) => Failure::Told(CommandError::new(Kind::Usage, message)),
        AcquireError::Held(_) | AcquireError::Closed => {
            Failure::Told(CommandError::new(Kind::Internal, message))
        }
    }
}

/// The client has stopped waiting at the coordinator, or tries to. A release is final: also a grant that is on
/// its way has ended by it.
async fn cancelled(
    session: &Session<'_>,
    acquire: &Acquire,
    waited: Duration,
    context: &Context,
) -> CommandError {
    let what = format!("interrupted: {} for {}", describe::waited(waited), describe::lock(&acquire.name));
    if within(&SystemClock, CANCEL_FOR, session.client.settled()).await.is_some() {
        return CommandError::new(Kind::Interrupted, format!("{what}, and cancelled"));
    }
    let hint = match &acquire.id {
        Some(id) => {
            let words = ["release", &acquire.name.to_string(), "--id", id.reveal()];
            format!("it may still be granted; tell it later: {}", context.again.command(&words))
        }
        None => "it may still be granted; the lock is then free again after the ttl".to_owned(),
    };
    CommandError::new(Kind::Interrupted, format!("{what}, but the coordinator could not be told")).hint(hint)
}

impl Acquire {
    /// What is asked for. Refused before a connection is made.
    pub(super) fn options(&self) -> Result<AcquireOptions, CommandError> {
        let mut options = AcquireOptions::new().ttl(self.ttl.get()).wait(self.wait.get());
        if let Some(id) = &self.id {
            options = options.id(id.clone());
        }
        if let Some(capacity) = self.capacity {
            options = options.permits(self.permits.unwrap_or(1), capacity);
        } else if self.shared {
            options = options.shared();
        }
        if let Some(note) = &self.note {
            options = options.note(note.as_str());
        }
        let checked = options.clone().check();
        checked.map(|_| options).map_err(|error| CommandError::new(Kind::Usage, error.to_string()))
    }

    /// Acquires it, or says why not.
    pub(super) async fn attempt(
        &self,
        session: &Session<'_>,
        options: AcquireOptions,
        context: &Context,
    ) -> Result<LockGuard, CommandError> {
        let began = SystemClock::boot();
        let outcome = wait(session, &self.name, options, context).await?;
        let waited = SystemClock::boot().since(began);
        match outcome {
            Outcome::Granted(guard) => Ok(guard),
            Outcome::Held(by) => Err(self.refused(&by.view, waited, context).reply(by.reply)),
            Outcome::Interrupted => Err(cancelled(session, self, waited, context).await),
        }
    }

    fn granted(&self, lease: &Lease, waited: Duration, context: &Context) -> Result<(), CommandError> {
        let (output, name) = (context.output, self.name.to_string());
        output.line(format_args!("{GREEN}acquired{GREEN:#} {BOLD}{}{BOLD:#}", text::tame(&name)))?;
        let mut words = vec!["release", &name, "--id", lease.id.reveal()];
        let keep = self.keep.map(|keep| humantime::format_duration(keep).to_string().replace(' ', ""));
        if let Some(keep) = &keep {
            words.extend(["--keep", keep]);
        }
        output.fields([
            ("token", lease.token.to_string()),
            ("id", lease.id.reveal().to_owned()),
            ("ttl", text::span(lease.ttl.get())),
            ("waited", text::span(waited)),
            ("release", context.again.command(&words)),
        ])
    }

    fn refused(&self, view: &LockView, waited: Duration, context: &Context) -> CommandError {
        let me = context.owner();
        let held = describe::held(&self.name, view, &me);
        let mine = view.holders.iter().any(|holder| holder.owner == me);
        let (held, wait) = match self.wait.is_try() {
            true => (held, "wait for it: --wait 1m"),
            false => (
                format!("{held} ({})", describe::waited(waited)),
                "wait longer, as in --wait 5m, or see who is in line: natslock check",
            ),
        };
        let mine_too = "locks are not re-entrant: release the other acquisition first, by its id";
        CommandError::new(Kind::Held, held).hint(if mine { mine_too } else { wait })
    }
}
