//! `natslock bench`

use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::bench::overhead::{self, Pairs};
use crate::cli::bench::scale::{self, Subject};
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
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_values = ["w1", "w1-detached", "w2", "w3", "w4"])]
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
    /// Draw how long things took into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Let the clients work on so many threads
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
}

/// Another measurement, or a part that runs in a process of its own.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum BenchPart {
    Scale(Scale),
    Overhead(Overhead),
    /// Answer requests
    #[command(hide = true)]
    Echo {
        /// Where
        subject: String,
    },
    /// Serve so many namespaces
    #[command(hide = true)]
    Namespaces {
        /// How many
        count: usize,
    },
}

/// Measure what figures with the view, and what events cost, and how sure that is
///
/// Three coordinators share a private server: one without figures and events, one without figures, and one that does
/// all and is looked at. They take turns of some 50 ms, in all orders alike; what each did in its turns of one round
/// makes a pair. Told is what the pairs come to, and where the truth is with 95 % confidence. Figures may lower the
/// rate by 3 %.
#[derive(Debug, clap::Args)]
pub(crate) struct Overhead {
    /// Run only these workloads
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_values = ["w1", "w2", "w3"])]
    workload: Vec<Workload>,
    /// Take so many pairs of each; with fewer than 6 nothing is sure
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pairs: u16,
    /// Put each coordinator under load for so long in each round
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::bench, allow_hyphen_values = true)]
    seconds: Duration,
}

/// Measure how costs grow with what there is, on private servers: memory, processor, time
#[derive(Debug, clap::Args)]
pub(crate) struct Scale {
    /// Measure only these
    #[arg(
        value_name = "WHAT",
        default_values = ["held", "waiters", "takeover", "names", "namespaces"],
    )]
    subjects: Vec<Subject>,
    /// Go up to so many [default: 100000 held, 10000 waiters, 1000000 records and names, 100 namespaces]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    largest: Option<u32>,
    /// Draw the costs into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Bench {
    /// The threads of this process.
    pub(in crate::cli) fn threads(&self) -> usize {
        match &self.part {
            Some(BenchPart::Echo { .. }) => 1,
            _ => self.threads.into(),
        }
    }
}

pub(in crate::cli) async fn run(bench: Bench, context: &Context) -> Result<(), CommandError> {
    match &bench.part {
        Some(BenchPart::Echo { subject }) => {
            return echo(&context.connect_options("bench echo")?, subject).await;
        }
        Some(BenchPart::Namespaces { count }) => {
            let options = context.connect_options("bench namespaces")?;
            return scale::serve_namespaces(&options, *count, context.output).await;
        }
        Some(BenchPart::Scale(scale)) => return scale.run(context).await,
        Some(BenchPart::Overhead(overhead)) => return overhead.run(context).await,
        None => {}
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
    if let Some(path) = &bench.svg {
        write(path, &report.svg())?;
    }
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
    ProgressBar::new(steps as u64).with_style(style())
}

fn style() -> ProgressStyle {
    // The text is fixed, so the fallback is never taken.
    ProgressStyle::with_template("{bar:40.cyan} {pos}/{len} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
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

fn write(path: &Path, text: &str) -> Result<(), CommandError> {
    let failed = |error| CommandError::internal(format!("cannot write {}", path.display()), error);
    std::fs::write(path, text).map_err(failed)
}

impl Overhead {
    async fn run(&self, context: &Context) -> Result<(), CommandError> {
        let mut signals = Signals::listen()?;
        let pairs = Pairs { workloads: self.workload.clone(), count: self.pairs.into(), span: self.seconds };
        let bar = ProgressBar::new((pairs.workloads.len() * pairs.count) as u64).with_style(style());
        let measured = overhead::measure(&pairs, |workload| {
            bar.set_message(Step::Workload(workload).name());
            bar.inc(1);
        });
        let found = tokio::select! {
            found = measured => found?,
            signal = signals.next() => {
                return Err(CommandError::new(Kind::Interrupted, format!("interrupted by {signal}")));
            }
        };
        bar.finish_and_clear();
        match context.output.json {
            true => context.output.raw(&overhead::json(&found)),
            false => overhead::print(&found, context.output),
        }
    }
}

impl Scale {
    async fn run(&self, context: &Context) -> Result<(), CommandError> {
        let mut signals = Signals::listen()?;
        let points = tokio::select! {
            points = self.measure() => points?,
            signal = signals.next() => {
                return Err(CommandError::new(Kind::Interrupted, format!("interrupted by {signal}")));
            }
        };
        if let Some(path) = &self.svg {
            write(path, &points.svg())?;
        }
        match context.output.json {
            true => context.output.raw(&points.json()),
            false => scale::print(&points, context.output),
        }
    }

    async fn measure(&self) -> Result<scale::Points, CommandError> {
        let bar = ProgressBar::new(self.subjects.len() as u64).with_style(style());
        let mut points = scale::Points::default();
        for subject in &self.subjects {
            bar.set_message(format!("{subject:?}").to_lowercase());
            points.extend(scale::measure(*subject, self.largest(*subject)).await?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(points)
    }

    fn largest(&self, subject: Subject) -> usize {
        let usual = match subject {
            Subject::Held => 100_000,
            Subject::Waiters => 10_000,
            Subject::Takeover | Subject::Names => 1_000_000,
            Subject::Namespaces => 100,
        };
        self.largest.map_or(usual, |largest| usual.min(largest as usize))
    }
}
