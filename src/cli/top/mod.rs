//! The screen of `natslock top`.
//!
//! | part | what |
//! |---|---|
//! | [`look`] | what is asked for at each refresh |
//! | [`rows`] | what the answers say of each lock, and in which order |
//! | [`model`] | what is known and shown, and what a key does to it: no clock, no terminal, no connection |
//! | [`draw`] | the model as a screen |
//! | [`screen`] | the terminal: taken over, and given back whatever happens |

mod draw;
mod events;
mod keys;
mod look;
mod model;
mod rows;
mod screen;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::time::Duration;

use crossterm::event::EventStream;
use futures_util::StreamExt as _;
use futures_util::future::{Fuse, FusedFuture as _, FutureExt as _};
use futures_util::stream::BoxStream;

use super::error::{CommandError, Kind};
use super::session::{Session, explain_transport};
use super::signals::Signals;
use super::text::tame;
use crate::client::{Seen, Watched};
use crate::clock::{Clock as _, SystemClock};
use crate::types::Timestamp;

pub(super) use model::Settings;
pub(super) use rows::Sort;

use look::{Sample, look};
use model::{Flow, Model};
use screen::Screen;

/// So many events are taken at once before the screen is drawn and keys are heard again.
const EVENTS_AT_ONCE: usize = 256;

type Looking<'a> = Fuse<Pin<Box<dyn Future<Output = Result<Sample, CommandError>> + 'a>>>;

/// Shows the view until the operator leaves it, or a signal ends it.
pub(super) async fn run(session: &Session<'_>, settings: Settings) -> Result<(), CommandError> {
    let every = settings.every;
    let mut model = Model::new(settings);
    let mut signals = Signals::listen()?;
    let events = session.caller().watch(Watched::All).await.map_err(explain_transport)?;
    // Before the terminal is taken: what is wrong from the start is told as by every other command.
    model.sampled(look(session, model.wish()).await?);
    let screen = Screen::open().map_err(|error| CommandError::internal("cannot use the terminal", error))?;
    let mut live = Live {
        session,
        model,
        screen,
        keys: EventStream::new(),
        events: events.ready_chunks(EVENTS_AT_ONCE).boxed(),
        every,
        asked: SystemClock::boot(),
        next: SystemClock::boot() + every,
    };
    live.run(&mut signals).await
}

/// The view while it is open.
struct Live<'a> {
    session: &'a Session<'a>,
    model: Model,
    screen: Screen,
    keys: EventStream,
    events: BoxStream<'static, Vec<Seen>>,
    every: Duration,
    /// When it asked last.
    asked: Timestamp,
    /// When it asks next, or says that it still waits for an answer.
    next: Timestamp,
}

impl Live<'_> {
    async fn run(&mut self, signals: &mut Signals) -> Result<(), CommandError> {
        let session = self.session;
        let mut looking: Looking<'_> = Fuse::terminated();
        loop {
            self.screen.draw(&self.model)?;
            // On a machine so busy that drawing takes longer than a refresh, what is due is due at once: the
            // connection has to get its turn all the same.
            tokio::task::yield_now().await;
            tokio::select! {
                key = self.keys.next() => match key {
                    Some(Ok(event)) => {
                        let pressed = keys::pressed(&event);
                        if pressed.is_some_and(|key| self.model.press(key) == Flow::Quit) {
                            return Ok(());
                        }
                    }
                    Some(Err(error)) => return Err(error.into()),
                    // The terminal is gone.
                    None => return Ok(()),
                },
                sample = &mut looking => match sample {
                    Ok(sample) => self.model.sampled(sample),
                    Err(error) => self.model.troubled(error.message()),
                },
                () = SystemClock.sleep_until(self.next) => {
                    let now = SystemClock::boot();
                    self.next = now + self.every;
                    if !looking.is_terminated() {
                        self.model.troubled(&self.still_waiting(now));
                    } else if let Some(wish) = self.model.next_wish() {
                        self.asked = now;
                        looking = boxed(look(session, wish));
                    }
                }
                seen = self.events.next() => match seen {
                    Some(seen) => self.model.heard(&seen),
                    None => return Err(CommandError::new(Kind::NoServer, "the connection to the NATS server is closed")),
                },
                _ = signals.next() => return Ok(()),
            }
        }
    }

    fn still_waiting(&self, now: Timestamp) -> String {
        if !self.session.is_connected() {
            return "the connection to the NATS server is lost: connecting again".to_owned();
        }
        let waited = super::text::span(now.since(self.asked));
        format!("the coordinator has not answered for {waited}: asking again")
    }
}

fn boxed<'a>(look: impl Future<Output = Result<Sample, CommandError>> + 'a) -> Looking<'a> {
    let boxed: Pin<Box<dyn Future<Output = _> + 'a>> = Box::pin(look);
    boxed.fuse()
}
