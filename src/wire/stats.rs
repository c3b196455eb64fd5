//! The answer to `stats`: what the leader has counted since its coordinator began.
//!
//! Lengths of time are milliseconds as decimal numbers, to the microsecond; those of nothing are null.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::types::{Epoch, LockName, WallTime};

use super::fields::{Fields, need, parsed};
use super::format::{self, Format, REPLY_BYTES_MAX};
use super::value::DecodeError;

/// The figures of a shard and of its busiest locks.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// Since when they are counted, by the leader's wall clock.
    pub since: WallTime,
    /// All locks together.
    pub total: Figures,
    /// The busiest, the busiest first. One that came into this list later is counted from then on.
    pub locks: Vec<(LockName, Figures)>,
}

/// The figures of one lock, or of all.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figures {
    /// New acquisitions; a repeat of a known one is none, nor is one that was refused.
    pub acquires: u64,
    /// Leases that began.
    pub grants: u64,
    /// Tries that were told that others hold the lock.
    pub held: u64,
    /// Waits that were over before their turn.
    pub timeouts: u64,
    /// Acquires that met a holder, or a waiter, that they had to wait for.
    pub contended: u64,
    /// The share of them in all acquires.
    pub contention_rate: f64,
    /// From the first receipt of an acquire to the acknowledgement of the write that made it a lease.
    pub acquire: Option<Spread>,
    /// From the receipt of a release until it is stored that the lock is free, or another's.
    pub release: Option<Spread>,
    /// In the queue, of those who had to wait: until the write of their grant began, or until they gave up.
    pub wait: Option<Spread>,
    /// From the grant to the end of the lease.
    pub hold: Option<Spread>,
    /// Leases that ended because they were not renewed, or because nobody was there to take the grant.
    pub expiries: u64,
    /// Writes that ended leases and began others.
    pub handovers: u64,
    /// Waits that their owners ended.
    pub cancels: u64,
    /// How often the coordinator took over.
    pub takeovers: u64,
    /// Writes without an answer; they were sent again.
    pub in_doubt: u64,
    /// Writes that met another revision than they expected.
    pub conflicts: u64,
    /// Refused requests by code.
    pub refusals: BTreeMap<String, u64>,
    /// Who holds at this moment.
    pub holders: usize,
    /// Who waits at this moment.
    pub waiters: usize,
}

/// How lengths of time are spread. Percentiles are within 1 %, mean and maximum exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// The mean.
    pub mean: Duration,
    /// Half of them are not longer.
    pub p50: Duration,
    /// 99 of 100 are not longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

#[derive(Serialize)]
struct StatsBody<'a> {
    status: &'static str,
    epoch: u64,
    since_ms: u64,
    total: FiguresBody<'a>,
    locks: Vec<FiguresBody<'a>>,
}

#[derive(Serialize)]
struct FiguresBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    acquires: u64,
    grants: u64,
    held: u64,
    timeouts: u64,
    contended: u64,
    contention_rate: f64,
    acquire_ms: SpreadBody,
    release_ms: SpreadBody,
    wait_ms: SpreadBody,
    held_ms: SpreadBody,
    expiries: u64,
    handovers: u64,
    cancels: u64,
    takeovers: u64,
    in_doubt: u64,
    conflicts: u64,
    refusals: &'a BTreeMap<String, u64>,
    holders: usize,
    waiters: usize,
}

#[derive(Serialize)]
struct SpreadBody {
    mean: Option<f64>,
    p50: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
}

/// Encodes the reply; with fewer locks where all of them would make it too large.
pub fn encode(format: Format, epoch: Epoch, stats: &Stats) -> Bytes {
    let mut listed = stats.locks.len();
    loop {
        let encoded = format::encode(format, &body(epoch, stats, listed));
        if encoded.len() <= REPLY_BYTES_MAX || listed == 0 {
            return encoded;
        }
        listed /= 2;
    }
}

fn body(epoch: Epoch, stats: &Stats, listed: usize) -> StatsBody<'_> {
    let locks = stats.locks.iter().take(listed);
    StatsBody {
        status: "stats",
        epoch: epoch.get(),
        since_ms: stats.since.0,
        total: figures_body(None, &stats.total),
        locks: locks.map(|(name, figures)| figures_body(Some(name.as_str()), figures)).collect(),
    }
}

fn figures_body<'a>(name: Option<&'a str>, figures: &'a Figures) -> FiguresBody<'a> {
    FiguresBody {
        name,
        acquires: figures.acquires,
        grants: figures.grants,
        held: figures.held,
        timeouts: figures.timeouts,
        contended: figures.contended,
        contention_rate: figures.contention_rate,
        acquire_ms: spread_body(figures.acquire),
        release_ms: spread_body(figures.release),
        wait_ms: spread_body(figures.wait),
        held_ms: spread_body(figures.hold),
        expiries: figures.expiries,
        handovers: figures.handovers,
        cancels: figures.cancels,
        takeovers: figures.takeovers,
        in_doubt: figures.in_doubt,
        conflicts: figures.conflicts,
        refusals: &figures.refusals,
        holders: figures.holders,
        waiters: figures.waiters,
    }
}

fn spread_body(spread: Option<Spread>) -> SpreadBody {
    let ms = |of: fn(Spread) -> Duration| spread.map(|spread| of(spread).as_micros() as f64 / 1_000.0);
    SpreadBody {
        mean: ms(|spread| spread.mean),
        p50: ms(|spread| spread.p50),
        p99: ms(|spread| spread.p99),
        max: ms(|spread| spread.max),
    }
}

/// Reads the reply, but for its epoch.
pub(super) fn decode(fields: &Fields<'_>) -> Result<Stats, DecodeError> {
    Ok(Stats {
        since: WallTime(fields.need_unsigned("since_ms")?),
        total: figures(need("total", fields.map("total")?)?)?,
        locks: need("locks", fields.maps("locks", lock)?)?,
    })
}

fn lock(fields: &Fields<'_>) -> Result<(LockName, Figures), DecodeError> {
    let name = parsed("name", LockName::from_encoded(fields.need_text("name")?))?;
    Ok((name, figures(fields)?))
}

fn figures(fields: &Fields<'_>) -> Result<Figures, DecodeError> {
    let refusals = need("refusals", fields.map("refusals")?)?;
    let refusal = |code: &str| Ok((code.to_owned(), refusals.need_unsigned(code)?));
    Ok(Figures {
        acquires: fields.need_unsigned("acquires")?,
        grants: fields.need_unsigned("grants")?,
        held: fields.need_unsigned("held")?,
        timeouts: fields.need_unsigned("timeouts")?,
        contended: fields.need_unsigned("contended")?,
        contention_rate: need("contention_rate", fields.decimal("contention_rate")?)?,
        acquire: spread(fields, "acquire_ms")?,
        release: spread(fields, "release_ms")?,
        wait: spread(fields, "wait_ms")?,
        hold: spread(fields, "held_ms")?,
        expiries: fields.need_unsigned("expiries")?,
        handovers: fields.need_unsigned("handovers")?,
        cancels: fields.need_unsigned("cancels")?,
        takeovers: fields.need_unsigned("takeovers")?,
        in_doubt: fields.need_unsigned("in_doubt")?,
        conflicts: fields.need_unsigned("conflicts")?,
        refusals: refusals.names().map(refusal).collect::<Result<_, DecodeError>>()?,
        holders: fields.need_number("holders")?,
        waiters: fields.need_number("waiters")?,
    })
}

fn spread(fields: &Fields<'_>, name: &str) -> Result<Option<Spread>, DecodeError> {
    let spread = need(name, fields.map(name)?)?;
    let [mean, p50, p99, max] = ["mean", "p50", "p99", "max"].map(|part| span(spread, part));
    Ok(match (mean?, p50?, p99?, max?) {
        (Some(mean), Some(p50), Some(p99), Some(max)) => Some(Spread { mean, p50, p99, max }),
        _ => None,
    })
}

fn span(fields: &Fields<'_>, name: &str) -> Result<Option<Duration>, DecodeError> {
    let Some(ms) = fields.decimal(name)? else { return Ok(None) };
    // To the microsecond, which a number with a fraction may miss by a little.
    let span = Duration::try_from_secs_f64((ms * 1_000.0).round() / 1_000_000.0);
    span.map(Some).map_err(|_| DecodeError::new(format!("\"{name}\" must be a length of time, not {ms:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Revision;
    use crate::wire::reply::{self, Answer};

    fn stats() -> Stats {
        let micros = Duration::from_micros;
        let spread =
            Spread { mean: micros(1_234), p50: micros(1_000), p99: micros(2_500), max: micros(90_000_001) };
        let total = Figures {
            acquires: 4,
            grants: 3,
            contended: 1,
            contention_rate: 0.25,
            acquire: Some(spread),
            refusals: [("queue_full".to_owned(), 2)].into(),
            holders: 1,
            ..Figures::default()
        };
        let one = Figures { acquires: 1, takeovers: 2, ..Figures::default() };
        Stats {
            since: WallTime(1_700_000_000_000),
            total,
            locks: vec![(LockName::encode("订.a").unwrap(), one)],
        }
    }

    #[test]
    fn stats_round_trip() {
        let epoch = Epoch::new(Revision::new(9));
        for format in [Format::Json, Format::MessagePack] {
            let (heard, answer) = reply::decode(&encode(format, epoch, &stats())).unwrap();
            assert_eq!(heard, epoch);
            assert!(matches!(answer, Answer::Stats(decoded) if *decoded == stats()));
        }
    }

    #[test]
    fn stats_look_so() {
        let whole = stats();
        let body = encode(Format::Json, Epoch::new(Revision::new(9)), &Stats { locks: Vec::new(), ..whole });
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            r#"{"status":"stats","epoch":9,"since_ms":1700000000000,"total":{"acquires":4,"grants":3,"held":0,"timeouts":0,"contended":1,"contention_rate":0.25,"acquire_ms":{"mean":1.234,"p50":1.0,"p99":2.5,"max":90000.001},"release_ms":{"mean":null,"p50":null,"p99":null,"max":null},"wait_ms":{"mean":null,"p50":null,"p99":null,"max":null},"held_ms":{"mean":null,"p50":null,"p99":null,"max":null},"expiries":0,"handovers":0,"cancels":0,"takeovers":0,"in_doubt":0,"conflicts":0,"refusals":{"queue_full":2},"holders":1,"waiters":0},"locks":[]}"#
        );
    }

    #[test]
    fn a_reply_that_would_be_too_large_lists_fewer() {
        let (_, figures) = stats().locks.remove(0);
        let name = |number: usize| LockName::encode(&format!("{number}{}", "x".repeat(250))).unwrap();
        let locks = (0..1_000).map(|number| (name(number), figures.clone())).collect();
        let body = encode(Format::Json, Epoch::new(Revision::new(9)), &Stats { locks, ..stats() });
        let (_, answer) = reply::decode(&body).unwrap();
        assert!(body.len() <= REPLY_BYTES_MAX);
        assert!(matches!(answer, Answer::Stats(stats) if (200..1_000).contains(&stats.locks.len())));
    }
}
