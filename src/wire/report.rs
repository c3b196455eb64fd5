//! What a coordinator answers to an operator's inquiry about its shard, in MessagePack.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::types::{CoordinatorId, Revision};

use super::format::{self, Format};
use super::value::{self, DecodeError};

/// What one coordinator knows of its shard. It proves nothing that the store does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who answers.
    pub coordinator: CoordinatorId,
    /// On which host, for people.
    pub host: String,
    /// In which process, for people.
    pub pid: u32,
    /// True where it leads, quarantined or not.
    pub leads: bool,
    /// The highest revision that it has seen; of one that has found something wrong, until then.
    pub highest: Revision,
    /// What it has found, if it trusts its store no more (S11).
    pub found: Option<Finding>,
}

/// Why a coordinator does not trust its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// For people.
    pub why: String,
    /// The longest lease time of all leases that may be lost, where this coordinator knew them all.
    pub longest: Option<Duration>,
}

#[derive(Serialize)]
struct ReportBody<'a> {
    coordinator: u64,
    host: &'a str,
    pid: u32,
    leads: bool,
    highest: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantined: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    longest_ms: Option<u64>,
}

impl Report {
    /// Encodes it.
    pub fn encode(&self) -> Bytes {
        let longest = self.found.as_ref().and_then(|found| found.longest);
        let body = ReportBody {
            coordinator: self.coordinator.0,
            host: &self.host,
            pid: self.pid,
            leads: self.leads,
            highest: self.highest.get(),
            quarantined: self.found.as_ref().map(|found| found.why.as_str()),
            longest_ms: longest.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        };
        format::encode(Format::MessagePack, &body)
    }

    /// Decodes one. Unknown fields are ignored.
    ///
    /// # Errors
    /// The bytes are no report.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let fields = value::parse(Format::MessagePack, payload)?;
        let longest = fields.unsigned("longest_ms")?.map(Duration::from_millis);
        let finding = |why: &str| Finding { why: why.to_owned(), longest };
        Ok(Self {
            coordinator: CoordinatorId(fields.need_unsigned("coordinator")?),
            host: fields.need_text("host")?.to_owned(),
            pid: fields.need_number("pid")?,
            leads: fields.flag("leads")?.unwrap_or(false),
            highest: Revision::new(fields.need_unsigned("highest")?),
            found: fields.text("quarantined")?.map(finding),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn finding() -> impl Strategy<Value = Finding> {
        let longest = prop::option::of(any::<u32>().prop_map(|ms| Duration::from_millis(ms.into())));
        (".*", longest).prop_map(|(why, longest)| Finding { why, longest })
    }

    proptest! {
        #[test]
        fn reports_round_trip(
            (coordinator, host, pid) in (any::<u64>().prop_map(CoordinatorId), ".*", any::<u32>()),
            (leads, highest) in (any::<bool>(), any::<u64>().prop_map(Revision::new)),
            found in prop::option::of(finding()),
        ) {
            let report = Report { coordinator, host, pid, leads, highest, found };
            let body = report.encode();
            prop_assert_eq!(Report::decode(&body), Ok(report));
            for end in 0..body.len() {
                prop_assert!(Report::decode(&body[..end]).is_err());
            }
        }
    }
}
