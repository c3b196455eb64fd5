//! The log, on the standard error stream.

use clap::ValueEnum;
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Sets the log up. `NATSLOCK_LOG`, or else `RUST_LOG`, says what is logged; without them, `filter`.
pub(super) fn init(format: LogFormat, filter: &str) {
    let chosen = ["NATSLOCK_LOG", "RUST_LOG"].into_iter().find_map(|name| {
        let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
        EnvFilter::try_new(text).ok()
    });
    let filter = chosen.unwrap_or_else(|| EnvFilter::new(filter));
    let colour = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            log.with_ansi(colour).with_target(false).finish().with(filter_fn(tells_no_secret)).init();
        }
        LogFormat::Json => log.json().flatten_event(true).finish().with(filter_fn(tells_no_secret)).init(),
    }
}

/// The library for NATS traces every message whole, with the ids in it, and the passwords of the connection:
/// nobody is shown that, whatever is asked for.
fn tells_no_secret(event: &Metadata<'_>) -> bool {
    *event.level() != Level::TRACE || !event.target().starts_with("async_nats")
}
