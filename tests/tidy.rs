//! The rules of the house that no compiler keeps. Each says why, and each failure where and what to do.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What each module may use of the crate; the later never stand in the line of an earlier. `store` and `clock`
/// may also use `engine::message`, the values that an engine speaks in.
const MAY_USE: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("mutant", &[]),
    ("engine", &["types", "mutant"]),
    ("clock", &["types", "engine::message"]),
    ("wire", &["types", "engine"]),
    ("measures", &["types", "engine", "wire"]),
    ("store", &["types", "clock", "engine::message"]),
    ("transport", &["types", "clock"]),
    ("nats", &["types", "engine", "clock", "wire", "store", "transport"]),
    ("service", &["mutant", "types", "engine", "clock", "wire", "measures", "store", "transport"]),
    ("client", &["mutant", "types", "engine", "clock", "wire", "store", "transport", "service"]),
    ("connect", &["types", "clock", "wire", "store", "transport", "nats", "service", "client"]),
    ("blocking", &["types", "engine", "clock", "nats", "service", "client", "connect"]),
    (
        "cli",
        &[
            "types",
            "engine",
            "clock",
            "wire",
            "measures",
            "store",
            "transport",
            "nats",
            "service",
            "client",
            "connect",
        ],
    ),
];
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 400;
/// Files that may be longer, and why.
const LONG_FILES: &[(&str, usize, &str)] =
    &[("engine/message.rs", 600, "one line of docs for one of data: all that goes in and out, in one place")];

/// One source file, without comments, literals and test modules where a rule looks at code only.
struct Source {
    path: PathBuf,
    text: String,
    /// The same lines with comments and the content of literals blanked.
    code: String,
    /// Where the test module begins, as a count of lines.
    tested_from: usize,
}

impl Source {
    fn load(root: &Path, path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let code = blank(&text);
        let tested_from = if path.ends_with("tests.rs") { 0 } else { tests_begin(&code) };
        Self { path: path.strip_prefix(root).unwrap().to_owned(), text, code, tested_from }
    }

    /// The first folder, or the name of a file right in `src`.
    fn module(&self) -> String {
        let first = self.path.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        first.trim_end_matches(".rs").to_owned()
    }

    /// Numbered lines of code in front of the tests.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().take(self.tested_from).map(|(index, line)| (index + 1, line))
    }

    fn place(&self, line: usize) -> String {
        format!("src/{}:{line}", self.path.display())
    }

    fn is(&self, path: &str) -> bool {
        self.path == Path::new(path)
    }
}

/// The line of a test module that stands in the file itself; one in a file of its own hides nothing here.
fn tests_begin(code: &str) -> usize {
    let lines: Vec<_> = code.lines().map(str::trim).collect();
    let begins = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{');
    lines.windows(2).position(begins).unwrap_or(lines.len())
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                sources.push(Source::load(&root, &path));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// Comments and the content of strings become blanks, so that only code is left, line by line.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let (mut code, mut index) = (String::with_capacity(text.len()), 0);
    while index < chars.len() {
        let end = match (at(index), at(index + 1)) {
            ('/', '/') => find(&chars, index, "\n").0,
            ('/', '*') => find(&chars, index + 2, "*/").1,
            ('r', '#') if at(index + 2) == '"' => find(&chars, index + 3, "\"#").1,
            ('r', '"') => find(&chars, index + 2, "\"").1,
            ('"', _) => end_of_string(&chars, index + 1),
            ('\'', '\\') => find(&chars, index + 3, "'").1,
            ('\'', _) if at(index + 2) == '\'' => index + 3,
            _ => index,
        };
        if end == index {
            code.push(at(index));
            index += 1;
        }
        while index < end {
            code.push(if at(index) == '\n' { '\n' } else { ' ' });
            index += 1;
        }
    }
    code
}

/// Where `what` begins and ends, from `index` on; the end of the text where it does not.
fn find(chars: &[char], index: usize, what: &str) -> (usize, usize) {
    let what: Vec<char> = what.chars().collect();
    let found = (index..chars.len()).find(|start| chars[*start..].starts_with(&what));
    found.map_or((chars.len(), chars.len()), |start| (start, start + what.len()))
}

fn end_of_string(chars: &[char], mut index: usize) -> usize {
    while index < chars.len() && chars[index] != '"' {
        index += if chars[index] == '\\' { 2 } else { 1 };
    }
    (index + 1).min(chars.len())
}

/// True where `word` stands in the line as a whole.
fn names(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.match_indices(word).any(|(index, _)| {
        let before = line[..index].chars().next_back();
        let after = line[index + word.len()..].chars().next();
        !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
    })
}

fn judge(why: &str, failures: Vec<String>) {
    let mut told = String::new();
    for failure in &failures {
        let _ = writeln!(told, "  {failure}");
    }
    assert!(failures.is_empty(), "{why}\n{told}");
}

/// What code uses of the crate, and in which line: `crate::a::b`, and `crate::{a::b, c::{d, e}}` as `a::b`, `c::`.
fn uses(code: &str) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for (index, prefix) in code.match_indices("crate::") {
        let line = code[..index].matches('\n').count() + 1;
        let rest = &code[index + prefix.len()..];
        let (mut depth, mut path) = (0, String::new());
        for c in rest.chars() {
            match c {
                '{' if depth == 0 && !path.is_empty() => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => used.push((line, std::mem::take(&mut path))),
                c if depth < 2 && (c.is_ascii_alphanumeric() || matches!(c, '_' | ':')) => path.push(c),
                c if depth > 0 && (c.is_whitespace() || depth > 1 || c == '*') => {}
                _ => break,
            }
            if c == '}' && depth == 0 {
                break;
            }
        }
        used.push((line, path));
    }
    used.retain(|(_, path)| !path.is_empty());
    used
}

fn may_use(module: &str, path: &str) -> bool {
    let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else { return false };
    let path = path.trim_end_matches(':');
    let under = |allowed: &&str| path == *allowed || path.starts_with(&format!("{allowed}::"));
    path == module || path.starts_with(&format!("{module}::")) || allowed.iter().any(under)
}

#[test]
fn dependencies_point_one_way() {
    let why = "Dependencies point one way (STYLE.md), so that each layer can be read and tested without those above.";
    let mut failures = Vec::new();
    for source in sources() {
        let module = source.module();
        if matches!(module.as_str(), "lib" | "main" | "docs") {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            let place = source.place(1);
            failures.push(format!("{place}: add the module {module} to MAY_USE in tests/tidy.rs"));
            continue;
        };
        let code: Vec<_> = source.lines().map(|(_, text)| text).collect();
        for (line, path) in uses(&code.join("\n")).iter().filter(|(_, path)| !may_use(&module, path)) {
            let place = source.place(*line);
            failures.push(format!(
                "{place}: {module} may use {allowed:?}, not {path}; move what is shared down, or the code up"
            ));
        }
    }
    judge(why, failures);
}

/// A word that may stand in some files only.
fn only_in(why: &str, words: &[&str], mend: &str, allowed: impl Fn(&Source) -> bool) {
    let mut failures = Vec::new();
    for source in sources().iter().filter(|source| !allowed(source)) {
        for (line, text) in source.lines() {
            for word in words.iter().filter(|word| names(text, word)) {
                failures.push(format!("{}: {word}: {mend}", source.place(line)));
            }
        }
    }
    judge(why, failures);
}

#[test]
fn async_nats_is_named_in_one_place() {
    only_in(
        "Everything but src/nats/ runs without NATS, in memory and in the simulator.",
        &["async_nats"],
        "use the store or the transport port, and implement it under src/nats/",
        |source| source.module() == "nats",
    );
}

#[test]
fn serde_stays_at_the_edge() {
    only_in(
        "What is inside is not what is on the wire or on the disk: each format has one home.",
        &["serde", "rmp_serde", "serde_json"],
        "keep the type plain and give it a format in src/wire/",
        |source| matches!(source.module().as_str(), "wire" | "nats" | "cli"),
    );
}

#[test]
fn one_file_reads_the_clock() {
    only_in(
        "Leases are reckoned by one clock, which counts suspend, and tests set the time (S1).",
        &["SystemTime", "Instant", "clock_gettime", "tokio::time", "thread::sleep"],
        "take the time as an argument, or use crate::clock",
        |source| source.is("clock.rs"),
    );
}

#[test]
fn ids_are_made_in_one_file() {
    only_in(
        "Where chance comes in one can see at a glance, and a seed reproduces everything else.",
        &["Uuid::new_v4"],
        "use LeaseId::random or CoordinatorId::random at the edge, and pass the id on",
        |source| source.is("types/id.rs"),
    );
}

#[test]
fn nothing_is_left_lying_about() {
    let why = "What is unfinished is said in an issue, not in the code.";
    // In two parts, so that this file would pass.
    let marks = [["to", "do!"], ["FIX", "ME"], ["XX", "X"], ["#[ign", "ore"], ["unimple", "mented!"]];
    let mut failures = Vec::new();
    for source in sources() {
        for (index, text) in source.text.lines().enumerate() {
            for mark in marks.iter().map(|parts| parts.concat()).filter(|mark| text.contains(mark)) {
                let place = source.place(index + 1);
                failures.push(format!("{place}: {mark}: finish it, or open an issue and take the mark out"));
            }
        }
    }
    judge(why, failures);
}

#[test]
fn files_are_short() {
    let why = "A file of a few hundred lines has one subject, and is read to its end.";
    let long = |source: &Source| {
        let excepted = LONG_FILES.iter().find(|(path, ..)| source.is(path));
        let max = excepted.map_or(FILE_LINES_MAX, |(_, lines, _)| *lines);
        (source.tested_from > max).then_some(source.tested_from)
    };
    let sources = sources();
    let failures = sources.iter().filter_map(|source| {
        let lines = long(source)?;
        let place = source.place(lines);
        Some(format!(
            "{place}: {lines} lines without its tests, {FILE_LINES_MAX} at most: split it by subject"
        ))
    });
    judge(why, failures.collect());
}

/// Name, first line and length of each function: from `fn` to the brace at the same depth.
fn functions(source: &Source) -> Vec<(String, usize, usize)> {
    let mut functions = Vec::new();
    let lines: Vec<_> = source.lines().collect();
    for (index, (number, text)) in lines.iter().enumerate() {
        let Some(start) = text.find("fn ").filter(|_| names(text, "fn")) else { continue };
        let name = text[start + 3..].split(['(', '<']).next().unwrap_or_default().to_owned();
        let (mut depth, mut opened) = (0_i32, false);
        for (end, text) in lines.iter().map(|(_, text)| text).enumerate().skip(index) {
            let text = if end == index { &text[start..] } else { text };
            for c in text.chars() {
                depth += i32::from(matches!(c, '{' | '(' | '[')) - i32::from(matches!(c, '}' | ')' | ']'));
                opened |= c == '{';
                if depth == 0 && c == ';' {
                    // A declaration without a body.
                    opened = true;
                }
            }
            if opened && depth <= 0 {
                functions.push((name.clone(), *number, end - index + 1));
                break;
            }
        }
    }
    functions
}

#[test]
fn functions_are_short() {
    let why = "A function that fits on a screen is read as a whole; hardly any needs more (STYLE.md).";
    let mut failures = Vec::new();
    for source in sources() {
        for (name, line, lines) in functions(&source) {
            if lines > FUNCTION_LINES_MAX {
                let place = source.place(line);
                failures.push(format!(
                    "{place}: {name} has {lines} lines, {FUNCTION_LINES_MAX} at most: give its parts names"
                ));
            }
        }
    }
    judge(why, failures);
}

#[test]
fn the_rules_see_what_they_look_for() {
    let used = |code: &str| uses(code).into_iter().map(|(_, path)| path).collect::<Vec<_>>();
    assert_eq!(used("use crate::{\n    types::{Key, Ttl},\n    wire,\n};"), ["types::", "wire"]);
    assert_eq!(used("let x: crate::store::Write = f(a, b);"), ["store::Write"]);
    assert_eq!(used("f(crate::a::b, c)"), ["a::b"]);
    assert!(may_use("store", "engine::message::WriteOutcome") && !may_use("store", "engine::Engine"));
    assert!(!may_use("types", "wire::record") && !may_use("unknown", "types"));
    assert!(names("use async_nats::Client;", "async_nats") && !names("not_async_nats_at_all", "async_nats"));
    assert_eq!(blank("a // b\n\"c\\\"d\" 'e' /* f\ng */ h"), "a     \n               \n     h");
    let text = "fn long(a: u8) {\n    a;\n}\nfn next();\n".to_owned();
    let source = Source { path: PathBuf::from("x.rs"), code: text.clone(), text, tested_from: 4 };
    assert_eq!(functions(&source), [("long".to_owned(), 1, 3), ("next".to_owned(), 4, 1)]);
}

#[test]
fn dependencies_build_with_the_rust_that_is_promised() {
    let why =
        "Cargo.toml promises a version of Rust; a dependency that needs a newer one breaks the promise.";
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--locked", "--offline"]);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let number =
        |version: &str| -> Vec<u32> { version.split('.').map(|part| part.parse().unwrap()).collect() };
    let promised = number(env!("CARGO_PKG_RUST_VERSION"));
    let packages = metadata["packages"].as_array().unwrap();
    let newer = packages.iter().filter_map(|package| {
        let needed = package["rust_version"].as_str()?;
        (number(needed)[..2] > promised[..2])
            .then(|| format!("{} needs Rust {needed}: take an older version of it", package["name"]))
    });
    judge(why, newer.collect());
}
