//! The command line: what is typed, what is printed, and the exit code.

mod again;
mod args;
mod bench;
mod commands;
mod describe;
mod duration;
mod error;
mod exit;
mod http;
mod keeper;
mod logging;
mod output;
mod private_server;
mod quotas;
mod run;
mod session;
mod signals;
mod text;
mod top;
mod torture;
mod waiting;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _};

use self::again::Again;
use self::args::{Command, CommandLine, Global};
use self::commands::{
    acquire, admin, bench as bench_command, check, dev, info, list, release, renew, serve, stats, watch,
};
use self::error::{CommandError, Kind};
use self::exit::{Codes, Exit};
use self::logging::LogFormat;
use self::output::Output;

/// What a command needs besides its own arguments.
#[derive(Debug)]
struct Context {
    global: Global,
    output: Output,
    again: Again,
}

/// Runs the command of this process's command line.
pub fn main() -> ExitCode {
    let codes = codes();
    // A panic has told about itself.
    catch_unwind(AssertUnwindSafe(|| run(codes))).unwrap_or_else(|_| Exit::Internal.code(codes)).into()
}

/// Which exit codes are asked for, also by a command line that makes no sense otherwise.
fn codes() -> Codes {
    let lenient = CommandLine::command().ignore_errors(true).try_get_matches().ok();
    let is_run = match lenient.as_ref().and_then(clap::ArgMatches::subcommand_name) {
        Some(name) => name == "run",
        // An option before the command makes no sense.
        None => std::env::args_os().take_while(|word| word != "--").any(|word| word == "run"),
    };
    if is_run { Codes::Run } else { Codes::General }
}

fn run(codes: Codes) -> u8 {
    let command = CommandLine::command();
    let parsed = command.clone().try_get_matches().and_then(|matches| {
        let again = Again::new(&command, &matches);
        CommandLine::from_arg_matches(&matches).map(|line| (line, again))
    });
    let (line, again) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return misunderstood(&error, codes).code(codes),
    };
    // The standard output is for what `run` runs.
    let output = Output { json: line.global.json && codes != Codes::Run };
    let context = Context { global: line.global, output, again };
    match carry_out(line.command, &context) {
        Ok(code) => code,
        Err(error) => told(&error, output).code(codes),
    }
}

/// Carries out a command, and returns its exit code.
fn carry_out(command: Command, context: &Context) -> Result<u8, CommandError> {
    let (log_format, filter) = match &command {
        Command::Serve(serve) => (serve.log_format, "info,async_nats=warn"),
        Command::Dev(_) => (LogFormat::Text, "error,async_nats=off"),
        Command::Torture(_) => (LogFormat::Text, "error,natslock::cli=info,async_nats=off"),
        Command::TortureWorker(_) => (LogFormat::Text, "info,async_nats=warn"),
        _ => (LogFormat::Text, "off"),
    };
    logging::init(log_format, filter);
    let mut runtime = match &command {
        Command::Serve(_) | Command::Dev(_) | Command::Torture(_) => {
            tokio::runtime::Builder::new_multi_thread()
        }
        Command::Bench(bench) => runtime_of(bench.threads()),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime.enable_all().build();
    let runtime = runtime.map_err(|error| CommandError::internal("cannot start", error))?;
    let done = runtime.block_on(async {
        match command {
            Command::Run(run) => return commands::run::run(run, context).await,
            Command::Serve(serve) => serve::run(serve, context).await,
            Command::Dev(dev) => dev::run(dev, context).await,
            Command::Acquire(acquire) => acquire::run(acquire, context).await,
            Command::Release(release) => release::run(release, context).await,
            Command::Renew(renew) => renew::run(renew, context).await,
            Command::Check(check) => check::run(check, context).await,
            Command::List(list) => list::run(list, context).await,
            Command::Watch(watch) => watch::run(watch, context).await,
            Command::Stats(stats) => stats::run(stats, context).await,
            Command::Top(top) => commands::top::run(top, context).await,
            Command::Info => info::run(context).await,
            Command::Bench(bench) => bench_command::run(bench, context).await,
            Command::Admin(admin) => admin::run(admin, context).await,
            Command::Torture(torture) => commands::torture::run(torture, context).await,
            Command::TortureWorker(worker) => torture::run_worker(worker, context).await,
        }
        .map(|()| Exit::Done.code(Codes::General))
    });
    // What still runs is not waited for.
    runtime.shutdown_background();
    done
}

fn runtime_of(threads: usize) -> tokio::runtime::Builder {
    if threads == 1 {
        return tokio::runtime::Builder::new_current_thread();
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(threads);
    runtime
}

/// Tells why a command failed, and returns its exit code.
fn told(error: &CommandError, output: Output) -> Exit {
    if *error.kind() != Kind::NobodyReads {
        if output.json {
            // If that fails, the exit code still tells.
            let _ = output.raw(&error.json());
        } else {
            error.report();
        }
    }
    error.exit()
}

/// A command line that makes no sense, or one that asks for help.
fn misunderstood(error: &clap::Error, codes: Codes) -> Exit {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !asked && codes != Codes::Run && wants_json() {
        let text = error.render().to_string();
        let what: Vec<&str> = text.lines().take_while(|line| !is_advice(line)).collect();
        let message = what.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
        let message = message.strip_prefix("error: ").unwrap_or(&message).to_owned();
        return told(&CommandError::new(Kind::Usage, message), Output { json: true });
    }
    // Where nobody reads it, there is nobody to tell.
    let _ = error.print();
    if asked { Exit::Done } else { Exit::Usage }
}

/// What stands below the error itself.
fn is_advice(line: &str) -> bool {
    line.starts_with("Usage:") || line.starts_with("For more information")
}

/// Whether JSON is asked for on a command line that could not be read.
fn wants_json() -> bool {
    let falsey = ["", "0", "n", "no", "f", "false", "off"];
    let variable = std::env::var("NATSLOCK_JSON").unwrap_or_default();
    std::env::args_os().any(|word| word == "--json") || !falsey.contains(&variable.to_lowercase().as_str())
}
