//! The service API of NATS (its ADR-32): how `nats micro ls`, `info` and `stats` find a coordinator.
//!
//! It answers on `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`, also followed by the service's name, and by that and
//! the coordinator's id. The verbs are its endpoints.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::types::{CoordinatorId, Namespace, WallTime};

use super::format::{self, Format};
use super::subject::Verb;

/// The name under which all coordinators are found.
pub const NAME: &str = "natslock";

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inquiry {
    /// Who is there.
    Ping,
    /// What they offer.
    Info,
    /// What they have done.
    Stats,
}

impl Inquiry {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Ping, "PING"), (Self::Info, "INFO"), (Self::Stats, "STATS")];

    /// The subjects on which a coordinator is asked that has this id; `*` for those of any.
    pub fn heard_on(id: &str) -> [String; 3] {
        ["$SRV.*".into(), format!("$SRV.*.{NAME}"), format!("$SRV.*.{NAME}.{id}")]
    }

    /// The subjects on which whoever may ask does: those of all services, of this one, and of each coordinator.
    pub fn asked_on() -> impl Iterator<Item = String> {
        Self::ALL.into_iter().flat_map(|(_, word)| {
            [format!("$SRV.{word}"), format!("$SRV.{word}.{NAME}"), format!("$SRV.{word}.{NAME}.*")]
        })
    }

    /// What a message on this subject asks.
    pub fn of(subject: &str) -> Option<Self> {
        let verb = subject.strip_prefix("$SRV.")?.split('.').next()?;
        Self::ALL.into_iter().find(|(_, word)| *word == verb).map(|(inquiry, _)| inquiry)
    }
}

/// A coordinator as others find it.
#[derive(Debug, Clone)]
pub struct Introduction {
    /// Who it is.
    pub coordinator: CoordinatorId,
    /// Whose requests it serves.
    pub namespace: Namespace,
    /// `leading`, `standby` or `quarantined`.
    pub role: &'static str,
    /// On which host.
    pub host: String,
    /// Since when.
    pub started: WallTime,
    /// What it has done for each verb.
    pub endpoints: Vec<Endpoint>,
}

/// One verb.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// Which.
    pub verb: Verb,
    /// How many requests there were.
    pub requests: u64,
    /// How many of them made no sense.
    pub errors: u64,
    /// The code of the latest of those; empty where there was none.
    pub last_error: &'static str,
    /// How long all of them took together, where that is known.
    pub took: Duration,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'static str,
    id: String,
    version: &'static str,
    metadata: Metadata<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoints: Option<Vec<EndpointBody>>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    namespace: &'a str,
    role: &'static str,
    host: &'a str,
}

/// An empty map.
#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct EndpointBody {
    name: &'static str,
    subject: String,
    queue_group: &'static str,
    /// There is none of single endpoints; who asks what a service offers is told so.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Nothing>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    stats: Option<StatsBody>,
}

#[derive(Serialize)]
struct StatsBody {
    num_requests: u64,
    num_errors: u64,
    last_error: &'static str,
    processing_time: u64,
    average_processing_time: u64,
}

/// Encodes the answer.
pub fn encode(inquiry: Inquiry, me: &Introduction) -> Bytes {
    let kind = match inquiry {
        Inquiry::Ping => "io.nats.micro.v1.ping_response",
        Inquiry::Info => "io.nats.micro.v1.info_response",
        Inquiry::Stats => "io.nats.micro.v1.stats_response",
    };
    let endpoints = || me.endpoints.iter().map(|endpoint| endpoint_body(inquiry, me, endpoint)).collect();
    let body = Body {
        kind,
        name: NAME,
        id: me.coordinator.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        metadata: Metadata { namespace: me.namespace.as_str(), role: me.role, host: &me.host },
        description: (inquiry == Inquiry::Info).then_some(env!("CARGO_PKG_DESCRIPTION")),
        started: (inquiry == Inquiry::Stats).then(|| timestamp(me.started)),
        endpoints: (inquiry != Inquiry::Ping).then(endpoints),
    };
    format::encode(Format::Json, &body)
}

fn endpoint_body(inquiry: Inquiry, me: &Introduction, endpoint: &Endpoint) -> EndpointBody {
    let nanos = u64::try_from(endpoint.took.as_nanos()).unwrap_or(u64::MAX);
    let stats = StatsBody {
        num_requests: endpoint.requests,
        num_errors: endpoint.errors,
        last_error: endpoint.last_error,
        processing_time: nanos,
        average_processing_time: nanos.checked_div(endpoint.requests).unwrap_or(0),
    };
    EndpointBody {
        name: endpoint.verb.as_str(),
        subject: format!("natslock.{}.{}.>", me.namespace, endpoint.verb),
        queue_group: "",
        metadata: (inquiry == Inquiry::Info).then_some(Nothing {}),
        stats: (inquiry == Inquiry::Stats).then_some(stats),
    }
}

/// As RFC 3339 has it, in UTC.
fn timestamp(at: WallTime) -> String {
    humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + Duration::from_millis(at.0)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn introduction() -> Introduction {
        let took = Duration::from_micros(30);
        let acquire =
            Endpoint { verb: Verb::Acquire, requests: 3, errors: 1, last_error: "invalid_ttl", took };
        Introduction {
            coordinator: CoordinatorId(0xab),
            namespace: Namespace::default(),
            role: "leading",
            host: "db-1".into(),
            started: WallTime(1_700_000_000_042),
            endpoints: vec![acquire],
        }
    }

    fn told(inquiry: Inquiry) -> String {
        String::from_utf8(encode(inquiry, &introduction()).to_vec()).unwrap()
    }

    #[test]
    fn coordinators_look_so_to_nats() {
        let version = env!("CARGO_PKG_VERSION");
        let common = format!(
            r#""name":"natslock","id":"00000000000000ab","version":"{version}","metadata":{{"namespace":"default","role":"leading","host":"db-1"}}"#
        );
        assert_eq!(told(Inquiry::Ping), format!(r#"{{"type":"io.nats.micro.v1.ping_response",{common}}}"#));
        let endpoint = r#""name":"acquire","subject":"natslock.default.acquire.>","queue_group":"""#;
        let info = told(Inquiry::Info);
        assert!(info.ends_with(&format!(r#""endpoints":[{{{endpoint},"metadata":{{}}}}]}}"#)), "{info}");
        assert_eq!(
            told(Inquiry::Stats),
            format!(
                r#"{{"type":"io.nats.micro.v1.stats_response",{common},"started":"2023-11-14T22:13:20.042Z","endpoints":[{{{endpoint},"num_requests":3,"num_errors":1,"last_error":"invalid_ttl","processing_time":30000,"average_processing_time":10000}}]}}"#
            )
        );
    }

    #[test]
    fn only_what_is_asked_is_answered() {
        assert_eq!(Inquiry::of("$SRV.PING"), Some(Inquiry::Ping));
        assert_eq!(Inquiry::of("$SRV.STATS.natslock.00000000000000ab"), Some(Inquiry::Stats));
        for other in ["$SRV.SCHEMA", "$SRV", "PING", "$SRV.ping"] {
            assert_eq!(Inquiry::of(other), None, "{other}");
        }
    }
}
