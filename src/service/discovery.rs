//! Being found by `nats micro`: leaders and standbys answer, unlike requests about locks, which only a sure leader
//! answers.

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use super::Status;
use super::shard::Shard;
use crate::clock::Clock;
use crate::engine::message::Code;
use crate::store::Store;
use crate::transport::{Message, Transport};
use crate::types::CoordinatorId;
use crate::wire::inbox::reply_allowed;
use crate::wire::micro::{self, Endpoint, Inquiry, Introduction};

/// Who looks for services. A coordinator that may not hear them is not found, and does its work.
pub(super) async fn listen<T: Transport>(transport: &T, me: CoordinatorId) -> BoxStream<'static, Message> {
    let mut heard = stream::SelectAll::new();
    for subject in Inquiry::heard_on(&me.to_string()) {
        match transport.listen(subject).await {
            Ok(messages) => heard.push(messages),
            Err(error) => tracing::info!(%error, "not to be found by nats micro"),
        }
    }
    heard.boxed()
}

impl<S: Store, T: Transport, C: Clock> Shard<S, T, C> {
    /// Answers who looks for services.
    pub(super) async fn introduce(&mut self, message: &Message) {
        let Some(inquiry) = Inquiry::of(&message.subject) else { return };
        let Some(reply) = &message.reply else { return };
        if !reply_allowed(&self.config.reply_prefix, reply) {
            return;
        }
        let role = match &*self.status.borrow() {
            Status::Leading { .. } => "leading",
            Status::Quarantined { .. } => "quarantined",
            Status::Standby | Status::Stopped => "standby",
        };
        let endpoints = self.measures.requests().map(|(verb, requests)| Endpoint {
            verb,
            requests: requests.count,
            errors: requests.rejected,
            last_error: requests.last.map_or("", Code::as_str),
            took: requests.took,
        });
        let introduction = Introduction {
            coordinator: self.me,
            namespace: self.config.namespace.clone(),
            role,
            host: self.config.host.clone(),
            started: self.measures.since(),
            endpoints: endpoints.into(),
        };
        let body = micro::encode(inquiry, &introduction);
        self.outbox.introduce(reply.to_string(), body).await;
    }
}
