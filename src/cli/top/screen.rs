//! The terminal while the view is open.
//!
//! It is given back as it was when the screen is dropped, be it by an error or by a panic; a panic gives it back
//! before it tells about itself, since what is told on the other screen would go with it.

use std::io;

use ratatui::DefaultTerminal;

use super::draw;
use super::model::Model;

/// The terminal, taken over.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    _given_back: GivenBack,
}

struct GivenBack;

impl Drop for GivenBack {
    fn drop(&mut self) {
        // Where the terminal is gone there is nothing to give back.
        let _ = ratatui::try_restore();
    }
}

impl Screen {
    /// Takes it over.
    pub(super) fn open() -> io::Result<Self> {
        // First: what was half taken over is given back, too.
        let given_back = GivenBack;
        Ok(Self { terminal: ratatui::try_init()?, _given_back: given_back })
    }

    pub(super) fn draw(&mut self, model: &Model) -> io::Result<()> {
        self.terminal.draw(|frame| draw::draw(model, frame)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set where the test runs itself in a terminal.
    const CHILD: &str = "NATSLOCK_TEST_PANICS";

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_tells_about_itself() {
        if std::env::var_os(CHILD).is_some() {
            let _screen = Screen::open().unwrap();
            panic!("on purpose");
        }
        let test = std::env::current_exe().unwrap();
        let line = format!(
            "{} --exact --nocapture cli::top::screen::tests::{}; stty -a",
            test.display(),
            "a_panic_gives_the_terminal_back_before_it_tells_about_itself"
        );
        let output =
            Command::new("script").args(["-qec", &line, "/dev/null"]).env(CHILD, "1").output().unwrap();
        let seen = String::from_utf8_lossy(&output.stdout);
        let place = |what: &str| seen.find(what).unwrap_or_else(|| panic!("{what:?} is not in {seen}"));
        let (taken, given_back) = (place("\u{1b}[?1049h"), place("\u{1b}[?1049l"));
        assert!(taken < given_back && given_back < place("on purpose"), "{seen}");
        assert!(place("on purpose") < place(" icanon") && seen.contains(" echo "), "{seen}");
    }
}
