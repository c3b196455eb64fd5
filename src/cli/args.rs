//! The command line: options that every command takes, and the commands. The help texts are the manual.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand};

use super::commands::{
    acquire, admin, bench, check, dev, list, release, renew, run, serve, stats, top, torture, watch,
};
use super::torture::Worker;
use crate::engine::message::LeaseRef;
use crate::types::{LeaseId, LockName, Namespace, OwnerName, Token};

const MANUAL: &str = "\
Try it, in two terminals:
  natslock dev
  natslock acquire demo

Every option can also be set in the environment: NATS_URL for --nats, for the others NATSLOCK_ and the \
option's name (NATSLOCK_NAMESPACE); only the --id of acquire and run cannot. NATSLOCK_LOG filters the log, as in \
NATSLOCK_LOG=debug.

Exit codes:
  0    done
  1    not acquired, not held
  2    usage
  3    no server or coordinator
  255  internal
`run` has others, so that it can pass on those of what it runs: natslock run --help";

/// Hold locks over NATS: leases, fencing tokens, first come first served
#[derive(Debug, Parser)]
#[command(
    name = "natslock",
    version,
    max_term_width = 100,
    after_help = MANUAL,
    subcommand_required = true,
    disable_help_subcommand = true
)]
pub(super) struct CommandLine {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) global: Global,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Serve(serve::Serve),
    Dev(dev::Dev),
    Acquire(acquire::Acquire),
    Release(release::Release),
    Renew(renew::Renew),
    Check(check::Check),
    List(list::List),
    Watch(watch::Watch),
    Stats(stats::Stats),
    Top(top::Top),
    Run(run::Run),
    /// Show who leads, the versions and the limits
    Info,
    Bench(bench::Bench),
    #[command(subcommand)]
    Admin(admin::Admin),
    #[command(hide = true)]
    Torture(torture::Torture),
    #[command(hide = true)]
    TortureWorker(Worker),
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct Global {
    /// Connect to one of these NATS servers
    #[arg(
        long,
        global = true,
        env = "NATS_URL",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ',',
        default_value = "nats://127.0.0.1:4222"
    )]
    pub(super) nats: Vec<String>,
    /// Use the locks of this namespace
    #[arg(
        long,
        global = true,
        env = "NATSLOCK_NAMESPACE",
        hide_env_values = true,
        value_name = "NAME",
        default_value = "default"
    )]
    pub(super) namespace: Namespace,
    /// Act in this name [default: <user>@<host>]
    #[arg(
        long,
        global = true,
        env = "NATSLOCK_OWNER",
        hide_env_values = true,
        value_name = "NAME",
        value_parser = OwnerName::encode
    )]
    pub(super) owner: Option<OwnerName>,
    /// Print the reply as it came, on one line of JSON
    #[arg(
        long,
        global = true,
        env = "NATSLOCK_JSON",
        hide_env_values = true,
        value_parser = FalseyValueParser::new()
    )]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) access: Access,
}

/// How to be let in.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access to the NATS server")]
pub(super) struct Access {
    /// Present this credentials file
    #[arg(
        long,
        global = true, hide_short_help = true,
        env = "NATSLOCK_CREDS",
        hide_env_values = true,
        value_name = "FILE",
        conflicts_with_all = ["nkey", "user"]
    )]
    pub(super) creds: Option<PathBuf>,
    /// Sign with this nkey: a file with its seed, or the seed itself
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "NATSLOCK_NKEY",
        hide_env_values = true,
        value_name = "FILE",
        conflicts_with = "user"
    )]
    pub(super) nkey: Option<String>,
    /// Log in as this user
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "NATSLOCK_USER",
        hide_env_values = true,
        value_name = "NAME",
        requires = "password"
    )]
    pub(super) user: Option<String>,
    /// Log in with this password
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "NATSLOCK_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD",
        requires = "user"
    )]
    pub(super) password: Option<String>,
    /// Trust this certificate authority only
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "NATSLOCK_TLS_CA",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub(super) tls_ca: Option<PathBuf>,
    /// Present this certificate
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "NATSLOCK_TLS_CERT",
        hide_env_values = true,
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub(super) tls_cert: Option<PathBuf>,
    /// Prove the certificate with this key
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "NATSLOCK_TLS_KEY",
        hide_env_values = true,
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub(super) tls_key: Option<PathBuf>,
    /// Receive answers under this subject; what a coordinator is given is what all its clients must have [default: _INBOX]
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "NATSLOCK_INBOX_PREFIX",
        hide_env_values = true,
        value_name = "SUBJECT"
    )]
    pub(super) inbox_prefix: Option<String>,
}

/// One acquisition, as `acquire` has printed it.
#[derive(Debug, Args)]
pub(super) struct Acquisition {
    /// The lock
    #[arg(value_parser = LockName::encode)]
    pub(super) name: LockName,
    /// Name the acquisition by the id that acquire has printed
    #[arg(long, env = "NATSLOCK_ID", hide_env_values = true, value_name = "ID")]
    pub(super) id: LeaseId,
    /// Give the token too, so that a leader that has just taken over knows where to look
    #[arg(
        long,
        env = "NATSLOCK_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        value_parser = token
    )]
    pub(super) token: Option<Token>,
}

impl Acquisition {
    pub(super) fn lease(&self) -> LeaseRef {
        LeaseRef { id: self.id.clone(), token: self.token }
    }
}

fn token(typed: &str) -> Result<Token, &'static str> {
    typed.parse().map(Token::from_raw).map_err(|_| "a token is a number, as acquire has printed it")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
