//! Lengths of time as they are typed.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::text;
use crate::service::{LEADER_LEASE_MAX, LEADER_LEASE_MIN};
use crate::types::{SpanError, Ttl, Wait};

/// `500ms`, `30s`, `1h 30m`; `0` needs no unit.
fn duration(typed: &str) -> Result<Duration, String> {
    let shape = || "not a length of time; write it like 500ms, 30s, 5m or 1h30m".to_owned();
    humantime::parse_duration(typed).map_err(|_| shape())
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn out_of_range(range: RangeInclusive<Duration>, given: Duration) -> String {
    let (least, most) = range.into_inner();
    let (most, given) = (text::span(most), text::span(given));
    match least {
        Duration::ZERO => format!("must be at most {most}, not {given}"),
        least => format!("must be {} to {most}, not {given}", text::span(least)),
    }
}

fn refused(error: &SpanError) -> String {
    let range = Duration::from_millis(error.min_ms)..=Duration::from_millis(error.max_ms);
    out_of_range(range, Duration::from_millis(error.given_ms))
}

/// A lease time.
pub(super) fn ttl(typed: &str) -> Result<Ttl, String> {
    Ttl::from_millis(millis(duration(typed)?)).map_err(|error| refused(&error))
}

/// How long to wait for a lock.
pub(super) fn wait(typed: &str) -> Result<Wait, String> {
    Wait::from_millis(millis(duration(typed)?)).map_err(|error| refused(&error))
}

/// How long a released lock stays held.
pub(super) fn keep(typed: &str) -> Result<Duration, String> {
    within(typed, Duration::ZERO..=Duration::from_millis(Ttl::MS_MAX))
}

/// How long a leader may act without an acknowledged sign of life.
pub(super) fn leader_lease(typed: &str) -> Result<Duration, String> {
    within(typed, LEADER_LEASE_MIN..=LEADER_LEASE_MAX)
}

/// How long a measurement takes; a number alone is of seconds.
pub(super) fn bench(typed: &str) -> Result<Duration, String> {
    let seconds = typed.parse::<f64>().is_ok().then(|| format!("{typed}s"));
    within(seconds.as_deref().unwrap_or(typed), Duration::from_millis(50)..=Duration::from_secs(60))
}

/// How often a view asks.
pub(super) fn every(typed: &str) -> Result<Duration, String> {
    within(typed, Duration::from_millis(200)..=Duration::from_secs(60 * 60))
}

/// How long a recovered shard grants nothing.
pub(super) fn embargo(typed: &str) -> Result<Duration, String> {
    within(typed, Duration::ZERO..=Duration::from_secs(7 * 24 * 3_600))
}

fn within(typed: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let given = duration(typed)?;
    if range.contains(&given) { Ok(given) } else { Err(out_of_range(range, given)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_typed_with_their_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for bad in ["", "5", "-5s", "s", "1.s", "soon"] {
            assert!(duration(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn limits_are_told_in_the_same_words() {
        assert_eq!(ttl("0"), Err("must be 1 s to 24 h, not 0 ms".into()));
        assert_eq!(wait("2d"), Err("must be at most 24 h, not 2 d".into()));
        assert_eq!(keep("25h"), Err("must be at most 24 h, not 25 h".into()));
        assert_eq!(leader_lease("5m"), Err("must be 1 s to 1 min, not 5 min".into()));
        assert!(wait("0").is_ok_and(Wait::is_try));
    }
}
