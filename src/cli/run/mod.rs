//! A command that runs under a lock: it ends before anybody else can get the lock, and the lock is released
//! after it has ended.

mod group;
mod relay;
mod schedule;
mod teller;
mod terminal;

use std::time::Duration;

use rustix::process::{Signal, WaitOptions, WaitStatus, kill_current_process_group, wait};

use self::group::Group;
use self::schedule::{Due, Schedule};
use self::terminal::Terminal;
use super::exit::LOST;
use super::{describe, text};
use crate::client::{LockGuard, LostReason};
use crate::clock::{Clock as _, SystemClock};
use crate::types::Ttl;

pub(super) use self::group::StartError;
pub(super) use self::relay::{FIRST, REST, Relay};
pub(super) use self::teller::Teller;

/// How often is looked whether a group has ended that was told to. Not all its processes are our children.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Watches over a command.
pub(super) struct Supervisor<'a> {
    guard: &'a LockGuard,
    teller: &'a Teller,
    relay: Relay,
    group: Group,
    terminal: Option<Terminal>,
    schedule: Schedule,
    /// What to exit with: the command itself has ended, though others of its group may not.
    code: Option<u8>,
    lost: bool,
    killed: bool,
    /// The command stands still because of this signal, and with it natslock.
    stopped_by: Option<Signal>,
}

impl<'a> Supervisor<'a> {
    /// Starts the command.
    pub(super) fn start(
        command: &mut std::process::Command,
        guard: &'a LockGuard,
        ttl: Ttl,
        relay: Relay,
        teller: &'a Teller,
    ) -> Result<Self, StartError> {
        adopt_orphans();
        let terminal = Terminal::open();
        let group = Group::start(command)?;
        tracing::debug!(group = group.leader().as_raw_nonzero(), "the command runs under its watchdog");
        if let Some(terminal) = &terminal {
            terminal.give(group.leader());
            // It may have wanted to read before.
            group.signal(Signal::CONT);
        }
        let schedule = Schedule::new(ttl);
        let (code, stopped_by) = (None, None);
        Ok(Self {
            guard,
            teller,
            relay,
            group,
            terminal,
            schedule,
            code,
            lost: false,
            killed: false,
            stopped_by,
        })
    }

    /// Until all of its group has ended. Returns what to exit with.
    pub(super) async fn watch(mut self) -> u8 {
        let code = loop {
            self.look_at_children();
            if let Some(code) = self.code.filter(|_| self.group.is_gone()) {
                break code;
            }
            let look = SystemClock::boot() + LOOK_EVERY;
            let wake = match self.schedule.due(SystemClock::boot(), self.guard.deadline()) {
                Due::Terminate => {
                    self.cut_off();
                    continue;
                }
                Due::Kill => {
                    self.kill();
                    look
                }
                Due::Wait(at) if self.code.is_some() => at.min(look),
                Due::Wait(at) => at,
            };
            self.go_on();
            self.happening(wake).await;
        };
        if let Some(terminal) = &self.terminal {
            terminal.take_back(self.group.leader());
        }
        self.group.stand_down();
        code
    }

    /// Waits for the next thing to happen, but not beyond `wake`.
    async fn happening(&mut self, wake: crate::types::Timestamp) {
        tokio::select! {
            biased;
            reason = self.guard.lost(), if !self.lost => self.lose(reason),
            signal = self.relay.next() => self.pass_on(signal),
            () = SystemClock.sleep_until(wake) => {}
        }
    }

    fn pass_on(&self, signal: Signal) {
        match signal {
            Signal::CHILD => {}
            // A shell lets natslock go on, in front or not.
            Signal::CONT => {
                if let Some(terminal) = &self.terminal {
                    terminal.give(self.group.leader());
                }
            }
            signal => self.group.signal(signal),
        }
    }

    /// Hears of children that have ended or stand still: the command, the watchdog, and orphans.
    fn look_at_children(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            if pid != self.group.leader() {
                continue;
            }
            match status.stopping_signal().and_then(Signal::from_named_raw) {
                Some(signal) if status.stopped() => self.stopped(signal),
                _ if status.stopped() => {}
                _ => self.ended(status),
            }
        }
    }

    fn ended(&mut self, status: WaitStatus) {
        // Nobody knows whether it ended before the lock was lost, if nobody looked in between.
        let in_time = !self.lost && SystemClock::boot() < self.guard.deadline();
        self.code = Some(if in_time && !self.schedule.has_told() { code_of(status) } else { LOST });
        if !self.group.is_gone() {
            self.schedule.end_within_grace(SystemClock::boot());
            self.terminate();
            self.teller.tell("the command has ended; ending what it has left running".into());
        }
    }

    /// The coordinator says that the lock is lost, or its deadline has passed.
    fn lose(&mut self, reason: LostReason) {
        self.lost = true;
        if reason == LostReason::Forbidden {
            let why = "the NATS server no longer lets this user in, or no longer renew";
            self.teller.tell(format!("{} is lost: {why}", self.lock()));
        }
        if matches!(reason, LostReason::Unreachable | LostReason::Forbidden) {
            // It is killed, and should have been before.
            return;
        }
        self.schedule.lose(SystemClock::boot(), self.guard.deadline());
        self.terminate();
        let why = match reason {
            LostReason::Revoked => "an administrator took it away",
            LostReason::Released => "it was released by its id",
            _ => "it was not renewed in time",
        };
        self.teller.tell(format!("{} is lost: {why}; ending the command", self.lock()));
    }

    fn cut_off(&self) {
        self.terminate();
        let left = text::span(self.guard.remaining());
        let lock = self.lock();
        self.teller.tell(format!("{lock} is lost in {left}: no renewal gets through; ending the command"));
    }

    fn terminate(&self) {
        self.group.signal(Signal::TERM);
        // A shell in a terminal takes no notice of that, but of the end of its terminal, and so do its jobs.
        if self.terminal.as_ref().is_some_and(Terminal::is_given) {
            self.group.signal(Signal::HUP);
        }
        self.group.signal(Signal::CONT);
    }

    fn kill(&mut self) {
        self.group.signal(Signal::KILL);
        if !self.killed {
            self.killed = true;
            self.teller.tell(match self.schedule.has_told() {
                true => "it has not ended in time: killed".into(),
                false => format!("{} was lost while natslock stood still: killed", self.lock()),
            });
        }
    }

    /// The command stands still. Where a shell can let it go on, natslock stands still as well: it gives the
    /// terminal back, and the lease runs out if that takes too long.
    fn stopped(&mut self, by: Signal) {
        let Some(terminal) = &self.terminal else { return };
        // Whoever stops just the command, from elsewhere, will let it go on by itself.
        if by == Signal::STOP && !terminal.is_given() {
            return;
        }
        self.stopped_by = Some(by);
        if wants_terminal(by) && terminal.is_ours() {
            return;
        }
        terminal.take_back(self.group.leader());
        let left = text::span(self.guard.remaining());
        self.teller.tell(format!("stopped; {} is lost in {left} unless this goes on before", self.lock()));
        // Without a shell that could let it go on, this does nothing.
        let _ = kill_current_process_group(Signal::TSTP);
    }

    /// Lets a command go on that stands still, in front if natslock is.
    fn go_on(&mut self) {
        let (Some(by), Some(terminal)) = (self.stopped_by, &self.terminal) else { return };
        if terminal.is_ours() || !wants_terminal(by) {
            terminal.give(self.group.leader());
            self.group.signal(Signal::CONT);
            self.stopped_by = None;
        }
    }

    fn lock(&self) -> String {
        describe::lock(self.guard.name())
    }
}

/// True for a stop of those who want to use the terminal and are not in front.
fn wants_terminal(by: Signal) -> bool {
    by == Signal::TTIN || by == Signal::TTOU
}

/// The exit code, or 128 and the number of the signal that ended it.
fn code_of(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Orphans of the group become children of natslock, which hears of their end. Elsewhere they are those of
/// `init`, which in a container may not care.
fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    // Where it fails it is as elsewhere.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}
