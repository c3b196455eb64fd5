//! Messages beside what a command prints. A terminal that stands still must not keep natslock from its work.

use std::io::Write as _;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::terminal;

/// How long a message may hold up the end, or a stop.
const PATIENCE: Duration = Duration::from_millis(200);

/// Writes to the standard error stream, from a thread of its own.
#[derive(Debug)]
pub(in crate::cli) struct Teller {
    lines: mpsc::Sender<String>,
    written: mpsc::Receiver<()>,
}

impl Teller {
    pub(in crate::cli) fn start() -> Self {
        let (lines, waiting) = mpsc::channel::<String>();
        let (wrote, written) = mpsc::channel();
        thread::spawn(move || {
            // If that fails, a terminal that forbids it stops natslock until it is in front again.
            let _ = terminal::background().thread_block();
            for line in waiting {
                // Where that stream is closed there is nobody to tell.
                let _ = writeln!(anstream::stderr().lock(), "natslock: {line}");
                if wrote.send(()).is_err() {
                    return;
                }
            }
        });
        Self { lines, written }
    }

    /// One line, at once if that is possible.
    pub(in crate::cli) fn tell(&self, line: String) {
        if self.lines.send(line).is_ok() {
            // It is written later, or never.
            let _ = self.written.recv_timeout(PATIENCE);
        }
    }
}
