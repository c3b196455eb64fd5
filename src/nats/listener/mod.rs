//! Where strangers are heard: a connection of its own, which is read without the library.
//!
//! nats-server passes on what a client publishes whatever bytes its subject, its reply and its headers are of. The
//! library (async-nats 0.51) ends its connection over a message that it cannot read, so whoever may send one request
//! could cut off a coordinator with all that it does (`tests/security/malformed.rs`). This connection takes no headers
//! at all, so the server sends it none, and bytes that are not UTF-8 become U+FFFD, which no name and no inbox has: the
//! request is refused and counted like any other that makes no sense.
//!
//! It only listens. Answers, signs of life and records go by the coordinator's other connections, where nothing comes
//! in that a stranger has put together.
//!
//! ```text
//!  Listener --Order--> Hearing::run --- Line: one connection, bytes to frames
//!     ^                    |
//!     '---- messages ---- Roster: the subscriptions, frames to messages; no IO
//! ```

mod hello;
mod line;
mod roster;
mod tls;

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use async_nats::ServerAddr;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::{mpsc, oneshot};

use self::hello::Login;
use self::line::{Cut, Line};
use self::roster::{Order, Roster};
use super::connect::{ADDRESS_TIMEOUT, ConnectError, Connection, PING_INTERVAL, reconnect_delay};
use super::options::{ConnectOptions, parse_urls};
use super::transport::CONFIRM_TIMEOUT;
use crate::clock::{Clock as _, SystemClock, within};
use crate::transport::{DEAF_MAX, Message, SUBSCRIPTION_MESSAGES_MAX, TransportError};
use crate::types::Timestamp;

/// Nor are fewer attempts than these in vain: a process that slept through [`DEAF_MAX`] has hardly tried.
const ATTEMPTS_MIN: usize = 5;
/// So many may ask to subscribe at a time; others wait.
const ORDERS_MAX: usize = 16;

/// A connection that only listens. Clones share it; it ends with the last of them.
#[derive(Clone)]
pub(super) struct Listener {
    orders: mpsc::Sender<Order>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener(..)")
    }
}

impl Listener {
    /// Listens beside a connection that was made with the same options, on the same server.
    ///
    /// # Errors
    /// [`ConnectError::BadOption`], where the credentials cannot be read.
    pub(super) fn start(options: &ConnectOptions, beside: Connection) -> Result<Self, ConnectError> {
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let addresses = parse_urls(&options.urls)?;
        let hearing = Hearing {
            login: Login::of(&options.login(&addresses))?,
            addresses,
            options: options.clone(),
            beside,
            roster: Roster::default(),
            ordered,
        };
        tokio::spawn(hearing.run());
        Ok(Self { orders })
    }

    /// Subscribes, and returns when the server knows of it.
    ///
    /// # Errors
    /// The server refuses, cannot be reached, or does not answer.
    ///
    /// # Cancel safety
    /// Dropping it unsubscribes.
    pub(super) async fn subscribe(
        &self,
        subject: String,
    ) -> Result<BoxStream<'static, Message>, TransportError> {
        let (sender, mut messages) = mpsc::channel(SUBSCRIPTION_MESSAGES_MAX);
        let (tell, confirmed) = oneshot::channel();
        let order = Order { subject, messages: sender, confirmed: tell };
        let confirmed = async {
            self.orders.send(order).await.map_err(|_| TransportError::Closed)?;
            confirmed.await.map_err(|_| TransportError::Closed)?
        };
        let silent = || TransportError::Unavailable(format!("no answer within {CONFIRM_TIMEOUT:?}"));
        within(&SystemClock, CONFIRM_TIMEOUT, confirmed).await.ok_or_else(silent)??;
        Ok(stream::poll_fn(move |context| messages.poll_recv(context)).boxed())
    }
}

/// For how long nothing can be heard.
#[derive(Debug, Default)]
struct Deafness {
    since: Option<Timestamp>,
    attempts: usize,
}

impl Deafness {
    /// Another attempt has failed. Returns which it is, and whether it is time to give up.
    fn goes_on(&mut self, now: Timestamp) -> (usize, bool) {
        self.attempts += 1;
        let since = *self.since.get_or_insert(now);
        (self.attempts, now.since(since) >= DEAF_MAX && self.attempts >= ATTEMPTS_MIN)
    }
}

/// The task behind a [`Listener`].
struct Hearing {
    options: ConnectOptions,
    login: Login,
    addresses: Vec<ServerAddr>,
    beside: Connection,
    roster: Roster,
    ordered: mpsc::Receiver<Order>,
}

impl Hearing {
    /// Until nobody wants to hear anything any more.
    async fn run(mut self) {
        let mut deafness = Deafness::default();
        while self.is_wanted() {
            let ended = match self.open().await {
                Ok(line) => {
                    let opened = SystemClock::boot();
                    if deafness.attempts > 0 {
                        tracing::info!("requests are heard again");
                    }
                    let ended = self.listen(line).await;
                    // One that is cut off at once has not helped.
                    if SystemClock::boot().since(opened) >= PING_INTERVAL {
                        deafness = Deafness::default();
                    }
                    ended
                }
                Err(error) => {
                    while let Ok(order) = self.ordered.try_recv() {
                        self.roster.add(order);
                    }
                    self.roster.unreachable(&format!("requests cannot be heard: {error}"));
                    Err(error)
                }
            };
            let Err(error) = ended else { return };
            let (attempts, too_long) = deafness.goes_on(SystemClock::boot());
            // One line for each doubling, so that nobody fills the log.
            if attempts.is_power_of_two() {
                tracing::warn!(%error, attempts, "requests are not heard");
            }
            if too_long && self.beside.is_connected() && !self.roster.is_empty() {
                tracing::error!(%error, "no requests were heard for {DEAF_MAX:?}: giving up");
                self.roster.close();
            }
            SystemClock.sleep_until(SystemClock::boot() + reconnect_delay(attempts)).await;
        }
    }

    fn is_wanted(&self) -> bool {
        !(self.ordered.is_closed() && self.ordered.is_empty() && self.roster.is_empty())
    }

    /// Connects to the server that the other connection is on; to another only where that is not to be had: when a
    /// network falls apart, requests and answers should be on the same side.
    async fn open(&self) -> Result<Line, Cut> {
        let server = self.beside.client().try_server_info();
        let wanted = server.as_ref().map(|server| server.server_id.as_str());
        let learnt = server.iter().flat_map(|server| &server.connect_urls);
        let learnt = learnt.filter_map(|url| url.parse().ok());
        let addresses: Vec<ServerAddr> = self.addresses.iter().cloned().chain(learnt).collect();
        match self.open_one(&addresses, wanted).await {
            Err(Cut::Elsewhere) => self.open_one(&addresses, None).await,
            done => done,
        }
    }

    /// Connects to the first that lets this in.
    ///
    /// # Errors
    /// [`Cut::Elsewhere`], where at least one is another server than `wanted`, and none is that one.
    async fn open_one(&self, addresses: &[ServerAddr], wanted: Option<&str>) -> Result<Line, Cut> {
        let mut failed = Err(Cut::Silent(Duration::ZERO));
        for address in addresses {
            let opened = Line::open(address, wanted, &self.options, &self.login);
            match within(&SystemClock, ADDRESS_TIMEOUT, opened).await {
                Some(Ok(line)) => return Ok(line),
                _ if matches!(failed, Err(Cut::Elsewhere)) => {}
                Some(Err(error)) => failed = Err(error),
                None => failed = Err(Cut::Silent(ADDRESS_TIMEOUT)),
            }
        }
        failed
    }

    /// Hears what comes, until nobody wants to; an error where the connection ends before.
    async fn listen(&mut self, mut line: Line) -> Result<(), Cut> {
        line.say(self.roster.begin().as_bytes()).await?;
        let server = self.server();
        let tick = || SystemClock.sleep_until(SystemClock::boot() + PING_INTERVAL);
        let mut next_tick = pin!(tick());
        while self.is_wanted() {
            // In no order: a flood of one must not keep the others from having their turn.
            tokio::select! {
                read = line.read() => {
                    read?;
                    while let Some(frame) = line.take()? {
                        if let Some(answer) = self.roster.handle(frame)? {
                            line.say(answer.as_bytes()).await?;
                        }
                    }
                }
                Some(order) = self.ordered.recv() => line.say(self.roster.add(order).as_bytes()).await?,
                () = &mut next_tick => {
                    next_tick.set(tick());
                    line.say(self.roster.tick()?.as_bytes()).await?;
                    if self.server() != server {
                        return Err(Cut::Elsewhere);
                    }
                }
            }
        }
        Ok(())
    }

    /// The server that the other connection is on.
    fn server(&self) -> Option<String> {
        self.beside.client().try_server_info().map(|server| server.server_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_seconds_without_a_connection_are_too_long() {
        let mut deafness = Deafness::default();
        let seconds = |seconds: u64| Timestamp::from_millis(seconds * 1_000);
        for (attempt, second) in [(1, 5), (2, 8), (3, 9), (4, 10), (5, 14)] {
            assert_eq!(deafness.goes_on(seconds(second)), (attempt, false));
        }
        assert_eq!(deafness.goes_on(seconds(15)), (6, true));
    }

    #[test]
    fn a_process_that_has_slept_tries_again_first() {
        let mut deafness = Deafness::default();
        let later = |ms: u64| Timestamp::from_millis(60_000 + ms);
        assert_eq!(deafness.goes_on(Timestamp::from_millis(0)), (1, false));
        let given_up: Vec<_> = (1..=4).map(|number| deafness.goes_on(later(number)).1).collect();
        assert_eq!(given_up, [false, false, false, true]);
    }
}
