//! A child process that cannot outlive the test, however the test ends.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// Kills the program when its standard input ends: it does when the test process does, whatever killed it. (A
/// parent death signal would be sent at the end of the *thread* that started the program.)
const WATCHDOG: &str = r#"
"$@" </dev/null >/dev/null 2>&1 &
echo $!
while read -r _; do :; done
kill -9 $!
wait
"#;

/// A program under a watchdog. Dropping it kills the program and waits for its end.
#[derive(Debug)]
pub(crate) struct Guarded {
    watchdog: Child,
    input: Option<ChildStdin>,
    pid: Pid,
}

impl Guarded {
    pub(crate) fn start(program: &OsStr, arguments: &[&OsStr]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", WATCHDOG, "watchdog"]).arg(program).args(arguments);
        let mut watchdog = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh starts");
        let input = watchdog.stdin.take();
        let mut line = String::new();
        let output = watchdog.stdout.take().expect("the watchdog writes");
        BufReader::new(output).read_line(&mut line).expect("the watchdog names the process");
        let pid = line.trim().parse().ok().and_then(Pid::from_raw).expect("a process id");
        Self { watchdog, input, pid }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("the process is there");
    }

    /// True where every thread of the process stands still. A signal is sent long before that.
    pub(crate) fn is_stopped(&self) -> bool {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", self.pid)) else { return true };
        threads.flatten().all(|thread| {
            // The state follows the name, which stands in brackets.
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        })
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.watchdog.wait();
    }
}
