//! `natslock dev`

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::serve;
use crate::cli::Context;
use crate::cli::error::{CommandError, Kind};
use crate::cli::output::{BOLD, GREEN};
use crate::cli::private_server::PrivateServer;
use crate::cli::quotas::Quotas;
use crate::cli::signals::Signals;
use crate::cli::text;
use crate::nats::ConnectOptions;
use crate::service::Coordinator;

/// A coordinator that is tried out comes and goes often: its successor need not wait long.
const LEADER_LEASE: Duration = Duration::from_secs(3);

/// Run a private NATS server with a coordinator, to try natslock out; all is gone when it ends
#[derive(Debug, clap::Args)]
pub(crate) struct Dev {
    /// Listen here on 127.0.0.1, or on another port where this one is taken
    #[arg(long, env = "NATSLOCK_PORT", hide_env_values = true, value_name = "PORT", default_value_t = 4222)]
    port: u16,
    /// Keep the locks in this folder [default: a temporary one]
    #[arg(long, env = "NATSLOCK_STORE_DIR", hide_env_values = true, value_name = "FOLDER")]
    store_dir: Option<PathBuf>,
    #[command(flatten)]
    quotas: Quotas,
}

/// What programs are told when it is ready.
#[derive(Serialize)]
struct Ready<'a> {
    url: &'a str,
    namespace: &'a str,
}

pub(in crate::cli) async fn run(dev: Dev, context: &Context) -> Result<(), CommandError> {
    let mut signals = Signals::listen()?;
    let mut server = tokio::select! {
        started = PrivateServer::start(dev.port, dev.store_dir.as_deref()) => started?,
        _ = signals.next() => return Ok(()),
    };
    let done = tokio::select! {
        started = start(server.url(), &dev.quotas, context) => match started {
            Ok(coordinator) => serve_until_told(coordinator, &mut server, &dev, &mut signals, context).await,
            Err(error) => Err(error),
        },
        _ = signals.next() => Ok(()),
    };
    server.stop().await;
    done
}

/// A coordinator that leads.
async fn start(url: &str, quotas: &Quotas, context: &Context) -> Result<Coordinator, CommandError> {
    let options = ConnectOptions {
        urls: vec![url.to_owned()],
        name: Some("natslock dev".into()),
        keep_trying: true,
        ..ConnectOptions::default()
    };
    let config = serve::config(context, quotas)?.leader_lease(LEADER_LEASE);
    let mut coordinator = Coordinator::connect(&options, config, 1).await.map_err(serve::explain)?;
    if coordinator.ready().await { Ok(coordinator) } else { Err(ended("the coordinator")) }
}

async fn serve_until_told(
    mut coordinator: Coordinator,
    server: &mut PrivateServer,
    dev: &Dev,
    signals: &mut Signals,
    context: &Context,
) -> Result<(), CommandError> {
    tell(server.url(), dev, context)?;
    tokio::select! {
        _ = signals.next() => {}
        () = serve::stopped(&mut coordinator) => return Err(ended("the coordinator")),
        said = server.ended() => return Err(ended("the NATS server").hint(said)),
    }
    serve::resign(coordinator, signals).await
}

fn ended(what: &str) -> CommandError {
    CommandError::new(Kind::Internal, format!("{what} has ended by itself"))
}

fn tell(url: &str, dev: &Dev, context: &Context) -> Result<(), CommandError> {
    let (output, namespace) = (context.output, context.global.namespace.as_str());
    if output.json {
        return output.raw(&serde_json::to_vec(&Ready { url, namespace }).unwrap_or_default());
    }
    let store = match &dev.store_dir {
        Some(folder) => folder.display().to_string(),
        None => "a temporary folder, removed at the end".to_owned(),
    };
    output
        .line(format_args!("{GREEN}ready{GREEN:#}: a NATS server and a coordinator, to try natslock out"))?;
    output.fields([("server", url.to_owned()), ("namespace", namespace.to_owned()), ("store", store)])?;
    output.line("\nIn other terminals:")?;
    // Where other commands would look by themselves.
    if context.global.nats.join(",") != url {
        output.line(format_args!("  {BOLD}export NATS_URL={}{BOLD:#}", text::quoted(url)))?;
    }
    for words in [&["acquire", "demo"][..], &["acquire", "demo", "--wait", "1m"], &["watch"]] {
        output.line(format_args!("  {BOLD}{}{BOLD:#}", context.again.command_here(words)))?;
    }
    output.line("\nCtrl-C ends both")
}
