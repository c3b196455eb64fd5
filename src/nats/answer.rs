//! What the answer to a write means.

use async_nats::Message;
use serde::Deserialize;

use super::api::ServerFault;
use crate::store::WriteOutcome;
use crate::types::Revision;

/// What was written, to check the answer against.
pub(super) struct Written<'a> {
    /// The stream that must have stored it.
    pub(super) stream: &'a str,
    /// How many records, where it was a batch.
    pub(super) batch: Option<usize>,
}

#[derive(Deserialize)]
struct Ack {
    stream: String,
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    #[serde(default)]
    count: Option<usize>,
}

#[derive(Deserialize)]
struct Nack {
    error: ServerFault,
}

/// Another revision is there.
const WRONG_LAST_SEQUENCE: u64 = 10_071;

/// Refusals that mend by themselves: no stream leader, another write to the same subject or a copy of this one
/// in flight, too many batches in flight, a batch that was broken up by a change of leader.
const PASSING: [u64; 6] = [10_008, 10_009, 10_158, 10_164, 10_176, 10_210];

/// Refusals that somebody has to mend, given before anything is stored: no such stream, JetStream not enabled,
/// limits of the account, too large a record or batch, features that the stream does not have.
const LASTING: [u64; 15] = [
    10_002, 10_028, 10_039, 10_047, 10_054, 10_059, 10_076, 10_165, 10_166, 10_174, 10_175, 10_177, 10_179,
    10_199, 10_200,
];

/// Reads an answer. Whatever it does not say for certain is unknown: S7 sends the write again.
pub(super) fn outcome(message: &Message, written: &Written<'_>) -> WriteOutcome {
    if message.status.is_some_and(|status| status.as_u16() == 503) {
        return WriteOutcome::NotNow;
    }
    if let Ok(nack) = serde_json::from_slice::<Nack>(&message.payload) {
        return refusal(&nack.error, written);
    }
    match serde_json::from_slice::<Ack>(&message.payload) {
        Ok(ack) if is_ours(&ack, written) => WriteOutcome::Acknowledged(Revision::new(ack.seq)),
        _ => {
            let answer = String::from_utf8_lossy(&message.payload);
            tracing::error!(stream = written.stream, %answer, "a write has an answer that makes no sense");
            WriteOutcome::Unknown
        }
    }
}

/// Writes carry no message id, so none can be a duplicate.
fn is_ours(ack: &Ack, written: &Written<'_>) -> bool {
    ack.stream == written.stream && ack.seq > 0 && !ack.duplicate && ack.count == written.batch
}

fn refusal(fault: &ServerFault, written: &Written<'_>) -> WriteOutcome {
    let stream = written.stream;
    match fault.err_code {
        WRONG_LAST_SEQUENCE => WriteOutcome::Mismatch(named_revision(&fault.description)),
        code if PASSING.contains(&code) => {
            tracing::debug!(%stream, %fault, "a write was refused for now");
            WriteOutcome::NotNow
        }
        code if LASTING.contains(&code) => {
            tracing::error!(%stream, %fault, "a write was refused; this will not mend by itself");
            WriteOutcome::NotNow
        }
        // A server that failed to store what the others may have stored answers so, too.
        _ => {
            tracing::error!(%stream, %fault, "a write failed");
            WriteOutcome::Unknown
        }
    }
}

/// The number stands in the text only: `wrong last sequence: 42`.
fn named_revision(description: &str) -> Option<Revision> {
    let number = description.rsplit(": ").next()?.trim();
    number.parse().ok().map(Revision::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(payload: &'static str, batch: Option<usize>) -> WriteOutcome {
        let message = Message {
            subject: "x".into(),
            reply: None,
            payload: payload.into(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        };
        outcome(&message, &Written { stream: "KV_a", batch })
    }

    #[test]
    fn acknowledgements() {
        let acknowledged = WriteOutcome::Acknowledged(Revision::new(7));
        assert_eq!(answer(r#"{"stream":"KV_a","seq":7}"#, None), acknowledged);
        assert_eq!(answer(r#"{"stream":"KV_a","seq":7,"batch":"b","count":3}"#, Some(3)), acknowledged);
        for nonsense in [
            r#"{"stream":"KV_b","seq":7}"#,
            r#"{"stream":"KV_a","seq":0}"#,
            r#"{"stream":"KV_a","seq":7,"duplicate":true}"#,
            r#"{"stream":"KV_a","seq":7,"batch":"b","count":2}"#,
            r#"{"stream":"KV_a"}"#,
            "",
        ] {
            assert_eq!(answer(nonsense, None), WriteOutcome::Unknown, "{nonsense}");
        }
    }

    #[test]
    fn refusals() {
        let wrong = r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 42"}}"#;
        assert_eq!(answer(wrong, None), WriteOutcome::Mismatch(Some(Revision::new(42))));
        let unnumbered = r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence"}}"#;
        assert_eq!(answer(unnumbered, None), WriteOutcome::Mismatch(None));
        let in_flight = r#"{"error":{"code":400,"err_code":10164,"description":"wrong last sequence"}}"#;
        assert_eq!(answer(in_flight, None), WriteOutcome::NotNow);
        let failed = r#"{"error":{"code":503,"err_code":10077,"description":"no space left"}}"#;
        assert_eq!(answer(failed, None), WriteOutcome::Unknown);
    }
}
