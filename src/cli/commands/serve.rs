//! `natslock serve`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use tokio::sync::watch;

use crate::cli::error::{CommandError, Kind};
use crate::cli::logging::LogFormat;
use crate::cli::quotas::Quotas;
use crate::cli::session::{explain_connect, explain_transport, named_credentials};
use crate::cli::signals::Signals;
use crate::cli::{Context, duration, http};
use crate::client::{Caller, Client, ClientOptions};
use crate::connect::ServeError;
use crate::nats::{ConnectError, ConnectOptions, Credentials};
use crate::service::{Config, Coordinator, Observer, StartError, Status};
use crate::store::StoreError;

/// Run a coordinator: it waits for NATS and JetStream, leads or stands by, and resigns on SIGTERM
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// Keep the locks on so many NATS servers, where the bucket has to be made
    #[arg(
        long,
        env = "NATSLOCK_REPLICAS",
        hide_env_values = true,
        value_name = "N",
        default_value = "1",
        value_parser = ["1", "3", "5"]
    )]
    replicas: String,
    /// Lead at most so long without a written sign of life; a successor waits it out before it expires anybody
    #[arg(
        long,
        env = "NATSLOCK_LEADER_LEASE",
        hide_env_values = true,
        value_name = "TIME",
        default_value = "12s",
        value_parser = duration::leader_lease,
        allow_hyphen_values = true
    )]
    leader_lease: Duration,
    /// Split the namespace into so many shards: only 1 in this version
    #[arg(
        long,
        env = "NATSLOCK_SHARDS",
        hide_env_values = true,
        value_name = "N",
        default_value = "1",
        value_parser = shards
    )]
    shards: u16,
    #[command(flatten)]
    quotas: Quotas,
    /// Answer each owner only in inboxes of its own: those that begin with the inbox prefix and the owner
    #[arg(
        long,
        env = "NATSLOCK_INBOX_PREFIX_PER_OWNER",
        hide_env_values = true,
        value_parser = FalseyValueParser::new()
    )]
    inbox_prefix_per_owner: bool,
    /// Serve figures for Prometheus, health and a view for people here, as in 127.0.0.1:8080. Whoever reaches
    /// this address sees the names of locks, their owners and notes
    #[arg(long, env = "NATSLOCK_HTTP", hide_env_values = true, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Let the view end leases by force
    #[arg(
        long,
        env = "NATSLOCK_HTTP_ADMIN",
        hide_env_values = true,
        requires = "http",
        value_parser = FalseyValueParser::new()
    )]
    http_admin: bool,
    /// Leave this out: to measure what it costs
    #[arg(long, hide = true, value_name = "PART", value_delimiter = ',')]
    without: Vec<Part>,
    /// Write the log so
    #[arg(
        long,
        env = "NATSLOCK_LOG_FORMAT",
        hide_env_values = true,
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(in crate::cli) log_format: LogFormat,
    #[command(flatten)]
    store: StoreAccess,
}

/// What a coordinator can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Figures,
    Events,
}

/// How to be let in to the store, where that is another user.
#[derive(Debug, clap::Args)]
#[command(
    next_help_heading = "Access to the store in the name of another user, so that no answer can write there"
)]
struct StoreAccess {
    /// Present this credentials file for the store
    #[arg(
        long,
        env = "NATSLOCK_STORE_CREDS",
        hide_env_values = true,
        value_name = "FILE",
        conflicts_with_all = ["store_nkey", "store_user"]
    )]
    store_creds: Option<PathBuf>,
    /// Sign with this nkey for the store: a file with its seed, or the seed itself
    #[arg(
        long,
        env = "NATSLOCK_STORE_NKEY",
        hide_env_values = true,
        value_name = "FILE",
        conflicts_with = "store_user"
    )]
    store_nkey: Option<String>,
    /// Log in as this user for the store
    #[arg(
        long,
        env = "NATSLOCK_STORE_USER",
        hide_env_values = true,
        value_name = "NAME",
        requires = "store_password"
    )]
    store_user: Option<String>,
    /// Log in with this password for the store
    #[arg(
        long,
        env = "NATSLOCK_STORE_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD",
        requires = "store_user"
    )]
    store_password: Option<String>,
}

impl StoreAccess {
    fn credentials(&self) -> Result<Option<Credentials>, CommandError> {
        let user = self.store_user.as_deref().zip(self.store_password.as_deref());
        named_credentials(self.store_creds.as_deref(), self.store_nkey.as_deref(), user)
    }
}

fn shards(typed: &str) -> Result<u16, String> {
    match typed {
        "1" => Ok(1),
        _ => Err("this version has one shard a namespace: only 1".to_owned()),
    }
}

pub(in crate::cli) async fn run(serve: Serve, context: &Context) -> Result<(), CommandError> {
    let mut signals = Signals::listen()?;
    let options = context.connect_options("serve").map_err(lasting)?;
    // The inboxes of a coordinator are its own; the option is about those that it answers to.
    let options = ConnectOptions { keep_trying: true, inbox_prefix: None, ..options };
    let store = serve.store.credentials().map_err(lasting)?;
    let store = store.map(|credentials| ConnectOptions {
        credentials,
        name: Some("natslock serve (store)".into()),
        ..options.clone()
    });
    tracing::info!(
        namespace = context.global.namespace.as_str(),
        replicas = serve.replicas,
        leader_lease = ?serve.leader_lease,
        shards = serve.shards,
        "natslock {} begins",
        env!("CARGO_PKG_VERSION"),
    );
    let config = config(context, &serve.quotas)?
        .leader_lease(serve.leader_lease)
        .reply_per_owner(serve.inbox_prefix_per_owner);
    let has = |part| !serve.without.contains(&part);
    let config = Config { counts: has(Part::Figures), tells: has(Part::Events), ..config };
    // One of the possible values, all of which are numbers.
    let replicas = serve.replicas.parse().unwrap_or(1);
    let site = site(&serve, context).await?;
    let mut coordinator = tokio::select! {
        started = Coordinator::connect_apart(&options, store.as_ref(), config, replicas) => {
            started.map_err(explain)?
        }
        signal = signals.next() => {
            tracing::info!(signal, "ending before anything began");
            return Ok(());
        }
    };
    tracing::info!("started: it leads whenever no other coordinator does");
    site.send_replace(Some(coordinator.observer()));
    let signal = tokio::select! {
        signal = signals.next() => signal,
        () = stopped(&mut coordinator) => {
            return Err(CommandError::new(Kind::Internal, "the coordinator has ended by itself"));
        }
    };
    tracing::info!(signal, "resigning");
    resign(coordinator, &mut signals).await?;
    tracing::info!("resigned");
    Ok(())
}

/// Serves HTTP where that is wanted, from now on: health is asked for while NATS is still waited for, too.
async fn site(serve: &Serve, context: &Context) -> Result<watch::Sender<Option<Observer>>, CommandError> {
    let (told, observer) = watch::channel(None);
    let Some(address) = serve.http else { return Ok(told) };
    let listener = http::listen(address).await.map_err(|error| {
        CommandError::new(Kind::Unfit, format!("cannot listen for HTTP on {address}: {error}"))
            .hint("give another --http ADDR")
    })?;
    let admin = if serve.http_admin { Some(admin(context)?) } else { None };
    let shown = listener.local_addr().unwrap_or(address);
    tracing::info!(address = %shown, admin = serve.http_admin, "serving HTTP: http://{shown}/");
    tokio::spawn(async move {
        if let Err(error) = http::serve(listener, http::Site::new(observer, admin)).await {
            tracing::error!(%error, "HTTP is no longer served");
        }
    });
    Ok(told)
}

/// Whoever ends leases for the view: on a connection of its own, with the permissions of this coordinator.
fn admin(context: &Context) -> Result<watch::Receiver<Option<Caller>>, CommandError> {
    let (told, caller) = watch::channel(None);
    let options = ConnectOptions { keep_trying: true, ..context.connect_options("serve --http-admin")? };
    let client = ClientOptions::new(context.owner()).namespace(context.global.namespace.clone());
    tokio::spawn(async move {
        match Client::connect_with(&options, client).await {
            Ok(client) => {
                told.send_replace(Some(client.caller().clone()));
                // The client lives as long as somebody may ask.
                told.closed().await;
            }
            Err(error) => tracing::error!(%error, "the view cannot release: no connection"),
        }
    });
    Ok(caller)
}

/// Waits until the coordinator ends by itself.
pub(super) async fn stopped(coordinator: &mut Coordinator) {
    while coordinator.changed().await != Status::Stopped {}
}

/// What the options say of any coordinator. Clients whose inboxes begin otherwise get no answers.
pub(super) fn config(context: &Context, quotas: &Quotas) -> Result<Config, CommandError> {
    let config = quotas.apply(Config::default().namespace(context.global.namespace.clone()));
    let Some(prefix) = &context.global.access.inbox_prefix else { return Ok(config) };
    let prefix = prefix.parse().map_err(|error| CommandError::new(Kind::Usage, format!("{error}")))?;
    Ok(config.reply_prefix(prefix))
}

/// Lets a successor act at once. A second signal ends the process without that.
pub(super) async fn resign(coordinator: Coordinator, signals: &mut Signals) -> Result<(), CommandError> {
    tokio::select! {
        () = coordinator.shutdown() => Ok(()),
        signal = signals.next() => {
            let message = format!("a second signal ({signal}): ended without having resigned");
            Err(CommandError::new(Kind::Internal, message))
        }
    }
}

/// What waiting cannot mend.
pub(in crate::cli) fn explain(error: ServeError) -> CommandError {
    match error {
        ServeError::Connect(error @ ConnectError::BadOption(_)) => lasting(explain_connect(error)),
        ServeError::Connect(error) => explain_connect(error),
        ServeError::Store(error) | ServeError::Start(StartError::Store(error)) => explain_store(&error),
        ServeError::Start(StartError::Transport(error)) => explain_transport(error),
        ServeError::Start(error @ (StartError::LeaderLease { .. } | StartError::Holders { .. })) => {
            CommandError::new(Kind::Usage, error.to_string())
        }
        ServeError::Thread(_) => CommandError::new(Kind::Internal, error.to_string()),
    }
}

pub(in crate::cli) fn explain_store(error: &StoreError) -> CommandError {
    let message = error.to_string();
    match error {
        StoreError::Unavailable(_) => CommandError::new(Kind::NoServer, message),
        StoreError::Refused(_) => CommandError::new(Kind::Unfit, message)
            .hint("waiting cannot mend this: change it on the NATS server, or serve another --namespace"),
    }
}

/// An option that cannot be used is found out late here, and ends the process as other lasting faults do.
fn lasting(error: CommandError) -> CommandError {
    CommandError::new(Kind::Unfit, error.message())
}
