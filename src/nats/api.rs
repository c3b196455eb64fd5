//! Requests to JetStream, and what their failures mean.
//!
//! The library has a call for each of them, but with an error type each, and without a way to see that a
//! permission is missing. One function with one error type is shorter.

use std::time::Duration;

use async_nats::{Request, RequestErrorKind};
use serde::Deserialize;
use serde_json::Value;

use super::connect::Connection;
use super::denials::{Action, Denial};
use crate::store::StoreError;

/// No such stream.
pub(super) const STREAM_NOT_FOUND: u64 = 10_059;
/// A stream of this name has another configuration.
pub(super) const STREAM_NAME_IN_USE: u64 = 10_058;
/// No such message.
pub(super) const NO_MESSAGE_FOUND: u64 = 10_037;

const NO_SUITABLE_PEERS: u64 = 10_005;
const NOT_ENABLED: [u64; 2] = [10_039, 10_076];

/// An error as JetStream writes it.
#[derive(Debug, Clone, Deserialize, thiserror::Error)]
#[error("{description} ({err_code})")]
pub(super) struct ServerFault {
    /// Like an HTTP status.
    pub(super) code: u16,
    /// What exactly.
    #[serde(default)]
    pub(super) err_code: u64,
    /// For people.
    #[serde(default)]
    pub(super) description: String,
}

/// A request that was not answered as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("{0}")]
    Fault(#[from] ServerFault),
    #[error("{0}")]
    Denied(#[from] Denial),
    #[error("JetStream does not answer here")]
    NoResponders,
    #[error(
        "JetStream is not enabled on the NATS server {server} (`jetstream {{}}` in its configuration, or -js)"
    )]
    NotEnabled { server: String },
    #[error("{0}")]
    NoAnswer(String),
}

impl ApiError {
    /// The error code, where the server answered with one.
    pub(super) const fn err_code(&self) -> Option<u64> {
        match self {
            Self::Fault(fault) => Some(fault.err_code),
            _ => None,
        }
    }

    /// The same for who asked the store. `what` is what could not be done.
    pub(super) fn explain(self, what: &str) -> StoreError {
        let text = format!("{what}: {self}");
        if self.is_retryable() { StoreError::Unavailable(text) } else { StoreError::Refused(text) }
    }

    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Denied(_) | Self::NotEnabled { .. } => false,
            Self::NoResponders | Self::NoAnswer(_) => true,
            Self::Fault(fault) if NOT_ENABLED.contains(&fault.err_code) => false,
            // A cluster that is still coming together has no peers to place a stream on.
            Self::Fault(fault) => fault.code == 503 || fault.err_code == NO_SUITABLE_PEERS,
        }
    }
}

impl Connection {
    /// Asks JetStream, and waits no longer than `patience` for the answer.
    pub(super) async fn ask(&self, call: &str, body: &Value, patience: Duration) -> Result<Value, ApiError> {
        let subject = format!("$JS.API.{call}");
        let mark = self.denials().mark();
        let request = Request::new().payload(body.to_string().into()).timeout(Some(patience));
        let inbox = self.client().new_inbox();
        let inboxes = inbox.rsplit_once('.').map_or("", |(prefix, _)| prefix);
        let concerns = |denial: &Denial| match denial.action {
            Action::Publish => denial.subject == subject,
            Action::Subscribe => denial.subject.starts_with(inboxes),
        };
        let answer = tokio::select! {
            answer = self.client().send_request(subject.clone(), request) => answer,
            denial = self.denials().wait(mark, concerns) => return Err(denial.into()),
        };
        match answer {
            Ok(message) => parse(&message.payload),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Err(self.nobody_answers()),
            Err(error) => Err(ApiError::NoAnswer(error.to_string())),
        }
    }

    /// A server without JetStream says so when one connects; where it is alone, nobody else will answer.
    fn nobody_answers(&self) -> ApiError {
        let server = self.client().server_info();
        if server.jetstream || server.cluster.is_some() {
            ApiError::NoResponders
        } else {
            ApiError::NotEnabled { server: server.server_name }
        }
    }
}

fn parse(payload: &[u8]) -> Result<Value, ApiError> {
    let mut answer: Value =
        serde_json::from_slice(payload).map_err(|error| ApiError::NoAnswer(error.to_string()))?;
    match answer.get_mut("error").map(Value::take) {
        None => Ok(answer),
        Some(fault) => Err(match serde_json::from_value::<ServerFault>(fault) {
            Ok(fault) => fault.into(),
            Err(error) => ApiError::NoAnswer(error.to_string()),
        }),
    }
}
