//! Many namespaces in one process: a coordinator each.

use std::time::Duration;

use futures_util::future::try_join_all;

use super::{Points, Watch, memory};
use crate::cli::bench::site::{Site, ourselves};
use crate::cli::commands::serve::explain;
use crate::cli::error::{CommandError, Kind};
use crate::clock::{Clock as _, SystemClock};
use crate::nats::ConnectOptions;
use crate::service::{Config, Coordinator};
use crate::types::Namespace;

const WATCH_FOR: Duration = Duration::from_secs(5);
/// What the process says when all of its coordinators lead.
const LEADING: &str = "all lead";

pub(super) async fn measure(site: &Site, sizes: &[usize]) -> Result<Points, CommandError> {
    let mut points = Points::default();
    for size in sizes {
        let began = SystemClock::boot();
        let urls = site.options.urls.join(",");
        let mut keeper = ourselves(["bench", "namespaces", &size.to_string(), "--nats", &urls]).await?;
        while let Some(line) = keeper.line().await {
            if line == LEADING {
                break;
            }
        }
        let took = SystemClock::boot().since(began).as_secs_f64() * 1e3;
        points.add("start of namespaces", *size, took, "ms");
        let process = keeper.daemon();
        points.add("memory of namespaces", *size, memory(process.pid) / 1024.0, "KiB");
        let watch = Watch::start(process.pid);
        SystemClock.sleep_until(SystemClock::boot() + WATCH_FOR).await;
        points.add("idle namespaces", *size, watch.share() * 100.0, "% of a processor");
        if process.has_ended() {
            let message = "the process of many namespaces has ended by itself";
            return Err(CommandError::new(Kind::Internal, message).hint(process.stop().await));
        }
        process.stop().await;
    }
    Ok(points)
}

/// Serves so many namespaces until it is ended.
pub(in crate::cli) async fn serve(
    options: &ConnectOptions,
    count: usize,
    output: crate::cli::output::Output,
) -> Result<(), CommandError> {
    let options = ConnectOptions { keep_trying: true, ..options.clone() };
    let start = |number: usize| {
        let options = options.clone();
        async move {
            // Of another count: a run's namespaces are its own.
            let namespace: Result<Namespace, _> = format!("bench-{count}-{number}").parse();
            let namespace = namespace.map_err(|error| CommandError::internal("no namespace", error))?;
            let config = Config::default().namespace(namespace);
            let mut coordinator = Coordinator::connect(&options, config, 1).await.map_err(explain)?;
            coordinator.ready().await;
            Ok::<_, CommandError>(coordinator)
        }
    };
    let coordinators = try_join_all((0..count).map(start)).await?;
    output.line(LEADING)?;
    std::future::pending::<()>().await;
    drop(coordinators);
    Ok(())
}
