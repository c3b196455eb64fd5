//! The line that is shown while a command waits: on a terminal only.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::Notify;

use super::describe;
use crate::client::{Caller, Progress};
use crate::clock::{Clock as _, SystemClock};
use crate::types::{LockName, OwnerName};

/// How often the coordinator is asked who holds the lock.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const SPIN_EVERY: Duration = Duration::from_millis(100);

/// A spinner on the standard error stream, with what is known of the wait.
pub(super) struct WaitingLine {
    bar: ProgressBar,
    name: LockName,
    me: OwnerName,
    place: Cell<Option<usize>>,
    state: RefCell<Option<String>>,
    queued: Notify,
}

impl WaitingLine {
    /// Shows nothing before the coordinator has said that the request waits.
    pub(super) fn new(name: &LockName, me: OwnerName, shown: bool) -> Self {
        let bar = if shown { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        // The text is fixed, so the fallback is never taken.
        let style = ProgressStyle::with_template("{spinner:.cyan} waiting {elapsed} for {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let (place, state) = (Cell::new(None), RefCell::new(None));
        let bar = bar.with_style(style);
        Self { bar, name: name.clone(), me, place, state, queued: Notify::new() }
    }

    /// The coordinator has said where the request stands.
    pub(super) fn report(&self, progress: Progress) {
        self.place.set(Some(progress.position));
        self.show();
        self.bar.enable_steady_tick(SPIN_EVERY);
        self.queued.notify_one();
    }

    /// Asks now and then who holds the lock. Never ends.
    pub(super) async fn look(&self, caller: &Caller) -> Infallible {
        if self.bar.is_hidden() {
            return std::future::pending().await;
        }
        loop {
            self.queued.notified().await;
            // Whoever may acquire need not be allowed to check: then less is shown.
            if let Ok(Some(view)) = caller.view(&self.name).await {
                let mut mine = view.waiters.iter().filter(|waiter| waiter.owner == self.me);
                if let (Some(waiter), None) = (mine.next(), mine.next()) {
                    self.place.set(Some(waiter.position));
                }
                *self.state.borrow_mut() = Some(describe::state(&view, &self.me));
                self.show();
            }
            SystemClock.sleep_until(SystemClock::boot() + LOOK_EVERY).await;
            self.queued.notify_one();
        }
    }

    fn show(&self) {
        let mut text = describe::lock(&self.name);
        if let Some(place) = self.place.get() {
            text = format!("{text}: {}", describe::place(place));
        }
        if let Some(state) = &*self.state.borrow() {
            text = format!("{text}, {state}");
        }
        self.bar.set_message(text);
    }
}

/// Leaves the terminal as it was.
impl Drop for WaitingLine {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
