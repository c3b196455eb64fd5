//! What comes back.

use std::time::Duration;

use super::entry::{Acquiring, Entry, Held, Releasing};
use super::{About, Core, Effect, Handle, LostReason, Outcome, SendNumber, deadline};
use crate::client::Progress;
use crate::client::call::{is_negative, is_passing};
use crate::engine::message::{Code, LostReason as Told};
use crate::mutant::{self, Mutant};
use crate::types::{Claim, Epoch, Timestamp};
use crate::wire::reply::{Answer, Granted, Refused};

impl Core {
    /// Nobody listened on the subject of this sending: there is no leader right now.
    pub fn handle_nobody(&mut self, now: Timestamp, number: SendNumber) {
        let Some(sent) = self.sent.get(&number) else { return };
        let handles = match &sent.about {
            About::One(handle) => vec![*handle],
            About::Many(leases) => leases.iter().map(|(_, handle)| *handle).collect(),
        };
        for handle in handles {
            let soon = now + self.pace.at_once();
            let Some(mut entry) = self.take(handle) else { continue };
            match &mut entry {
                Entry::Acquiring(acquiring) => {
                    acquiring.nobody = true;
                    acquiring.next_send = soon;
                }
                other => other.hasten(soon),
            }
            self.put(handle, entry);
        }
    }

    /// An answer to this sending, which speaks for this epoch.
    pub fn handle_answer(&mut self, now: Timestamp, number: SendNumber, epoch: Epoch, answer: Answer) {
        let outdated = epoch.get() < self.epoch;
        if epoch.get() > self.epoch {
            // The announcement of the new leader may have been missed.
            self.epoch = epoch.get();
            self.repeat_releases(now);
        }
        // What a deposed leader denies, its successor may know better.
        if outdated && is_negative(&answer) && !mutant::is(Mutant::HearOldEpochs) {
            return;
        }
        let Some(sent) = self.sent.get(&number) else { return };
        let at = if mutant::is(Mutant::CountFromReceipt) { now } else { sent.at };
        match (&sent.about, answer) {
            (About::One(handle), answer) => {
                let handle = *handle;
                self.handle_one(now, handle, (at, epoch), answer);
            }
            (About::Many(_), Answer::RenewedMany { renewed, lost }) => {
                let Some(sent) = self.sent.remove(&number) else { return };
                self.effects.push_back(Effect::Forget(number));
                if let About::Many(leases) = sent.about {
                    self.renewed_many(now, at, leases, &renewed, &lost);
                }
            }
            // The renewal is sent again before the lease ends.
            (About::Many(_), _) => {}
        }
    }

    fn handle_one(
        &mut self,
        now: Timestamp,
        handle: Handle,
        (sent, epoch): (Timestamp, Epoch),
        answer: Answer,
    ) {
        match self.take(handle) {
            Some(Entry::Acquiring(acquiring)) => self.acquire_answered(now, handle, acquiring, sent, answer),
            Some(Entry::Releasing(releasing)) => self.release_answered(now, handle, releasing, epoch, answer),
            Some(Entry::Held(mut held)) => {
                // A second grant of the same lease, by a repeat: it may be good for longer.
                if let Answer::Granted(granted) = answer
                    && granted.token == held.token
                {
                    held.deadline = held.deadline.max(deadline(sent, granted.waited, granted.ttl));
                    self.effects.push_back(Effect::Extended(handle, held.deadline));
                }
                self.put(handle, Entry::Held(held));
            }
            None => {}
        }
    }

    fn acquire_answered(
        &mut self,
        now: Timestamp,
        handle: Handle,
        mut acquiring: Acquiring,
        sent: Timestamp,
        answer: Answer,
    ) {
        acquiring.heard = true;
        match answer {
            Answer::Granted(granted) => self.granted(now, handle, acquiring, sent, granted),
            Answer::Queued { position, holder_count, .. } => {
                self.effects.push_back(Effect::Progress(handle, Progress { position, holder_count }));
                // A place with the leader before last is none with the last.
                if sent >= acquiring.news_at {
                    acquiring.next_send = now + acquiring.pace.after_queued();
                }
                self.put(handle, Entry::Acquiring(acquiring));
            }
            answer if is_passing(&answer) => {
                acquiring.next_send = now + passing_pause(&answer, &mut acquiring.pace);
                self.put(handle, Entry::Acquiring(acquiring));
            }
            // A day has passed, and there is no end to the patience.
            Answer::Timeout { .. } if acquiring.waits_for_ever() => {
                acquiring.next_send = now;
                self.put(handle, Entry::Acquiring(acquiring));
            }
            Answer::Held(view) => {
                self.conclude(now, handle, acquiring, Outcome::Held { view, waited: Duration::ZERO })
            }
            Answer::Timeout { view, waited } => {
                self.conclude(now, handle, acquiring, Outcome::Held { view, waited })
            }
            Answer::Error(Refused { code: Some(Code::Finished), .. }) if acquiring.terms.replaceable => {
                // The grant found nobody, while this client was connecting again, or came too late: the lock
                // went on, and the id is over. The wait is not.
                self.forget(std::mem::take(&mut acquiring.numbers));
                acquiring.terms.id = acquiring.terms.id.successor();
                acquiring.next_send = now;
                self.put(handle, Entry::Acquiring(acquiring));
            }
            Answer::Error(refused) => self.conclude(now, handle, acquiring, Outcome::Refused(refused)),
            other => {
                tracing::warn!(?other, "no answer to acquire");
                self.put(handle, Entry::Acquiring(acquiring));
            }
        }
    }

    /// The acquisition has an outcome, and it is not a lease. Where another copy of the request may still travel,
    /// it is taken back: it would be granted to nobody.
    fn conclude(&mut self, now: Timestamp, handle: Handle, acquiring: Acquiring, outcome: Outcome) {
        self.effects.push_back(Effect::Outcome(handle, outcome));
        if acquiring.numbers.len() > 1 {
            let releasing = self.give_up(now, acquiring);
            self.put(handle, Entry::Releasing(releasing));
        } else {
            self.forget(acquiring.numbers);
        }
    }

    fn granted(
        &mut self,
        now: Timestamp,
        handle: Handle,
        mut acquiring: Acquiring,
        sent: Timestamp,
        granted: Granted,
    ) {
        let deadline = deadline(sent, granted.waited, granted.ttl);
        if deadline <= now {
            // It came too late to be believed. A repeat renews it, if it still is there.
            acquiring.next_send = now;
            self.put(handle, Entry::Acquiring(acquiring));
            return;
        }
        self.forget(acquiring.numbers);
        if acquiring.terms.claim == Claim::Exclusive {
            self.released.forget(&acquiring.name);
        }
        let held = Held {
            name: acquiring.name,
            id: granted.id.clone(),
            token: granted.token,
            ttl: granted.ttl,
            deadline,
            renew_at: now.min(deadline) + self.renewal_pause(granted.ttl),
        };
        self.put(handle, Entry::Held(held));
        self.effects.push_back(Effect::Outcome(handle, Outcome::Granted { granted, deadline }));
    }

    fn release_answered(
        &mut self,
        now: Timestamp,
        handle: Handle,
        mut releasing: Releasing,
        epoch: Epoch,
        answer: Answer,
    ) {
        match answer {
            Answer::Released { held, .. } if self.is_deposed(epoch) => {
                // Whoever released need not wait; the leader that follows has to be told all the same.
                if std::mem::take(&mut releasing.reports) {
                    self.effects.push_back(Effect::Released(handle, Some(held)));
                }
                self.put(handle, Entry::Releasing(releasing));
            }
            Answer::Released { held, .. } => self.released(now, handle, releasing, held),
            Answer::Error(Refused { code: Some(Code::NotHolder | Code::Finished), .. }) => {
                self.settle(handle, releasing, None);
            }
            // A grant that is no longer wanted, or a refusal that says "not now": the release goes on.
            answer => {
                releasing.next_send = now + passing_pause(&answer, &mut releasing.pace);
                self.put(handle, Entry::Releasing(releasing));
            }
        }
    }

    fn renewed_many(
        &mut self,
        now: Timestamp,
        sent: Timestamp,
        leases: Vec<(crate::types::LeaseId, Handle)>,
        renewed: &[crate::types::LeaseId],
        lost: &[(crate::types::LeaseId, Told)],
    ) {
        let renewed: std::collections::HashSet<&str> = renewed.iter().map(|id| id.reveal()).collect();
        for (id, handle) in leases {
            let Some(Entry::Held(held)) = self.entries.get(&handle) else { continue };
            if held.id != id {
                continue;
            }
            if renewed.contains(id.reveal()) {
                self.renewed(now, handle, sent);
                continue;
            }
            // "unknown" does not end a lease: whoever does not know it cannot judge it.
            let told = lost.iter().find(|(lost, _)| *lost == id).and_then(|(_, why)| match why {
                Told::Expired => Some(LostReason::Expired),
                Told::Revoked => Some(LostReason::Revoked),
                Told::Released => Some(LostReason::Released),
                Told::Unknown => None,
            });
            if let Some(why) = told
                && let Some(Entry::Held(held)) = self.take(handle)
            {
                self.lose(now, handle, held, why);
            }
        }
    }

    fn renewed(&mut self, now: Timestamp, handle: Handle, sent: Timestamp) {
        let Some(Entry::Held(mut held)) = self.take(handle) else { return };
        held.deadline = held.deadline.max(deadline(sent, Duration::ZERO, held.ttl));
        held.renew_at = now + self.renewal_pause(held.ttl);
        self.effects.push_back(Effect::Extended(handle, held.deadline));
        self.put(handle, Entry::Held(held));
    }
}

/// When to ask again after "not now".
fn passing_pause(answer: &Answer, pace: &mut crate::client::pace::Pace) -> Duration {
    let asked = match answer {
        Answer::Error(refused) => refused.retry_after,
        _ => None,
    };
    asked.map_or(Duration::ZERO, |asked| asked.min(Duration::from_secs(5))).max(pace.at_once())
}
