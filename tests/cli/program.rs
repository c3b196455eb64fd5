//! The program, and what it did.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;

use natslock::clock::{Clock as _, SystemClock};
use rustix::process::{Pid, Signal, kill_process};

use super::redact::redact;
use crate::support::{PATIENCE, eventually};

/// The program with an environment of its own.
pub(crate) struct Program {
    environment: Vec<(String, String)>,
}

/// What it did.
pub(crate) struct Ran {
    line: String,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program while it runs. It ends with its value, and with the test process.
pub(crate) struct Running {
    child: Child,
    /// Kills the program when its input ends, which it does when the test process does.
    guard: Child,
    _input: Option<ChildStdin>,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
}

impl Program {
    /// In the name of `ada@host`, with this server where there is one.
    pub(crate) fn new(url: &str) -> Self {
        let kept = ["PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "NATS_SERVER_BIN"];
        let kept = kept.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
        let mut environment: Vec<_> = kept.collect();
        environment.push(("NATSLOCK_OWNER".into(), "ada@host".into()));
        if !url.is_empty() {
            environment.push(("NATS_URL".into(), url.into()));
        }
        Self { environment }
    }

    /// The same with another variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    pub(super) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(self.environment.clone()).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(env!("CARGO_BIN_EXE_natslock"), arguments).output();
        let output = output.expect("the program starts");
        Ran {
            line: format!("natslock {}", arguments.join(" ")),
            code: output.status.code().expect("it ends by itself"),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// Runs a line as it would be typed.
    pub(crate) fn shell(&self, line: &str) -> Ran {
        let folder = std::path::Path::new(env!("CARGO_BIN_EXE_natslock")).parent().expect("its folder");
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        let output = self.command("sh", &["-c", line]).env("PATH", path).output().expect("sh starts");
        Ran {
            line: line.to_owned(),
            code: output.status.code().expect("it ends by itself"),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// Starts it, and goes on.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(env!("CARGO_BIN_EXE_natslock"), arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let stdout = lines(child.stdout.take().expect("its output"));
        let stderr = lines(child.stderr.take().expect("its errors"));
        let mut guard = Command::new("sh");
        guard.args(["-c", "read -r _; kill -9 $1", "guard", &child.id().to_string()]);
        let mut guard = guard.stdin(Stdio::piped()).spawn().expect("sh starts");
        let input = guard.stdin.take();
        Running { child, guard, _input: input, stdout, stderr }
    }
}

impl Ran {
    /// All of it, for a snapshot.
    pub(crate) fn transcript(&self) -> String {
        let Self { line, code, stdout, stderr } = self;
        let mut text = format!("$ {line}\n{stdout}");
        if !stderr.is_empty() {
            text += &format!("--- stderr\n{stderr}");
        }
        redact(&format!("{text}--- exit {code}\n"))
    }

    /// A field of the reply in JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.stdout.lines().count(), 1, "one line: {}", self.stdout);
        serde_json::from_str(&self.stdout).expect("JSON")
    }

    /// The value beside a name in the text.
    pub(crate) fn field(&self, name: &str) -> &str {
        let line = self.stdout.lines().map(str::trim).find(|line| line.starts_with(name));
        line.and_then(|line| line.strip_prefix(name)).map(str::trim).expect("the field is there")
    }

    /// It did what was asked.
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}{}", self.line, self.stdout, self.stderr);
        self
    }
}

impl Running {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the process is there");
    }

    /// The next line of its output.
    pub(crate) fn line(&mut self) -> String {
        self.stdout.recv_timeout(PATIENCE).expect("a line of output")
    }

    /// The same, where there is one already.
    pub(crate) fn line_if_any(&mut self) -> Option<String> {
        self.stdout.try_recv().ok()
    }

    /// The next line of what it tells.
    pub(crate) fn told_line(&mut self) -> String {
        self.stderr.recv_timeout(PATIENCE).expect("a line of what it tells")
    }

    /// The first line of what it tells that has this in it.
    pub(crate) fn told_until(&mut self, part: &str) -> String {
        loop {
            let line = self.told_line();
            if line.contains(part) {
                return line;
            }
        }
    }

    /// All that it has told and nobody has read.
    pub(crate) fn told_so_far(&self) -> String {
        self.stderr.try_iter().map(|line| line + "\n").collect()
    }

    /// True where it has not ended.
    pub(super) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("its status").is_none()
    }

    /// Waits for its end: the exit code and what it told.
    pub(crate) async fn end(mut self) -> (Option<i32>, String, String) {
        let mut status = None;
        eventually("the program ends", async || {
            status = self.child.try_wait().expect("its status");
            status.is_some()
        })
        .await;
        let rest = |lines: &mpsc::Receiver<String>| lines.iter().map(|line| line + "\n").collect();
        (status.and_then(|status| status.code()), rest(&self.stdout), rest(&self.stderr))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The guard first: afterwards the process id may be somebody else's.
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines as they come, so that whoever waits for one can give up.
fn lines(from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A moment before which something must have happened.
pub(crate) fn elapsed_since(began: natslock::types::Timestamp) -> std::time::Duration {
    let elapsed = SystemClock.now().boot.since(began);
    assert!(elapsed < PATIENCE, "that took {elapsed:?}");
    elapsed
}
