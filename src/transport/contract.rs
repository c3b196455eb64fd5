//! What every transport does. The parts panic where the contract is broken.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use super::{Message, Transport, TransportError};
use crate::clock::{SystemClock, within};

/// How long a part waits for a message that must arrive.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Checks two connections to one broker that nobody else uses.
pub async fn contract<T: Transport>(one: T, other: T) {
    delivers_in_order(&one, &other).await;
    wildcards_stand_for_tokens(&one, &other).await;
    carries_the_reply_subject(&one, &other).await;
    reports_that_nobody_listens(&one, &other).await;
    dropping_unsubscribes(&one).await;
    inboxes_differ(&one, &other).await;
    refuses_what_is_no_subject(&one).await;
}

/// Messages of one connection arrive in the order of sending, from the moment that `subscribe` returns, at
/// every subscription, the sender's own too.
pub async fn delivers_in_order<T: Transport>(one: &T, other: &T) {
    let mut own = subscribed(one, "contract.order").await;
    let mut theirs = subscribed(other, "contract.order").await;
    for number in 0..100 {
        sent(one.publish("contract.order".into(), None, Bytes::from(number.to_string())).await);
    }
    for number in 0..100 {
        assert_eq!(next(&mut own).await.payload, number.to_string());
        assert_eq!(next(&mut theirs).await.payload, number.to_string());
    }
}

/// `*` stands for one token and `>` for one or more at the end.
pub async fn wildcards_stand_for_tokens<T: Transport>(one: &T, other: &T) {
    let mut star = subscribed(one, "contract.wild.*.end").await;
    let mut rest = subscribed(other, "contract.wild.>").await;
    for subject in ["contract.wild.a.end", "contract.wild.a.b.end", "contract.wild", "contract.wild.b.end"] {
        sent(one.publish(subject.into(), None, Bytes::new()).await);
    }
    assert_eq!(next(&mut star).await.subject, "contract.wild.a.end");
    assert_eq!(next(&mut star).await.subject, "contract.wild.b.end");
    assert_eq!(next(&mut rest).await.subject, "contract.wild.a.end");
    assert_eq!(next(&mut rest).await.subject, "contract.wild.a.b.end");
    assert_eq!(next(&mut rest).await.subject, "contract.wild.b.end");
}

/// A message carries where its answer goes, and a wildcard inbox of a clone's gets that.
pub async fn carries_the_reply_subject<T: Transport>(one: &T, other: &T) {
    let inbox = one.new_inbox();
    let mut answers = subscribed(&one.clone(), &format!("{inbox}.*")).await;
    let mut requests = subscribed(other, "contract.reply").await;
    sent(one.publish("contract.reply".into(), Some(format!("{inbox}.7")), "ask".into()).await);
    let request = next(&mut requests).await;
    assert_eq!((&request.payload[..], request.no_responders), (&b"ask"[..], false));
    let reply = request.reply.unwrap_or_else(|| panic!("a request must carry its reply subject"));
    sent(other.publish(reply, None, "answer".into()).await);
    let subject = format!("{inbox}.7");
    let expected = Message { subject, reply: None, payload: "answer".into(), no_responders: false };
    assert_eq!(next(&mut answers).await, expected);
}

/// A message with a reply subject that nobody hears is reported there; one without is lost in silence.
pub async fn reports_that_nobody_listens<T: Transport>(one: &T, other: &T) {
    let inbox = one.new_inbox();
    let mut answers = subscribed(one, &format!("{inbox}.*")).await;
    sent(one.publish("contract.nobody".into(), None, "lost".into()).await);
    sent(one.publish("contract.nobody".into(), Some(format!("{inbox}.1")), "unheard".into()).await);
    let notice = next(&mut answers).await;
    assert_eq!((notice.subject, notice.no_responders), (format!("{inbox}.1"), true));
    assert!(notice.payload.is_empty());

    let mut somebody = subscribed(other, "contract.nobody").await;
    sent(one.publish("contract.nobody".into(), Some(format!("{inbox}.2")), "heard".into()).await);
    assert_eq!(next(&mut somebody).await.payload, "heard");
    sent(one.publish("contract.silence".into(), Some(format!("{inbox}.3")), "unheard".into()).await);
    assert_eq!(next(&mut answers).await.subject, format!("{inbox}.3"), "none for the one that was heard");
}

/// Dropping what `subscribe` returned ends the subscription.
pub async fn dropping_unsubscribes<T: Transport>(one: &T) {
    let inbox = one.new_inbox();
    let mut answers = subscribed(one, &format!("{inbox}.*")).await;
    drop(subscribed(one, "contract.dropped").await);
    sent(one.publish("contract.dropped".into(), Some(format!("{inbox}.1")), Bytes::new()).await);
    assert!(next(&mut answers).await.no_responders);
}

/// No two inboxes are the same.
pub async fn inboxes_differ<T: Transport>(one: &T, other: &T) {
    let mut inboxes = vec![one.new_inbox(), one.new_inbox(), one.clone().new_inbox(), other.new_inbox()];
    inboxes.sort_unstable();
    inboxes.dedup();
    assert_eq!(inboxes.len(), 4);
}

/// Subjects that a server would misread are refused before they are sent.
pub async fn refuses_what_is_no_subject<T: Transport>(one: &T) {
    for subject in ["", "contract..b", "contract.", "contract.a b", "contract.*", "contract.a\r\nPING"] {
        let refused = one.publish(subject.into(), None, Bytes::new()).await;
        assert!(matches!(refused, Err(TransportError::Refused(_))), "publish to {subject:?}: {refused:?}");
    }
    for subject in ["", "contract..b", "contract.>.b", "contract.a b"] {
        let refused = one.subscribe(subject.into()).await.err();
        assert!(matches!(refused, Some(TransportError::Refused(_))), "subscribe to {subject:?}: {refused:?}");
    }
}

/// A subscription that must succeed.
pub async fn subscribed<T: Transport>(transport: &T, subject: &str) -> BoxStream<'static, Message> {
    let subscribed = transport.subscribe(subject.into()).await;
    subscribed.unwrap_or_else(|error| panic!("cannot subscribe to {subject}: {error}"))
}

/// The next message, which must arrive.
pub async fn next(messages: &mut BoxStream<'static, Message>) -> Message {
    match within(&SystemClock, PATIENCE, messages.next()).await {
        Some(Some(message)) => message,
        Some(None) => panic!("the subscription has ended"),
        None => panic!("no message within {PATIENCE:?}"),
    }
}

fn sent(outcome: Result<(), TransportError>) {
    outcome.unwrap_or_else(|error| panic!("cannot publish: {error}"));
}
