//! What is subscribed to, and what is said and heard about it. No IO: frames go in, bytes come out.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::line::Cut;
use crate::nats::denials::{Action, parse};
use crate::transport::{Message, TransportError};
use crate::wire::frame::{Delivered, Frame};

/// A server that answers no ping between so many looks at the clock is dead.
const SILENT_TICKS_MAX: usize = 2;

/// Somebody wants to subscribe.
pub(super) struct Order {
    pub(super) subject: String,
    pub(super) messages: mpsc::Sender<Message>,
    /// Told as soon as the server knows of it, or has refused.
    pub(super) confirmed: oneshot::Sender<Result<(), TransportError>>,
}

/// The subscriptions of one listener. They outlive the connections.
#[derive(Default)]
pub(super) struct Roster {
    entries: BTreeMap<u64, Entry>,
    /// The highest number that there has been.
    last: u64,
    /// For each ping without an answer yet: up to which subscription the answer confirms.
    pings: VecDeque<u64>,
    /// How many times in a row some time has passed without an answer.
    silent_ticks: usize,
    /// Messages that were lost because more came in than were handled.
    lost: u64,
}

struct Entry {
    subject: String,
    messages: mpsc::Sender<Message>,
    confirmed: Option<oneshot::Sender<Result<(), TransportError>>>,
}

impl Roster {
    /// Takes an order, and returns what to say to the server.
    pub(super) fn add(&mut self, order: Order) -> String {
        self.last += 1;
        let said = format!("SUB {} {}\r\n", order.subject, self.last);
        let Order { subject, messages, confirmed } = order;
        self.entries.insert(self.last, Entry { subject, messages, confirmed: Some(confirmed) });
        said + &self.ping()
    }

    /// A connection is new: what to say first.
    pub(super) fn begin(&mut self) -> String {
        self.pings.clear();
        self.silent_ticks = 0;
        let subscribe = |(number, entry): (&u64, &Entry)| format!("SUB {} {number}\r\n", entry.subject);
        self.entries.iter().map(subscribe).collect::<String>() + &self.ping()
    }

    /// Takes what the server has said, and returns what to answer.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub(super) fn handle(&mut self, frame: Frame) -> Result<Option<String>, Cut> {
        match frame {
            Frame::Message(delivered) => Ok(self.deliver(delivered)),
            Frame::Ping => Ok(Some("PONG\r\n".into())),
            Frame::Pong => {
                self.silent_ticks = 0;
                let confirmed = self.pings.pop_front().unwrap_or(0);
                self.entries.range_mut(..=confirmed).for_each(|(_, entry)| entry.confirm(Ok(())));
                Ok(None)
            }
            Frame::Error(error) => self.denied(error).map(|()| None),
            Frame::Info(_) | Frame::Done => Ok(None),
        }
    }

    /// Some time has passed: what to say.
    ///
    /// # Errors
    /// The server has been silent for too long.
    pub(super) fn tick(&mut self) -> Result<String, Cut> {
        if self.silent_ticks >= SILENT_TICKS_MAX {
            return Err(Cut::Refused("nothing any more".into()));
        }
        self.silent_ticks += 1;
        let unwanted = self.entries.iter().filter(|(_, entry)| entry.messages.is_closed());
        let unwanted: Vec<u64> = unwanted.map(|(number, _)| *number).collect();
        let said: String = unwanted.into_iter().map(|number| self.remove(number)).collect();
        Ok(said + &self.ping())
    }

    /// There is no connection: who waits for a confirmation is told why, and those who have one go on waiting.
    pub(super) fn unreachable(&mut self, why: &str) {
        self.entries.retain(|_, entry| match entry.confirmed.is_some() {
            true => {
                entry.confirm(Err(TransportError::Unavailable(why.to_owned())));
                false
            }
            false => !entry.messages.is_closed(),
        });
    }

    /// Ends every subscription.
    pub(super) fn close(&mut self) {
        self.entries.clear();
    }

    /// True where nobody listens.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.values().all(|entry| entry.messages.is_closed())
    }

    fn ping(&mut self) -> String {
        self.pings.push_back(self.last);
        "PING\r\n".into()
    }

    fn remove(&mut self, number: u64) -> String {
        self.entries.remove(&number);
        format!("UNSUB {number}\r\n")
    }

    fn deliver(&mut self, delivered: Delivered) -> Option<String> {
        let Delivered { subscription, subject, reply, body } = delivered;
        let entry = self.entries.get(&subscription)?;
        match entry.messages.try_send(Message { subject, reply, payload: body, no_responders: false }) {
            Ok(()) => None,
            Err(TrySendError::Full(_)) => {
                self.lost += 1;
                // One line for each doubling, so that nobody fills the log.
                if self.lost.is_power_of_two() {
                    tracing::warn!(count = self.lost, "requests were lost: more came in than were handled");
                }
                None
            }
            Err(TrySendError::Closed(_)) => Some(self.remove(subscription)),
        }
    }

    /// The server does not allow something. What it does not allow to hear, or no longer, is one subscription, which
    /// ends; all else ends the connection.
    fn denied(&mut self, error: String) -> Result<(), Cut> {
        let denial = parse(&error).filter(|denial| denial.action == Action::Subscribe);
        let Some(denial) = denial else { return Err(Cut::Refused(error)) };
        tracing::error!(%error, "the NATS server does not allow what natslock needs");
        self.entries.retain(|_, entry| {
            let is_denied = entry.subject == denial.subject;
            if is_denied {
                entry.confirm(Err(TransportError::Refused(denial.to_string())));
            }
            !is_denied
        });
        Ok(())
    }
}

impl Entry {
    fn confirm(&mut self, outcome: Result<(), TransportError>) {
        if let Some(confirmed) = self.confirmed.take() {
            // Nobody may be waiting for it any more.
            let _ = confirmed.send(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Listening {
        messages: mpsc::Receiver<Message>,
        confirmed: oneshot::Receiver<Result<(), TransportError>>,
    }

    fn subscribe(roster: &mut Roster, subject: &str) -> (String, Listening) {
        let (sender, messages) = mpsc::channel(2);
        let (tell, confirmed) = oneshot::channel();
        let order = Order { subject: subject.into(), messages: sender, confirmed: tell };
        (roster.add(order), Listening { messages, confirmed })
    }

    fn message(subscription: u64) -> Frame {
        let body = bytes::Bytes::from_static(b"x");
        Frame::Message(Delivered { subscription, subject: "a".into(), reply: None, body })
    }

    #[test]
    fn a_subscription_is_confirmed_by_the_answer_to_its_own_ping() {
        let mut roster = Roster::default();
        let (said, mut one) = subscribe(&mut roster, "a");
        assert_eq!(said, "SUB a 1\r\nPING\r\n");
        let (_, mut other) = subscribe(&mut roster, "b");
        assert!(roster.handle(Frame::Pong).unwrap().is_none());
        assert!(one.confirmed.try_recv().unwrap().is_ok());
        assert!(other.confirmed.try_recv().is_err());
        roster.handle(Frame::Pong).unwrap();
        assert!(other.confirmed.try_recv().unwrap().is_ok());
    }

    #[test]
    fn a_refusal_is_of_one_subscription() {
        let mut roster = Roster::default();
        let (_, mut one) = subscribe(&mut roster, "a");
        let (_, mut other) = subscribe(&mut roster, "b");
        let refused = Frame::Error(r#"Permissions Violation for Subscription to "a""#.into());
        roster.handle(refused).unwrap();
        (0..2).for_each(|_| drop(roster.handle(Frame::Pong).unwrap()));
        assert!(matches!(one.confirmed.try_recv().unwrap(), Err(TransportError::Refused(_))));
        assert!(other.confirmed.try_recv().unwrap().is_ok());
        assert!(one.messages.is_closed() && !other.messages.is_closed());
        let ended = roster.handle(Frame::Error("Stale Connection".into()));
        assert!(ended.is_err());
    }

    #[test]
    fn messages_go_to_their_subscription_until_nobody_listens() {
        let mut roster = Roster::default();
        let (_, mut one) = subscribe(&mut roster, "a");
        let (_, other) = subscribe(&mut roster, "b");
        drop(other);
        assert_eq!(roster.handle(message(1)).unwrap(), None);
        assert_eq!(one.messages.try_recv().unwrap().subject, "a");
        assert_eq!(roster.handle(message(2)).unwrap().as_deref(), Some("UNSUB 2\r\n"));
        assert_eq!(roster.handle(message(2)).unwrap(), None, "it may have been on its way");
        assert!(!roster.is_empty());
        drop(one);
        assert!(roster.is_empty());
        assert_eq!(roster.tick().unwrap(), "UNSUB 1\r\nPING\r\n");
    }

    #[test]
    fn a_server_that_answers_nothing_any_more_is_dead() {
        let mut roster = Roster::default();
        let _listening: Vec<_> = ["a", "b", "c", "d"].map(|subject| subscribe(&mut roster, subject)).into();
        roster.tick().unwrap();
        roster.handle(Frame::Pong).unwrap();
        (0..2).for_each(|_| drop(roster.tick().unwrap()));
        assert!(roster.tick().is_err());
        // The next connection begins anew.
        roster.begin();
        assert!(roster.tick().is_ok());
    }

    #[test]
    fn what_is_too_much_is_lost_and_the_rest_goes_on() {
        let mut roster = Roster::default();
        let (_, mut one) = subscribe(&mut roster, "a");
        (0..5).for_each(|_| assert_eq!(roster.handle(message(1)).unwrap(), None));
        assert_eq!((one.messages.len(), roster.lost), (2, 3));
        one.messages.try_recv().unwrap();
        roster.handle(message(1)).unwrap();
        assert_eq!(one.messages.len(), 2);
    }

    #[test]
    fn a_new_connection_hears_the_same_as_the_old_one() {
        let mut roster = Roster::default();
        let (_, one) = subscribe(&mut roster, "a");
        roster.handle(Frame::Pong).unwrap();
        let (_, mut other) = subscribe(&mut roster, "b");
        // It is cut off before the second has been confirmed.
        assert_eq!(roster.begin(), "SUB a 1\r\nSUB b 2\r\nPING\r\n");
        roster.handle(Frame::Pong).unwrap();
        assert!(other.confirmed.try_recv().unwrap().is_ok());
        drop(one);
    }

    #[test]
    fn who_waits_for_a_confirmation_is_told_that_there_is_no_connection() {
        let mut roster = Roster::default();
        let (_, one) = subscribe(&mut roster, "a");
        roster.handle(Frame::Pong).unwrap();
        let (_, mut other) = subscribe(&mut roster, "b");
        roster.unreachable("nobody is there");
        assert!(matches!(other.confirmed.try_recv().unwrap(), Err(TransportError::Unavailable(_))));
        assert_eq!(roster.begin(), "SUB a 1\r\nPING\r\n");
        roster.close();
        assert!(one.messages.is_closed() && roster.is_empty());
    }
}
