//! The log, on the standard error stream.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

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
        LogFormat::Text => log.with_ansi(colour).with_target(false).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
