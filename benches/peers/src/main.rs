//! natslock beside the locks that people use today: the workloads of `natslock bench`, all on one machine, in one
//! run, in turn.
//!
//! `cargo run --release -- [--reps N] [--seconds S] [--peers NAME,NAME]` prints the README's table. `./setup` gets
//! the servers.

mod peers;
mod process;
mod race;
mod stats;
mod table;

use std::time::Duration;

use peers::{ALL, Contestant};
use race::Workload;
use stats::Figures;
use table::Row;

pub type Result<V> = std::result::Result<V, Box<dyn std::error::Error + Send + Sync>>;

struct Arguments {
    repetitions: usize,
    span: Duration,
    peers: Vec<String>,
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [part, url] = &words[..]
        && part == "coordinator"
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        return runtime.block_on(peers::coordinator(url));
    }
    let arguments = parse(&words)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let rows = runtime.block_on(measure(&arguments));
    // Connections that are still open are not waited for.
    runtime.shutdown_background();
    table::print(&rows?);
    Ok(())
}

fn parse(words: &[String]) -> Result<Arguments> {
    let mut arguments = Arguments {
        repetitions: 5,
        span: Duration::from_secs(1),
        peers: ALL.iter().map(|(name, _)| (*name).to_owned()).collect(),
    };
    for pair in words.chunks(2) {
        match pair {
            [option, value] if option == "--reps" => arguments.repetitions = value.parse()?,
            [option, value] if option == "--seconds" => {
                arguments.span = Duration::from_secs_f64(value.parse()?)
            }
            [option, value] if option == "--peers" => {
                arguments.peers = value.split(',').map(str::to_owned).collect();
            }
            _ => return Err("usage: peers [--reps N] [--seconds S] [--peers NAME,NAME]".into()),
        }
    }
    let known: Vec<_> = ALL.iter().map(|(name, _)| *name).collect();
    match arguments.peers.iter().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(format!("{unknown} is none of {}", known.join(", ")).into()),
        None => Ok(arguments),
    }
}

/// One that takes part, and what it has shown so far.
struct Entrant {
    contestant: Box<dyn Contestant>,
    figures: [Vec<Figures>; 4],
    /// What went wrong; from then on it does not take part.
    failed: Option<String>,
}

impl Entrant {
    async fn run(&mut self, number: usize, workload: Workload, span: Duration) {
        if self.failed.is_some() {
            return;
        }
        match self.contestant.run(workload, span).await {
            Ok(sample) => self.figures[number].push(sample.figures(span)),
            Err(error) => {
                eprintln!("{} in {workload:?}: {error}", self.contestant.name());
                self.failed = Some(format!("{workload:?}: {error}"));
            }
        }
    }

    fn row(&self) -> Row {
        let median = |figures: &Vec<Figures>| (!figures.is_empty()).then(|| Figures::medians(figures));
        Row {
            class: self.contestant.class(),
            name: self.contestant.name(),
            figures: self.figures.each_ref().map(median),
            failed: self.failed.clone(),
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<Vec<Row>> {
    let mut entrants = Vec::new();
    for (name, start) in ALL.iter().filter(|(name, _)| arguments.peers.iter().any(|chosen| chosen == name)) {
        eprintln!("starting {name}");
        let contestant = start().await.map_err(|error| format!("{name}: {error} (have you run ./setup?)"))?;
        entrants.push(Entrant { contestant, figures: Default::default(), failed: None });
    }
    for repetition in 0..arguments.repetitions {
        eprintln!("repetition {} of {}", repetition + 1, arguments.repetitions);
        for (number, workload) in Workload::ALL.into_iter().enumerate() {
            for entrant in &mut entrants {
                entrant.run(number, workload, arguments.span).await;
            }
        }
    }
    Ok(entrants.iter().map(Entrant::row).collect())
}
