//! `natslock bench`

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::bench::{Demand, Measurement, Report, Site, Step, Workload, echo, measure, print};
use crate::cli::error::{CommandError, Kind};
use crate::cli::signals::Signals;
use crate::cli::{Context, duration};

/// Measure locks beside what NATS itself takes in the same run: a request and reply (L1), a compare-and-set (L2)
///
/// It starts a NATS server and a coordinator of its own, on 127.0.0.1, with a store in a temporary folder (TMPDIR
/// says where). With --nats on the command line it loads what serves the --namespace there instead; NATS_URL
/// alone does not make it do that.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    part: Option<BenchPart>,
    /// Run only these workloads
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_values = ["w1", "w2", "w3", "w4"])]
    workload: Vec<Workload>,
    /// Take each measurement so often, in turn, and tell the medians
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    reps: u16,
    /// Measure so long each time
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::bench, allow_hyphen_values = true)]
    seconds: Duration,
    /// Let JetStream write to the disk before it acknowledges, as in production
    #[arg(long)]
    sync: bool,
    /// Keep the locks on so many private NATS servers
    #[arg(long, value_name = "N", default_value = "1", value_parser = ["1", "3", "5"])]
    replicas: String,
    /// Let the clients work on so many threads
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
}

/// A part that runs in a process of its own.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum BenchPart {
    /// Answer requests
    #[command(hide = true)]
    Echo {
        /// Where
        subject: String,
    },
}

impl Bench {
    /// The threads of this process.
    pub(in crate::cli) fn threads(&self) -> usize {
        if self.part.is_some() { 1 } else { self.threads.into() }
    }
}

pub(in crate::cli) async fn run(bench: Bench, context: &Context) -> Result<(), CommandError> {
    if let Some(BenchPart::Echo { subject }) = &bench.part {
        return echo(&context.connect_options("bench echo")?, subject).await;
    }
    let mut signals = Signals::listen()?;
    let measurement = bench.measurement();
    let private = !context.again.servers_were_typed();
    if !private && (measurement.demand.sync || measurement.demand.replicas > 1) {
        return Err(CommandError::new(Kind::Usage, "--sync and --replicas are for private servers")
            .hint("leave out --nats, or leave it to the servers there"));
    }
    let report = tokio::select! {
        report = take(&measurement, private, context) => report?,
        signal = signals.next() => {
            return Err(CommandError::new(Kind::Interrupted, format!("interrupted by {signal}")));
        }
    };
    if context.output.json { context.output.raw(&report.json()) } else { print(&report, context.output) }
}

async fn take(measurement: &Measurement, private: bool, context: &Context) -> Result<Report, CommandError> {
    let mut site = if private { Site::private(measurement.demand).await? } else { Site::given(context)? };
    let bar = bar(measurement);
    let measured = measure(&mut site, measurement, |repetition, step| {
        bar.set_message(format!("{}, {} of {}", step.name(), repetition + 1, measurement.repetitions));
        bar.inc(1);
    })
    .await;
    bar.finish_and_clear();
    match measured {
        Ok(measured) => {
            site.stop().await;
            Ok(Report::new(measurement.clone(), private, measured))
        }
        Err(error) => Err(site.explain(error).await),
    }
}

fn bar(measurement: &Measurement) -> ProgressBar {
    let steps = Step::all(&measurement.workloads).len() * measurement.repetitions + 1;
    // The text is fixed, so the fallback is never taken.
    let style = ProgressStyle::with_template("{bar:40.cyan} {pos}/{len} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(steps as u64).with_style(style)
}

impl Bench {
    fn measurement(&self) -> Measurement {
        let mut workloads = self.workload.clone();
        workloads.sort_unstable();
        workloads.dedup();
        // One of the possible values, all of which are numbers.
        let replicas = self.replicas.parse().unwrap_or(1);
        Measurement {
            demand: Demand { sync: self.sync, replicas },
            workloads,
            repetitions: self.reps.into(),
            span: self.seconds,
        }
    }
}
