//! What a coordinator tells an operator who recovers a shard: above what the tokens must begin anew, and how long
//! leases that were lost may be believed in (S11).

use std::time::Duration;

use super::shard::Shard;
use crate::clock::Clock;
use crate::store::Store;
use crate::transport::{Message, Transport};
use crate::types::Epoch;
use crate::wire::inbox::reply_allowed;
use crate::wire::report::{Finding, Report};

/// What is remembered of a quarantine's beginning.
#[derive(Debug, Default)]
pub(super) struct Reporting {
    is_quarantined: bool,
    /// The longest lease time of the leases known then, where they were all known.
    longest: Option<Duration>,
    /// The last term of this coordinator in which it knew all leases, and the longest of them.
    led: Option<(Epoch, Duration)>,
}

impl<S: Store, T: Transport, C: Clock> Shard<S, T, C> {
    /// The term is over. What it knew of lease times is kept, for the next takeover may find out why it ended.
    pub(super) fn note_term(&mut self) {
        if let Some(serving) = self.serving.as_ref().filter(|serving| serving.loaded) {
            self.report.led = Some((serving.engine.term().epoch, serving.engine.longest_lease()));
        }
    }

    /// A quarantine is found, now or in an earlier term. Who found it while it led, with everything loaded, has
    /// granted or loaded every lease that may be lost, and so has who led until this takeover, and has heard of
    /// nobody else that led since; anybody else knows nothing of them.
    pub(super) fn note_longest(&mut self) {
        self.note_term();
        if std::mem::replace(&mut self.report.is_quarantined, true) {
            return;
        }
        let led = self.report.led.filter(|(epoch, _)| self.leadership.heard() <= *epoch);
        self.report.longest = led.map(|(_, longest)| longest);
    }

    /// Somebody asks what this coordinator knows. It answers whether it leads or not.
    pub(super) async fn handle_inquiry(&mut self, message: Message) {
        let Some(reply) = message.reply.filter(|to| reply_allowed(&self.config.reply_prefix, to)) else {
            return;
        };
        let found = self.leadership.quarantined();
        let report = Report {
            coordinator: self.me,
            host: self.config.host.clone(),
            pid: self.config.pid,
            leads: self.serving.is_some(),
            highest: found.map_or_else(|| self.leadership.highest(), |found| found.highest),
            found: found.map(|found| Finding { why: found.why.clone(), longest: self.report.longest }),
        };
        self.outbox.report(reply, &report).await;
    }
}
