//! Counts the instructions of each operation under valgrind and compares them with `baseline.txt`: a number that
//! has grown by more than a tenth is an error. Unlike times, these numbers are the same on a busy machine.
//!
//! `cargo run --release --manifest-path benches/hot/Cargo.toml` checks; with `-- --save` behind it the baseline is
//! written anew, which is for changes that are worth their price: say so in the commit.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use hot::{Operation, operations};

const GROWTH_MAX: f64 = 0.10;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<ExitCode, Error> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", name, times] => run(name, times.parse()?),
        ["--save"] => {
            std::fs::write(baseline_path(), text(&count_all()?))?;
            Ok(ExitCode::SUCCESS)
        }
        [] => compare(&count_all()?, &parse(&std::fs::read_to_string(baseline_path())?)?),
        _ => Err("usage: hot [--save]".into()),
    }
}

fn baseline_path() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.txt"))
}

/// What valgrind looks at.
fn run(name: &str, times: usize) -> Result<ExitCode, Error> {
    let operation =
        operations().into_iter().find(|operation| operation.name == name).ok_or("no such operation")?;
    let mut run = (operation.prepare)();
    for _ in 0..times {
        run();
    }
    Ok(ExitCode::SUCCESS)
}

fn count_all() -> Result<BTreeMap<String, u64>, Error> {
    operations().iter().map(|operation| Ok((operation.name.to_owned(), count(operation)?))).collect()
}

/// Instructions of one run: what so many more of them add.
fn count(operation: &Operation) -> Result<u64, Error> {
    let times = operation.repetitions;
    let (few, many) = (instructions(operation.name, times)?, instructions(operation.name, 2 * times)?);
    Ok(many.saturating_sub(few) / times as u64)
}

fn instructions(name: &str, times: usize) -> Result<u64, Error> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(std::env::current_exe()?);
    let output = valgrind.args(["run", name, &times.to_string()]).output();
    let output = output.map_err(|error| format!("cannot run valgrind: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{name}: {told}").into());
    }
    let line =
        told.lines().find_map(|line| line.split_once("Collected : ")).ok_or("valgrind told no count")?;
    Ok(line.1.trim().parse()?)
}

fn text(counts: &BTreeMap<String, u64>) -> String {
    let mut text = String::new();
    for (name, count) in counts {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{count:>9}  {name}");
    }
    text
}

fn parse(text: &str) -> Result<BTreeMap<String, u64>, Error> {
    let line = |line: &str| -> Result<(String, u64), Error> {
        let (count, name) = line.trim().split_once("  ").ok_or_else(|| format!("not a count: {line}"))?;
        Ok((name.to_owned(), count.parse()?))
    };
    text.lines().map(line).collect()
}

/// Tells all of them, and fails where one has grown too much, is new, or is gone.
fn compare(found: &BTreeMap<String, u64>, baseline: &BTreeMap<String, u64>) -> Result<ExitCode, Error> {
    let mut failed = found.keys().ne(baseline.keys());
    if failed {
        println!("the baseline is of other operations");
    }
    for (name, count) in found {
        let Some(before) = baseline.get(name) else { continue };
        let growth = *count as f64 / *before as f64 - 1.0;
        let verdict = if growth > GROWTH_MAX { "  TOO MUCH" } else { "" };
        println!("{count:>9}  {:+6.1} %  {name}{verdict}", growth * 100.0);
        failed |= growth > GROWTH_MAX;
    }
    if failed {
        println!(
            "if that is worth its price: cargo run --release --manifest-path benches/hot/Cargo.toml -- --save"
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn the_baseline_is_read_as_it_is_written() {
        let written = counts(&[("a: b, c", 12), ("d", 1_234_567)]);
        assert_eq!(parse(&text(&written)).unwrap(), written);
        assert!(parse("12\n").is_err());
    }

    #[test]
    fn a_tenth_more_is_too_much() {
        let baseline = counts(&[("a", 1_000), ("b", 1_000)]);
        let verdict = |a, b| compare(&counts(&[("a", a), ("b", b)]), &baseline).unwrap();
        assert_eq!(verdict(1_100, 10), ExitCode::SUCCESS);
        assert_eq!(verdict(1_000, 1_101), ExitCode::FAILURE);
        assert_eq!(compare(&counts(&[("a", 1_000)]), &baseline).unwrap(), ExitCode::FAILURE);
    }
}
