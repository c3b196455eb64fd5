//! A terminal in which a command runs, and what is seen on it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use super::Program;
use crate::support::eventually;

/// A command in a terminal of its own. It ends with its value, and with the test process, which holds the terminal.
pub(super) struct Terminal {
    child: Child,
    keyboard: File,
    /// The side that the command has.
    tty: File,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    screen: vt100::Parser,
    bytes: Vec<u8>,
}

/// How the terminal is set up: whether it echoes, hands on single keys and the like.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setup(String);

impl Terminal {
    /// Starts the program in a terminal of so many columns and lines.
    pub(super) fn start(program: &Program, arguments: &[&str], columns: u16, lines: u16) -> Self {
        let controller =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&controller).and_then(|()| unlockpt(&controller)).expect("its other side");
        let path = ptsname(&controller, Vec::new()).expect("its name");
        let path = path.into_string().expect("text");
        let tty = File::options().read(true).write(true).open(path).expect("it opens");
        resize(&tty, columns, lines);
        let side = || OwnedFd::from(tty.try_clone().expect("a file"));
        // In a session of its own, so that it is this terminal that is its own.
        let natslock = env!("CARGO_BIN_EXE_natslock");
        let mut command = program.command("setsid", &[&["--ctty", natslock], arguments].concat());
        let child = command.stdin(side()).stdout(side()).stderr(side()).env("TERM", "xterm-256color").spawn();
        let keyboard = File::from(controller);
        let seen = Seen { screen: vt100::Parser::new(cells(lines), cells(columns), 0), bytes: Vec::new() };
        let seen = Arc::new(Mutex::new(seen));
        watch(keyboard.try_clone().expect("a file"), seen.clone());
        Self { child: child.expect("setsid starts"), keyboard, tty, seen }
    }

    pub(super) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("somebody reads");
    }

    pub(super) fn resize(&self, columns: u16, lines: u16) {
        self.seen.lock().unwrap().screen.screen_mut().set_size(cells(lines), cells(columns));
        resize(&self.tty, columns, lines);
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the process is there");
    }

    /// What is on the screen.
    pub(super) fn screen(&self) -> String {
        self.seen.lock().unwrap().screen.screen().contents()
    }

    /// All that was ever written to it.
    pub(super) fn written(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap().bytes).into_owned()
    }

    pub(super) fn setup(&self) -> Setup {
        Setup(format!("{:?}", tcgetattr(&self.tty).expect("its settings")))
    }

    /// Whether the command shows its own screen, which goes when it ends.
    pub(super) fn is_taken(&self) -> bool {
        self.seen.lock().unwrap().screen.screen().alternate_screen()
    }

    pub(super) fn has_cursor(&self) -> bool {
        !self.seen.lock().unwrap().screen.screen().hide_cursor()
    }

    /// Waits until the screen shows this.
    pub(super) async fn shows(&self, what: &str) {
        self.shows_that(what, |screen| screen.contains(what)).await;
    }

    pub(super) async fn shows_that(&self, what: &str, is_shown: impl Fn(&str) -> bool) {
        let mut screen = String::new();
        let shown = eventually(what, async || {
            screen = self.screen();
            is_shown(&screen)
        });
        shown.await;
    }

    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("its status").is_some()
    }

    /// Waits for its end.
    pub(super) async fn end(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the program ends", async || {
            status = self.child.try_wait().expect("its status");
            status.is_some()
        })
        .await;
        // What it wrote last is read by another thread.
        eventually("the terminal is given back", async || !self.is_taken()).await;
        status.and_then(|status| status.code())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("on the screen:\n{}", self.screen());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cells(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("a terminal has cells")
}

fn resize(tty: &File, columns: u16, lines: u16) {
    let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(tty, size).expect("a size");
}

fn watch(mut from: File, seen: Arc<Mutex<Seen>>) {
    std::thread::spawn(move || {
        let mut bytes = [0; 4_096];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            let mut seen = seen.lock().unwrap();
            seen.screen.process(&bytes[..read]);
            seen.bytes.extend_from_slice(&bytes[..read]);
        }
    });
}
