//! `natslock admin recover`

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use super::{lock, shard};
use crate::cli::error::{CommandError, Kind};
use crate::cli::session::explain_connect;
use crate::cli::{Context, duration};
use crate::nats::{BucketConfig, Connection, NatsStore, connect};
use crate::service::recovery::Wish;
use crate::store::StoreError;
use crate::types::{LockName, Revision, ShardId};
use crate::wire::bucket::Bucket;
use crate::wire::subject::SubjectSpace;

/// Recover a quarantined lock, or without a name the quarantined shard: tells what it found and will do, and asks
///
/// It reads and writes the bucket itself, so it needs the rights that `admin permissions --role operator
/// --may-recover` prints. Run it again if it was interrupted.
#[derive(Debug, clap::Args)]
pub(crate) struct Recover {
    /// The lock; without it, the shard
    #[arg(value_parser = LockName::encode)]
    name: Option<LockName>,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
    /// Let nothing be granted or renewed for so long after the shard's recovery; without it, until the longest
    /// lease that may be lost has run out
    #[arg(
        long,
        value_name = "TIME",
        value_parser = duration::embargo,
        allow_hyphen_values = true,
        conflicts_with = "name"
    )]
    wait: Option<Duration>,
    /// Recover a shard that nobody has found anything wrong with: a backup was restored, and no coordinator that
    /// ran before still runs
    #[arg(long, conflicts_with = "name")]
    force: bool,
}

/// An operator's way to the bucket.
pub(super) struct Place<'a> {
    pub(super) context: &'a Context,
    pub(super) connection: Connection,
    pub(super) bucket: Bucket,
    pub(super) shard: ShardId,
}

pub(super) async fn run(recover: Recover, context: &Context) -> Result<(), CommandError> {
    let Recover { name, yes, wait, force } = recover;
    let options = context.connect_options("admin recover")?;
    let connection = connect(&options).await.map_err(explain_connect)?;
    let shard = ShardId(0);
    let bucket = SubjectSpace::new(context.global.namespace.clone()).bucket(shard);
    let place = Place { context, connection, bucket, shard };
    match name {
        Some(name) => lock::recover(&place, &name, yes).await,
        None => shard::recover(&place, Wish { force, wait }, yes).await,
    }
}

impl Place<'_> {
    /// The shard's bucket.
    pub(super) async fn open(&self) -> Result<NatsStore, CommandError> {
        let config = BucketConfig {
            bucket: self.bucket.name().to_owned(),
            replicas: 1,
            first_sequence: Revision::NONE,
        };
        let found = NatsStore::find(self.connection.clone(), config).await.map_err(|e| explain(&e))?;
        found.ok_or_else(|| {
            let message = format!("there is no bucket {}: nothing to recover", self.bucket.name());
            CommandError::new(Kind::NothingToRecover, message)
                .hint("a coordinator that begins makes it; if others have run without an end, recover then")
        })
    }

    /// Says what will be done, and goes on only where the operator wants it.
    pub(super) async fn confirm(
        &self,
        plan: &[String],
        yes: bool,
        words: &[String],
    ) -> Result<(), CommandError> {
        if !self.context.output.json {
            for line in plan {
                self.context.output.line(line)?;
            }
        }
        if yes {
            return Ok(());
        }
        let words: Vec<&str> = words.iter().map(String::as_str).chain(["--yes"]).collect();
        let again = self.context.again.command_of_anybody(&words);
        if self.context.output.json || !std::io::stdin().is_terminal() {
            let message = "nothing was done: there is no terminal to ask on";
            return Err(CommandError::new(Kind::Unconfirmed, message).hint(format!("to do it: {again}")));
        }
        if ask().await? { Ok(()) } else { Err(CommandError::new(Kind::Unconfirmed, "nothing was done")) }
    }
}

/// Asks on the terminal. The connection lives on meanwhile.
async fn ask() -> Result<bool, CommandError> {
    let mut out = anstream::stderr().lock();
    out.write_all(b"Do it? [y/N] ")?;
    out.flush()?;
    drop(out);
    let answered = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let line = answered.await.map_err(|error| CommandError::internal("cannot ask", error))??;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// What the store says.
pub(super) fn explain(error: &StoreError) -> CommandError {
    let message = error.to_string();
    match error {
        StoreError::Unavailable(_) => {
            CommandError::new(Kind::NoServer, message).hint("JetStream is busy or has no leader: try again")
        }
        StoreError::Refused(_) => CommandError::new(Kind::Unfit, message)
            .hint("who may: natslock admin permissions --role operator --may-recover"),
    }
}
