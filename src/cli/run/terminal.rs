//! Who may read from the terminal: natslock is in front while it waits, and the command while it runs.

use std::cell::Cell;
use std::fs::File;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use rustix::process::{Pid, getpgrp, test_kill_process_group};
use rustix::termios::{tcgetpgrp, tcsetpgrp};

/// The terminal that natslock was started from.
#[derive(Debug)]
pub(super) struct Terminal {
    tty: File,
    own: Pid,
    given: Cell<bool>,
}

impl Terminal {
    /// None where there is none, as in a job of cron.
    pub(super) fn open() -> Option<Self> {
        let tty = File::options().read(true).write(true).open("/dev/tty").ok()?;
        Some(Self { tty, own: getpgrp(), given: Cell::new(false) })
    }

    /// True while natslock's own group is in front: the shell has put it there.
    pub(super) fn is_ours(&self) -> bool {
        tcgetpgrp(&self.tty).is_ok_and(|front| front == self.own)
    }

    /// Puts this group in front, if natslock is.
    pub(super) fn give(&self, group: Pid) {
        if self.is_ours() {
            self.given.set(tcsetpgrp(&self.tty, group).is_ok());
        }
    }

    /// Since when it was given, it was not taken back.
    pub(super) const fn is_given(&self) -> bool {
        self.given.get()
    }

    /// Puts natslock in front again, unless somebody else has come there: a shell that goes on.
    pub(super) fn take_back(&self, group: Pid) {
        let Ok(front) = tcgetpgrp(&self.tty) else { return };
        if self.given.replace(false) && (front == group || test_kill_process_group(front).is_err()) {
            // Where it fails the shell takes it, as it does from every command.
            let _ = background().thread_swap_mask(SigmaskHow::SIG_BLOCK).map(|before| {
                let _ = tcsetpgrp(&self.tty, self.own);
                before.thread_set_mask()
            });
        }
    }
}

/// The signal that stops whoever takes the terminal from the background, or writes to one that forbids that,
/// unless it is blocked. It must not be when the command is started, which would inherit that.
pub(super) fn background() -> SigSet {
    SigSet::from(Signal::SIGTTOU)
}
