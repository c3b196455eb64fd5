//! Judges a history. All processes share one machine and one clock that counts suspend, so this is exact.

use std::collections::BTreeMap;
use std::time::Duration;

use super::history::{Belief, End, History};

/// With this lease time or a longer one nobody may lose a lock by the fault of another process.
pub(super) const SAFE_TTL: Duration = Duration::from_secs(15);
/// Requests that begin further apart than this are in order; closer ones may overtake each other on their way.
const APART: u64 = 100_000_000;
/// So many violations are told in words.
const TOLD_MAX: usize = 20;

/// What a history shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Two holders at a time, or a token that does not rise.
    pub(super) violations: Vec<String>,
    /// Holders with a lease time of [`SAFE_TTL`] or more that lost their lock, and nothing was done to them.
    pub(super) false_losses: u64,
    /// The same with shorter lease times.
    pub(super) short_losses: u64,
    /// Grants to one who had begun to ask later than another, who was still waiting and to whom nothing was done.
    pub(super) inversions: u64,
}

pub(super) fn judge(history: &History) -> Judgement {
    let mut locks: BTreeMap<&str, Vec<&Belief>> = BTreeMap::new();
    for belief in &history.beliefs {
        locks.entry(&belief.lock).or_default().push(belief);
    }
    let mut judgement = Judgement::default();
    for (lock, beliefs) in &mut locks {
        beliefs.sort_by_key(|belief| (belief.from, belief.token));
        exclusion(lock, beliefs, &mut judgement.violations);
        tokens(lock, beliefs, &mut judgement.violations);
        judgement.inversions += inversions(history, beliefs);
    }
    judgement.violations.truncate(TOLD_MAX);
    for lost in history.beliefs.iter().filter(|belief| matches!(belief.end, End::Lost(_))) {
        let counted =
            if lost.ttl >= SAFE_TTL { &mut judgement.false_losses } else { &mut judgement.short_losses };
        *counted += u64::from(!history.is_excused(lost));
    }
    judgement
}

/// Nobody believes that it holds a lock while another does.
fn exclusion(lock: &str, beliefs: &[&Belief], violations: &mut Vec<String>) {
    let mut longest: Option<&Belief> = None;
    for belief in beliefs {
        if let Some(before) = longest.filter(|before| belief.from < before.until) {
            violations.push(format!(
                "two holders of {lock}: token {} until {}, token {} from {}",
                before.token, before.until, belief.token, belief.from
            ));
        }
        if longest.is_none_or(|before| before.until < belief.until) {
            longest = Some(belief);
        }
    }
}

fn tokens(lock: &str, beliefs: &[&Belief], violations: &mut Vec<String>) {
    let mut highest = 0;
    for belief in beliefs {
        if belief.token <= highest {
            violations.push(format!("{lock}: token {} was granted after {highest}", belief.token));
        }
        highest = highest.max(belief.token);
    }
}

fn inversions(history: &History, beliefs: &[&Belief]) -> u64 {
    let (mut latest, mut inversions) = (0, 0);
    for belief in beliefs {
        let overtaken = belief.asked + APART < latest && !history.was_disturbed_waiting(belief);
        inversions += u64::from(overtaken);
        latest = latest.max(belief.asked);
    }
    inversions
}

/// The longest time between two grants of any lock, between these two instants.
pub(super) fn longest_gap(history: &History, from: u64, until: u64) -> Duration {
    let mut grants: Vec<u64> = history.beliefs.iter().map(|belief| belief.from).collect();
    grants.retain(|at| (from..=until).contains(at));
    grants.extend([from, until]);
    grants.sort_unstable();
    let gap = grants.windows(2).map(|pair| pair[1] - pair[0]).max();
    Duration::from_nanos(gap.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::super::event::Event;
    use super::super::history::WorkerId;
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Worker, token, asked, from, until, in seconds.
    fn history(beliefs: &[(u64, u64, u64, u64, u64)]) -> History {
        let mut history = History::default();
        for (hold, (worker, token, asked, from, until)) in beliefs.iter().enumerate() {
            let (hold, lock) = (hold as u64, "hot.0".to_owned());
            let (asked, from, until) = (asked * SECOND, from * SECOND, until * SECOND);
            let granted =
                Event::Granted { hold, lock, token: *token, ttl_ms: 15_000, asked, from, until: from };
            history.tell(WorkerId(*worker), granted);
            history.tell(WorkerId(*worker), Event::Ended { hold, until, lost: None });
        }
        history
    }

    #[test]
    fn holders_one_after_another_are_as_it_should_be() {
        let judgement = judge(&history(&[(1, 5, 1, 1, 3), (2, 6, 2, 3, 4), (1, 9, 3, 4, 6)]));
        assert_eq!(judgement, Judgement::default());
    }

    #[test]
    fn two_at_a_time_are_found_also_where_a_third_lies_between() {
        let judgement = judge(&history(&[(1, 5, 1, 1, 9), (2, 6, 2, 9, 10), (3, 7, 3, 8, 9)]));
        assert_eq!(judgement.violations.len(), 2, "{judgement:?}");
        assert!(judgement.violations[0].starts_with("two holders of hot.0: token 5 "), "{judgement:?}");
        assert_eq!(judgement.violations[1], "hot.0: token 6 was granted after 7");
    }

    #[test]
    fn a_token_that_repeats_is_found() {
        let judgement = judge(&history(&[(1, 5, 1, 1, 2), (2, 5, 2, 2, 3)]));
        assert_eq!(judgement.violations, ["hot.0: token 5 was granted after 5"]);
    }

    #[test]
    fn who_was_overtaken_is_counted() {
        assert_eq!(judge(&history(&[(1, 5, 3, 4, 5), (2, 6, 2, 5, 6), (3, 7, 1, 6, 7)])).inversions, 2);
    }

    #[test]
    fn a_loss_counts_unless_something_was_done_to_the_holder() {
        let mut history = history(&[]);
        let granted = |hold| Event::Granted {
            hold,
            lock: format!("calm.{hold}"),
            token: 256,
            ttl_ms: if hold == 2 { 14_999 } else { 15_000 },
            asked: 0,
            from: 0,
            until: 100 * SECOND,
        };
        for hold in 0..3 {
            history.tell(WorkerId(hold), granted(hold));
            let lost = Some("expired".into());
            history.tell(WorkerId(hold), Event::Ended { hold, until: 100 * SECOND, lost });
        }
        history.disturbed(WorkerId(1), 80 * SECOND, 90 * SECOND);
        let judgement = judge(&history);
        assert_eq!((judgement.false_losses, judgement.short_losses), (1, 1));
    }

    #[test]
    fn the_longest_gap_reaches_to_both_ends() {
        let history = history(&[(1, 5, 1, 3, 4), (1, 6, 5, 5, 6)]);
        assert_eq!(longest_gap(&history, SECOND, 6 * SECOND), Duration::from_secs(2));
        assert_eq!(longest_gap(&history, 3 * SECOND, 9 * SECOND), Duration::from_secs(4));
    }
}
