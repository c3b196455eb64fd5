//! The signals that are for the command.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

/// Those that are heard from the beginning: they also end the wait for the lock.
pub(in crate::cli) const FIRST: [Signal; 2] = [Signal::INT, Signal::TERM];
/// Those that are heard while the command runs. Before that they do what they always do.
pub(in crate::cli) const REST: [Signal; 7] = [
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
    // For natslock itself: the children, and the shell that lets it go on.
    Signal::CHILD,
    Signal::CONT,
];

/// Hears signals, and keeps them until they are asked for.
#[derive(Debug, Default)]
pub(in crate::cli) struct Relay {
    heard: Vec<(Signal, unix::Signal)>,
}

impl Relay {
    /// Hears these too, but for those that whoever started natslock wants to be ignored (`nohup`, a shell's
    /// background job): the command ignores them as well.
    pub(in crate::cli) fn listen(&mut self, signals: &[Signal]) -> io::Result<()> {
        let ignored = ignored();
        for signal in signals {
            let raw = signal.as_raw();
            if *signal != Signal::CHILD && ignored & (1 << (raw - 1)) != 0 {
                continue;
            }
            self.heard.push((*signal, unix::signal(SignalKind::from_raw(raw))?));
        }
        Ok(())
    }

    /// The next one.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (signal, stream) in &mut self.heard {
                if stream.poll_recv(context).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The signals that this process was started to ignore, one bit each; none where that cannot be known.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
