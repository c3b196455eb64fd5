//! What a run has shown, for people and for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::checker::{SAFE_TTL, judge, longest_gap};
use super::history::History;
use super::register::Writes;
use crate::cli::text;

/// The figures of one fault.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::cli) struct Report {
    pub(super) fault: String,
    /// Why it was not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) not_run: Option<String>,
    pub(super) seconds: u64,
    pub(super) rounds: usize,
    /// Grants.
    pub(super) operations: usize,
    /// Requests that ended without a lock, by what was said.
    pub(super) failed: BTreeMap<String, u64>,
    pub(super) violations: Vec<String>,
    pub(super) unavailable_ms_max: u64,
    /// Of each round.
    pub(super) recoveries_ms: Vec<u64>,
    pub(super) recovery_ms_median: u64,
    pub(super) recovery_ms_max: u64,
    /// Losses of holders with a lease time of 15 s or more, to whom nothing was done.
    pub(super) false_losses: u64,
    /// The same with shorter lease times.
    pub(super) short_losses: u64,
    pub(super) order_inversions: u64,
    #[serde(flatten)]
    pub(super) writes: Writes,
}

/// What was noticed while the fault was at work.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) recoveries: Vec<Duration>,
    pub(super) violations: Vec<String>,
}

impl Report {
    pub(super) fn not_run(fault: String, why: String) -> Self {
        Self { fault, not_run: Some(why), ..Self::default() }
    }

    pub(super) fn new(fault: String, mut notes: Notes, history: &History, writes: Writes) -> Self {
        let judgement = judge(history);
        let mut violations = std::mem::take(&mut notes.violations);
        violations.extend(judgement.violations);
        if writes.fenced_damage > 0 {
            violations.push(format!("{} lost updates behind the fence", writes.fenced_damage));
        }
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let recoveries_ms: Vec<u64> = notes.recoveries.iter().copied().map(ms).collect();
        let mut sorted = recoveries_ms.clone();
        sorted.sort_unstable();
        let (rounds, recovery) = (sorted.len(), |at: usize| sorted.get(at).copied().unwrap_or(0));
        Self {
            fault,
            not_run: None,
            seconds: Duration::from_nanos(notes.ended - notes.began).as_secs(),
            rounds,
            operations: history.beliefs.len(),
            failed: history.failures.clone(),
            violations,
            unavailable_ms_max: ms(longest_gap(history, notes.began, notes.ended)),
            recoveries_ms,
            recovery_ms_median: recovery(rounds / 2),
            recovery_ms_max: recovery(rounds.saturating_sub(1)),
            false_losses: judgement.false_losses,
            short_losses: judgement.short_losses,
            order_inversions: judgement.inversions,
            writes,
        }
    }

    pub(in crate::cli) fn violations(&self) -> usize {
        self.violations.len()
    }

    /// Names and values, for people.
    pub(in crate::cli) fn fields(&self) -> Vec<(&'static str, String)> {
        if let Some(why) = &self.not_run {
            return vec![("not run", why.clone())];
        }
        let ms = |ms| text::span(Duration::from_millis(ms));
        let writes = &self.writes;
        let losses = format!("{}, {} below {}", self.false_losses, self.short_losses, text::span(SAFE_TTL));
        let mut fields = vec![
            ("time", format!("{} s, {}", self.seconds, text::count(self.rounds, "round"))),
            ("operations", text::count(self.operations, "grant")),
            ("violations", self.violations.len().to_string()),
            ("longest unavailability", ms(self.unavailable_ms_max)),
            ("recovery", format!("{} median, {} max", ms(self.recovery_ms_median), ms(self.recovery_ms_max))),
            ("false losses", losses),
            ("order inversions", self.order_inversions.to_string()),
            ("refused stale writes", writes.refused_stale.to_string()),
            (
                "lost updates",
                format!("{} with fence, {} without", writes.fenced_damage, writes.unfenced_damage),
            ),
        ];
        fields.extend(self.failed.iter().map(|(why, times)| ("failed requests", format!("{times}: {why}"))));
        fields.extend(self.violations.iter().map(|violation| ("violation", violation.clone())));
        fields
    }

    pub(super) fn from_json(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    pub(in crate::cli) fn json(&self) -> Vec<u8> {
        // Numbers and texts only: that cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}
