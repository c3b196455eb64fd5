//! The answer to `info`: who leads, and with which limits.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use crate::types::{CoordinatorId, Epoch, Namespace, Revision, ShardId, Token};

use super::fields::{Fields, need, parsed};
use super::format::{self, Format};
use super::value::DecodeError;

/// What a coordinator tells about itself and its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The version of natslock that it runs.
    pub version: String,
    /// The version of the protocol that it speaks.
    pub protocol: u64,
    /// The namespace.
    pub namespace: Namespace,
    /// How many shards the namespace has.
    pub shards: u16,
    /// The leaders that it knows, by shard.
    pub leaders: Vec<Leader>,
    /// Limits by name, the unit last in the name.
    pub limits: BTreeMap<String, u64>,
    /// The version of the NATS server.
    pub server_version: String,
    /// The highest fencing token that the shards may have given.
    pub highest_token: Token,
}

/// The leader of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The shard.
    pub shard: ShardId,
    /// Its term.
    pub epoch: Epoch,
    /// Who leads.
    pub coordinator: CoordinatorId,
    /// On which host.
    pub host: String,
    /// In which process.
    pub pid: u32,
}

#[derive(Serialize)]
struct InfoBody<'a> {
    status: &'static str,
    version: &'a str,
    protocol: u64,
    namespace: &'a str,
    shards: u16,
    leaders: Vec<LeaderBody<'a>>,
    limits: &'a BTreeMap<String, u64>,
    server_version: &'a str,
    highest_token: u64,
    epoch: u64,
}

#[derive(Serialize)]
struct LeaderBody<'a> {
    shard: u16,
    epoch: u64,
    coordinator: String,
    host: &'a str,
    pid: u32,
}

/// Encodes the reply.
pub fn encode(format: Format, epoch: Epoch, info: &Info) -> Bytes {
    let leaders = info.leaders.iter().map(|leader| LeaderBody {
        shard: leader.shard.0,
        epoch: leader.epoch.get(),
        coordinator: leader.coordinator.to_string(),
        host: &leader.host,
        pid: leader.pid,
    });
    let body = InfoBody {
        status: "info",
        version: &info.version,
        protocol: info.protocol,
        namespace: info.namespace.as_str(),
        shards: info.shards,
        leaders: leaders.collect(),
        limits: &info.limits,
        server_version: &info.server_version,
        highest_token: info.highest_token.get(),
        epoch: epoch.get(),
    };
    format::encode(format, &body)
}

/// Reads the reply, but for its epoch.
pub(super) fn decode(fields: &Fields<'_>) -> Result<Info, DecodeError> {
    let limits = need("limits", fields.map("limits")?)?;
    let limit = |name: &str| Ok((name.to_owned(), limits.need_unsigned(name)?));
    Ok(Info {
        version: fields.need_text("version")?.to_owned(),
        protocol: fields.need_unsigned("protocol")?,
        namespace: parsed("namespace", fields.need_text("namespace")?.parse())?,
        shards: fields.need_number("shards")?,
        leaders: need("leaders", fields.maps("leaders", decode_leader)?)?,
        limits: limits.names().map(limit).collect::<Result<_, DecodeError>>()?,
        server_version: fields.need_text("server_version")?.to_owned(),
        highest_token: Token::from_raw(fields.need_unsigned("highest_token")?),
    })
}

/// Reads a leader, here and in events.
pub(super) fn decode_leader(fields: &Fields<'_>) -> Result<Leader, DecodeError> {
    Ok(Leader {
        shard: ShardId(fields.need_number("shard")?),
        epoch: Epoch::new(Revision::new(fields.need_unsigned("epoch")?)),
        coordinator: coordinator(fields.need_text("coordinator")?)?,
        host: fields.need_text("host")?.to_owned(),
        pid: fields.need_number("pid")?,
    })
}

/// Sixteen hex digits: JSON readers keep no more than 53 bits of a number.
fn coordinator(text: &str) -> Result<CoordinatorId, DecodeError> {
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(text, 16).ok().filter(|_| digits);
    let error = || DecodeError::new("\"coordinator\" must be sixteen hex digits");
    number.map(CoordinatorId).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::reply::{self, Answer};

    fn info() -> Info {
        Info {
            version: "0.1.0".into(),
            protocol: 1,
            namespace: Namespace::default(),
            shards: 1,
            leaders: vec![Leader {
                shard: ShardId(0),
                epoch: Epoch::new(Revision::new(7)),
                coordinator: CoordinatorId(0xab),
                host: "db-1".into(),
                pid: 42,
            }],
            limits: [("waiters_max".into(), 10_000), ("body_bytes_max".into(), 131_072)].into(),
            server_version: "2.14.0".into(),
            highest_token: Token::from_raw(u64::MAX),
        }
    }

    #[test]
    fn info_round_trips() {
        let epoch = Epoch::new(Revision::new(9));
        for format in [Format::Json, Format::MessagePack] {
            let (heard, answer) = reply::decode(&encode(format, epoch, &info())).unwrap();
            assert_eq!(heard, epoch);
            assert!(matches!(answer, Answer::Info(decoded) if *decoded == info()));
        }
    }

    #[test]
    fn info_looks_so() {
        let body = encode(Format::Json, Epoch::new(Revision::new(9)), &info());
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            r#"{"status":"info","version":"0.1.0","protocol":1,"namespace":"default","shards":1,"leaders":[{"shard":0,"epoch":7,"coordinator":"00000000000000ab","host":"db-1","pid":42}],"limits":{"body_bytes_max":131072,"waiters_max":10000},"server_version":"2.14.0","highest_token":18446744073709551615,"epoch":9}"#
        );
    }

    #[test]
    fn a_coordinator_is_sixteen_hex_digits() {
        assert_eq!(coordinator("00000000000000Ab"), Ok(CoordinatorId(0xab)));
        for bad in ["", "ab", "+0000000000000ab", "00000000000000abc", "g000000000000000"] {
            assert!(coordinator(bad).is_err(), "{bad:?} was taken");
        }
    }
}
