//! How values are written for people.

use std::time::Duration;

use crate::types::WallTime;

const HOUR: u64 = 60 * 60;

/// A length of time in at most two units, rounded down: `350 ms`, `1.2 s`, `12 s`, `2 min 5 s`, `3 h 20 min`.
pub(super) fn span(span: Duration) -> String {
    let (ms, seconds) = (span.as_millis(), span.as_secs());
    let two = |large: u64, one: &str, small: u64, other: &str| match small {
        0 => format!("{large} {one}"),
        _ => format!("{large} {one} {small} {other}"),
    };
    match seconds {
        0 => format!("{ms} ms"),
        1..10 => match span.subsec_millis() / 100 {
            0 => format!("{seconds} s"),
            tenths => format!("{seconds}.{tenths} s"),
        },
        10..60 => format!("{seconds} s"),
        60..HOUR => two(seconds / 60, "min", seconds % 60, "s"),
        _ if seconds < 48 * HOUR => two(seconds / HOUR, "h", seconds % HOUR / 60, "min"),
        _ => two(seconds / (24 * HOUR), "d", seconds % (24 * HOUR) / HOUR, "h"),
    }
}

/// A length of time in one unit, to three digits: `0.42 ms`, `3.1 ms`, `250 ms`, `1.25 s`; long ones as [`span`].
pub(super) fn precise(length: Duration) -> String {
    let digits = |number: f64, unit: &str| match number {
        0.0..10.0 => format!("{number:.2} {unit}"),
        10.0..100.0 => format!("{number:.1} {unit}"),
        _ => format!("{number:.0} {unit}"),
    };
    match length.as_secs() {
        0 => digits(length.as_secs_f64() * 1e3, "ms"),
        1..60 => digits(length.as_secs_f64(), "s"),
        _ => span(length),
    }
}

/// The time of day in UTC, to the millisecond.
pub(super) fn time_of_day(at: WallTime) -> String {
    let (seconds, ms) = (at.0 / 1_000, at.0 % 1_000);
    let (hours, minutes) = (seconds / HOUR % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{ms:03}", seconds % 60)
}

/// What others wrote (names, notes, reasons), without what a terminal would take for commands, or for a reason to
/// show the rest of the line from right to left.
pub(super) fn tame(text: &str) -> String {
    let tame = |c: char| {
        let escaped = c.is_control() || turns_around(c);
        let (plain, escaped) = if escaped { (None, Some(c.escape_default())) } else { (Some(c), None) };
        plain.into_iter().chain(escaped.into_iter().flatten())
    };
    text.chars().flat_map(tame).collect()
}

/// True for the marks of Unicode that say in which direction a text runs.
const fn turns_around(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A word of a command line, quoted where a shell would take it for something else.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./:=@,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// `1 waiter`, `2 waiters`.
pub(super) fn count(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_at_most_two_units() {
        let cases = [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (1_290, "1.2 s"),
            (9_999, "9.9 s"),
            (12_900, "12 s"),
            (60_000, "1 min"),
            (125_000, "2 min 5 s"),
            (12_000_000, "3 h 20 min"),
            (86_400_000, "24 h"),
            (180_000_000, "2 d 2 h"),
        ];
        for (ms, text) in cases {
            assert_eq!(span(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn figures_have_three_digits() {
        let cases = [(420, "0.42 ms"), (3_140, "3.14 ms"), (99_960, "100.0 ms"), (1_250_000, "1.25 s")];
        for (micros, text) in cases {
            assert_eq!(precise(Duration::from_micros(micros)), text);
        }
        assert_eq!(precise(Duration::from_secs(125)), "2 min 5 s");
    }

    #[test]
    fn the_time_of_day_is_utc() {
        assert_eq!(time_of_day(WallTime(1_700_000_000_042)), "22:13:20.042");
    }

    #[test]
    fn terminals_get_no_commands_from_others() {
        assert_eq!(tame("订单 \u{1b}[2J\n"), r"订单 \u{1b}[2J\n");
        assert_eq!(tame("a\u{202e}b مرحبا"), r"a\u{202e}b مرحبا");
    }

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("jobs.订单/42"), "jobs.订单/42");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }
}
