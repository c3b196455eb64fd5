//! How a leader answers requests.

use super::event::{Ask, Event, Id, Out, Reply, Request, Revision, Say, Tick};
use super::leader::{Delivery, Holder, Leader, Stage, Waiter};
use super::properties::Mark;
use super::rules::{Rule, Setup, TTL};

impl Leader {
    pub(super) fn handle_request(&mut self, now: Tick, setup: &Setup, request: Request, out: &mut Out) {
        if self.stage != Stage::Serving {
            return;
        }
        self.begin(now);
        if !self.acts(now) && self.obeys(request, setup) {
            out.marks.add(Mark::Silent);
            return;
        }
        let looks_again = self.flight.is_some_and(|flight| flight.refused.is_some());
        match request.ask {
            // Nothing is said about the lock before the leader knows what is there; the client repeats.
            _ if looks_again => {}
            Ask::Acquire => self.acquire(now, setup, request, out),
            Ask::Renew { token } => self.renew(now, setup, request, token, out),
            Ask::Release { token } => self.release(now, setup, request, token, out),
        }
        self.take_away(now, setup, out);
    }

    /// A coordinator that is not sure that it leads answers nothing (S3).
    fn obeys(&self, request: Request, setup: &Setup) -> bool {
        let held = self.holder.is_some_and(|holder| holder.id == request.id);
        match request.ask {
            Ask::Acquire => !held || setup.keeps(Rule::RepeatsObeyLease),
            Ask::Renew { .. } => !held || setup.keeps(Rule::RenewalsObeyLease),
            Ask::Release { .. } => true,
        }
    }

    pub(super) fn reply(&self, now: Tick, to: Request, say: Say, out: &mut Out) {
        if self.acts(now) {
            self.tell(to, say, out);
        }
    }

    pub(super) fn tell(&self, to: Request, say: Say, out: &mut Out) {
        out.push(Event::Reply(Reply { to, term: self.term, say }));
    }

    /// True where the lease is being taken away (S6).
    fn is_frozen(&self, id: Id, setup: &Setup) -> bool {
        let taken_away = self.flight.is_some_and(|flight| flight.ends == Some(id));
        let asked_for = self.holder.is_some_and(|holder| holder.ending.is_some());
        taken_away && !asked_for && setup.keeps(Rule::FrozenWhileTakenAway)
    }

    fn has_finished(&self, id: Id) -> bool {
        self.released.contains(&id) || self.expired.contains(&id)
    }

    fn beginning(&mut self, id: Id) -> Option<&mut Waiter> {
        self.flight.as_mut()?.begins.as_mut().filter(|waiter| waiter.request.id == id)
    }

    fn acquire(&mut self, now: Tick, setup: &Setup, request: Request, out: &mut Out) {
        let id = request.id;
        if self.has_finished(id) {
            self.reply(now, request, Say::Finished, out);
        } else if self.holder.is_some_and(|holder| holder.id == id) {
            self.repeat_held(now, setup, request, out);
        } else if let Some(waiter) = self.beginning(id) {
            (waiter.request, waiter.received) = (request, now);
        } else if let Some(waiter) = self.queue.iter_mut().find(|waiter| waiter.request.id == id) {
            (waiter.request, waiter.received) = (request, now);
        } else {
            self.queue.push(Waiter { request, received: now, cancelled: None });
            self.advance(now, out);
        }
    }

    /// A repeat of an acquire that is granted is a renewal: same token, nothing waited, counted from now.
    fn repeat_held(&mut self, now: Tick, setup: &Setup, request: Request, out: &mut Out) {
        if self.is_frozen(request.id, setup) {
            return;
        }
        let Some(holder) = &mut self.holder else { return };
        if holder.ending.is_some() {
            return self.reply(now, request, Say::Finished, out);
        }
        if setup.keeps(Rule::RepeatIsRenewal) {
            holder.confer(now);
        } else {
            holder.delivery = Delivery::Settled;
        }
        out.marks.add(Mark::RepeatAnswered);
        let say = Say::Granted { token: holder.token, waited: 0, ttl: TTL, notice: false };
        self.tell(request, say, out);
    }

    /// Before it says that an id holds nothing, a leader must have heard of all that was written before (S8).
    fn renew(&mut self, now: Tick, setup: &Setup, request: Request, token: Option<Revision>, out: &mut Out) {
        let id = request.id;
        let held = self.holder.is_some_and(|holder| holder.id == id);
        let is_ahead = self.seen.is_some_and(|record| record.holder == Some(id));
        let is_news = token.is_some_and(|token| token > self.delivered) || is_ahead;
        if is_news && !held && !self.has_finished(id) {
            out.marks.add(Mark::TokenAwaited);
            return;
        }
        self.answer_renewal(now, setup, request, out);
    }

    fn answer_renewal(&mut self, now: Tick, setup: &Setup, request: Request, out: &mut Out) {
        let Ask::Renew { token } = request.ask else { return };
        let id = request.id;
        if self.is_frozen(id, setup) || self.beginning(id).is_some() {
            return;
        }
        let Some(holder) = self.holder.as_mut().filter(|holder| holder.id == id) else {
            let say = if self.has_finished(id) { Say::Finished } else { Say::NotHolder };
            return self.reply(now, request, say, out);
        };
        let say = if token.is_some_and(|token| token != holder.token) {
            Say::NotHolder
        } else if holder.ending.is_some() {
            Say::Finished
        } else {
            holder.confer(now);
            Say::Renewed
        };
        self.tell(request, say, out);
    }

    /// Final for its id, whether it holds, waits, is on its way or has never been seen (S10).
    fn release(
        &mut self,
        now: Tick,
        setup: &Setup,
        request: Request,
        token: Option<Revision>,
        out: &mut Out,
    ) {
        let id = request.id;
        if self.has_finished(id) {
            return self.reply(now, request, Say::Released, out);
        }
        if let Some(holder) = self.holder.as_mut().filter(|holder| holder.id == id) {
            if token.is_some_and(|token| token != holder.token) {
                return self.reply(now, request, Say::NotHolder, out);
            }
            holder.delivery = Delivery::Settled;
            let early = setup.bounds.early_release && self.queue.is_empty() && self.flight.is_none();
            holder.ending = Some((!early).then_some(request));
            if early {
                self.put_off = true;
                out.marks.add(Mark::ReleasedEarly);
                self.reply(now, request, Say::Released, out);
            }
            self.advance(now, out);
        } else if let Some(waiter) = self.beginning(id) {
            waiter.cancelled = Some(request);
        } else if let Some(place) = self.queue.iter().position(|waiter| waiter.request.id == id) {
            self.queue.remove(place);
            self.released.push(id);
            self.reply(now, request, Say::Released, out);
        } else {
            self.released.push(id);
            self.reply(now, request, Say::NotHolder, out);
        }
    }
}

impl Holder {
    /// Time is conferred from now on, and the owner is known to be there: a 503 means nothing any more (S9).
    fn confer(&mut self, now: Tick) {
        self.conferred = self.conferred.max(Some(now + TTL));
        self.unconfirmed = false;
        self.delivery = Delivery::Settled;
    }
}
