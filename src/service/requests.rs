//! From a message to a request of the engine: the checks that need no lock (PROTOCOL.md section 2).

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};

use super::audit;
use super::outbox::{Asker, ReplyTo};
use super::rates::{Cost, Verdict};
use super::shard::Shard;
use crate::clock::Clock;
use crate::engine::message::{Ask, Code, Now, Refusal, Reply, Request};
use crate::store::Store;
use crate::transport::{Message, Transport};
use crate::types::{Epoch, Token};
use crate::wire::format::{BODY_BYTES_MAX, Format};
use crate::wire::inbox::{reply_allowed, reply_allowed_to};
use crate::wire::info::{self, Info};
use crate::wire::request::{self, Asked, Decoded};
use crate::wire::stats;

/// The version of the protocol.
const PROTOCOL: u64 = 1;
/// So many requests are passed over in a row before anything else is looked at.
const PASSED_OVER_MAX: usize = 256;

impl<S: Store, T: Transport, C: Clock> Shard<S, T, C> {
    /// Nobody was there to take a grant.
    pub(super) fn handle_notice(&mut self, now: Now, message: &Message) {
        let number = self.outbox.noticed(&message.subject).filter(|_| message.no_responders);
        if let (Some(number), Some(serving)) = (number, &mut self.serving) {
            serving.engine.handle_undelivered(now, number);
        }
    }

    /// A request has arrived; others may be behind it.
    ///
    /// A flood must not cost more than to look whose it is. So those that are refused without a word are passed over
    /// here, a row at a time; the first that is not goes the way of all requests.
    pub(super) async fn handle_request(&mut self, now: Now, message: Message) {
        let mut next = Some(message);
        let mut passed_over = 0;
        while let Some(message) = next {
            match self.judge(now, &message) {
                Verdict::Drop => {
                    passed_over += 1;
                    self.measures.refused(now.boot, None, Code::RateLimited);
                    next = if passed_over < PASSED_OVER_MAX { self.at_hand() } else { None };
                }
                // Whatever arrived, the clock is read after it (S3).
                verdict if passed_over > 0 => return self.answer(self.clock.now(), message, verdict).await,
                verdict => return self.answer(now, message, verdict).await,
            }
        }
    }

    /// The next request, if it has arrived already.
    fn at_hand(&mut self) -> Option<Message> {
        self.serving.as_mut()?.requests.as_mut()?.next().now_or_never().flatten()
    }

    fn judge(&mut self, now: Now, message: &Message) -> Verdict {
        if !self.rates.are_limited() {
            return Verdict::Serve;
        }
        let asked = self.subjects.asked(&message.subject);
        let (cost, owner) = (Cost::of(asked, message.payload.len()), asked.map_or("", |(_, owner)| owner));
        self.rates.judge(now.boot, owner, cost)
    }

    /// A leader that is not sure says nothing, not even that the request makes no sense (S3).
    async fn answer(&mut self, now: Now, message: Message, verdict: Verdict) {
        let Some(term) = self.serving.as_ref().map(|serving| serving.engine.term()) else { return };
        let epoch = term.epoch;
        if !term.acts(now.boot) || !self.may_reply(&message) {
            return;
        }
        match verdict {
            Verdict::Serve => self.serve(now, epoch, message).await,
            Verdict::Refuse { retry_after, per_second } => {
                self.refuse_for_rate(epoch, &message, (retry_after, per_second)).await;
            }
            Verdict::Drop => {}
        }
    }

    async fn serve(&mut self, now: Now, epoch: Epoch, message: Message) {
        let reply = message.reply.map(Arc::from);
        match request::decode(&self.subjects, &message.subject, &message.payload) {
            Ok(decoded) => {
                self.measures.asked(decoded.asked.verb());
                let to = reply.map(|subject| ReplyTo {
                    subject,
                    format: decoded.format,
                    asker: Asker::of(&decoded),
                });
                match self.misdirected(&decoded, to.is_some()) {
                    Some(refusal) => {
                        let to = to.map(|to| (to.subject, to.format));
                        self.refuse(to, epoch, &message.subject, refusal).await;
                    }
                    None => self.carry_out(now, epoch, decoded, to).await,
                }
            }
            Err(rejected) => {
                if let Some(verb) = rejected.verb {
                    self.measures.asked(verb);
                    self.measures.rejected(verb, rejected.refusal.code);
                }
                let to = reply.map(|subject| (subject, rejected.format));
                self.refuse(to, epoch, &message.subject, rejected.refusal).await;
            }
        }
    }

    /// Why a request that makes sense is not for here.
    fn misdirected(&self, decoded: &Decoded, is_answered: bool) -> Option<Refusal> {
        if decoded.shard.is_some_and(|shard| shard != self.config.shard) {
            let here = self.config.shard;
            let text = format!("this namespace has one shard, {here}; send without a shard number");
            return Some(Refusal::new(Code::WrongShard, text));
        }
        // Nobody hears of it, but it is counted and logged.
        let needs_answer = !matches!(decoded.asked, Asked::Engine(Ask::Release { .. }));
        let text = "only a release is carried out without a reply subject";
        (needs_answer && !is_answered).then(|| Refusal::new(Code::BadRequest, text))
    }

    async fn carry_out(&mut self, now: Now, epoch: Epoch, decoded: Decoded, reply: Option<ReplyTo>) {
        match decoded.asked {
            Asked::Engine(ask) => {
                if let Some(to) = &reply {
                    audit::asked(&to.asker, &ask);
                }
                if let Some(serving) = &mut self.serving {
                    serving.engine.handle(now, Request { owner: decoded.owner, reply, ask });
                }
            }
            Asked::Info => self.inform(reply.as_ref(), epoch).await,
            Asked::Stats { prefix, top } => {
                let Some(to) = reply else { return };
                let body = stats::encode(to.format, epoch, &self.stats(&prefix, top));
                self.outbox.raw(&to, body).await;
            }
        }
    }

    /// A client chooses where the answer goes, and this connection may publish where the client may not: only
    /// inboxes are answered.
    fn may_reply(&mut self, message: &Message) -> bool {
        let Some(reply) = &message.reply else { return true };
        let prefix = &self.config.reply_prefix;
        let allowed = if self.config.reply_per_owner {
            let asked = self.subjects.asked(&message.subject);
            asked.is_some_and(|(_, owner)| reply_allowed_to(prefix, owner, reply))
        } else {
            reply_allowed(prefix, reply)
        };
        if !allowed {
            self.refused_replies += 1;
            self.count_refusal(Code::Forbidden);
            audit::refused(&message.subject, Code::Forbidden);
            // One line for each doubling, so that nobody fills the log.
            if self.refused_replies.is_power_of_two() {
                let count = self.refused_replies;
                tracing::warn!(count, subject = message.subject, "a reply subject was refused");
            }
        }
        allowed
    }

    /// Whoever asks too often is refused before the request is looked at, and soon not even told.
    async fn refuse_for_rate(
        &mut self,
        epoch: Epoch,
        message: &Message,
        (retry_after, per_second): (Duration, u32),
    ) {
        let format = Format::of(&message.payload).unwrap_or_default();
        let to = message.reply.as_deref().map(|subject| (subject.into(), format));
        let text = format!("an owner may send {per_second} requests a second here, and you send more");
        let refusal = Refusal::new(Code::RateLimited, text).limit(per_second.into());
        self.refuse(to, epoch, &message.subject, refusal.retry_after(retry_after)).await;
        if let Some(count) = self.rates.worth_a_line() {
            let owner = self.subjects.asked(&message.subject).map_or("", |(_, owner)| owner);
            tracing::warn!(count, owner, "an owner sends more requests than it may");
        }
    }

    /// The one place where a refusal leaves that is not the engine's.
    async fn refuse(
        &mut self,
        to: Option<(Arc<str>, Format)>,
        epoch: Epoch,
        subject: &str,
        refusal: Refusal,
    ) {
        self.count_refusal(refusal.code);
        audit::refused(subject, refusal.code);
        if let Some((to, format)) = to {
            self.outbox.reply_in(format, &to, epoch, &Reply::Error(refusal)).await;
        }
    }

    async fn inform(&mut self, to: Option<&ReplyTo>, epoch: Epoch) {
        let (Some(to), Some(serving)) = (to, &self.serving) else { return };
        let limits = &self.config.limits;
        let limits = [
            ("body_bytes_max", BODY_BYTES_MAX),
            ("waiters_per_lock_max", limits.waiters_per_lock_max),
            ("holders_per_lock_max", limits.holders_per_lock_max),
            ("leases_per_owner_max", limits.leases_per_owner_max),
            ("waiters_per_owner_max", limits.waiters_per_owner_max),
            ("names_per_owner_max", limits.names_per_owner_max),
            ("leases_max", limits.leases_max),
            ("finished_ids_max", limits.finished_max),
        ];
        let limits = limits.into_iter().map(|(name, limit)| (name.into(), limit as u64));
        let rate =
            self.config.owner_rate.map(|rate| ("requests_per_owner_per_s_max".into(), rate.get().into()));
        let info = Info {
            version: env!("CARGO_PKG_VERSION").into(),
            protocol: PROTOCOL,
            namespace: self.config.namespace.clone(),
            shards: 1,
            leaders: vec![self.leader(serving.engine.term())],
            limits: limits.chain(rate).collect(),
            server_version: self.config.server_version.clone(),
            highest_token: Token::new(self.leadership.highest(), u8::MAX),
        };
        self.outbox.raw(to, info::encode(to.format, epoch, &info)).await;
    }
}
