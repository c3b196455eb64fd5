//! What a coordinator's leadership and engine want done, and how the world does it: `src/service/actions.rs` and
//! `src/service/io.rs`.

use natslock::engine::message::{FREE_RECORD_TTL, GuardedBatch, LockWrite, Now, Output};
use natslock::engine::{Engine, Limits};
use natslock::mutant::{self, Mutant};
use natslock::service::leadership::Action;
use natslock::store::{Batch, Guard, Write};
use natslock::types::{Epoch, Key};
use natslock::wire::Format;
use natslock::wire::record::{JournalRecord, encode_lock};
use natslock::wire::reply;

use super::coordinator::{RESIGN_FOR, Serving};
use super::net::{Msg, To};
use super::stream::{Op, Purpose};
use super::world::World;

fn lock_write(write: &LockWrite) -> Write {
    Write {
        key: Key::Lock(write.name.clone()),
        expected: Some(write.expected),
        value: encode_lock(&write.record),
        ttl_seconds: write.record.is_free().then_some(FREE_RECORD_TTL.as_secs()),
    }
}

fn guarded(epoch: Epoch, batch: &GuardedBatch) -> Batch {
    let journal = JournalRecord { attempt: batch.attempt, epoch, locks: batch.writes.len() };
    let guard = Guard { key: Key::Journal, value: journal.encode(), holds: (Key::Epoch, batch.guard) };
    let guard = (!mutant::is(Mutant::SkipEpochGuard)).then_some(guard);
    let mut writes: Vec<Write> = batch.writes.iter().map(lock_write).collect();
    if guard.is_none() {
        // The journal is still the last record: the revisions are counted from it.
        writes.push(Write { key: Key::Journal, expected: None, value: journal.encode(), ttl_seconds: None });
    }
    Batch { writes, guard }
}

impl World {
    pub(super) fn act(&mut self, node: usize) {
        loop {
            let coord = &mut self.coords[node];
            if let Some(action) = coord.leadership.poll_action() {
                self.act_on(node, action);
            } else if let Some(output) = coord.serving.as_mut().and_then(|s| s.engine.poll_output()) {
                self.act_for_engine(node, output);
            } else {
                return;
            }
            if let Some(span) = self.nodes[node].pause_next.take() {
                // It stands still between the decision and the sending.
                self.stand_still(node, span);
            }
        }
    }

    fn act_for_engine(&mut self, node: usize, output: Output<To>) {
        let Some(serving) = &self.coords[node].serving else { return };
        let (term, epoch) = (serving.number, serving.engine.term().epoch);
        let after = self.coords[node].leadership.highest();
        match output {
            Output::Reply { to, reply } => {
                self.queues.answered(epoch, &reply, to);
                let body = reply::encode(Format::MessagePack, epoch, &reply);
                let verdict = self.check_silence(node, &reply);
                self.judge(verdict);
                let sent_in = self.stream.generation;
                self.publish(node, Msg::Reply { to, body, notice: None, sent_in });
            }
            Output::Grant { to, grant, number } => {
                let verdict = self.check_grant(node, &grant);
                self.judge(verdict);
                let body = reply::encode_grant(Format::MessagePack, epoch, &grant);
                let notice = Some((node, self.nodes[node].inc, number));
                let sent_in = self.stream.generation;
                self.publish(node, Msg::Reply { to, body, notice, sent_in });
            }
            Output::Event(_) => {}
            Output::Write(write) => {
                self.check_order(node, epoch, std::slice::from_ref(&write));
                self.check_attempt(node, write.record.attempt);
                let (name, attempt) = (write.name.clone(), write.record.attempt);
                self.call(node, Purpose::Lock { term, name, attempt, after }, Op::Write(lock_write(&write)));
            }
            Output::Batch(batch) => {
                self.check_order(node, epoch, &batch.writes);
                self.check_attempt(node, batch.attempt);
                let purpose = Purpose::Batch { term, attempt: batch.attempt, after };
                self.call(node, purpose, Op::Batch(guarded(epoch, &batch)));
            }
            Output::Confirm(ticket) => {
                let now = self.clocks(node).boot;
                self.coords[node].leadership.confirm(now, ticket);
            }
        }
    }

    /// S11: a coordinator that knows that the storage went back decides nothing any more; what it has sent
    /// before it may send again.
    fn check_attempt(&mut self, node: usize, attempt: natslock::types::AttemptId) {
        let coord = &mut self.coords[node];
        let fresh = attempt.number > coord.attempt;
        coord.attempt = coord.attempt.max(attempt.number);
        if fresh && coord.quarantined {
            self.judge(Err(format!("S11: coordinator {node} writes on though it is quarantined")));
        }
    }

    fn check_order(&mut self, node: usize, epoch: Epoch, writes: &[LockWrite]) {
        let now = self.clocks(node).boot;
        for write in writes {
            let verdict =
                self.queues.begins(epoch, write, now, |key| self.witness.is_named_beside(key, epoch));
            self.judge(verdict);
        }
    }

    fn act_on(&mut self, node: usize, action: Action) {
        let now = self.clocks(node);
        match action {
            Action::ReadShard => self.call(node, Purpose::Shard, Op::ReadEpoch),
            Action::Takeover { expected, epoch, lease } => {
                let write = |key, expected, value| Write { key, expected, value, ttl_seconds: None };
                let writes = vec![
                    write(Key::Epoch, Some(expected), epoch.encode()),
                    write(Key::Lease, None, lease.encode()),
                ];
                self.call(node, Purpose::Takeover, Op::Batch(Batch { writes, guard: None }));
            }
            Action::WriteLease { expected, lease } => {
                let (key, value) = (Key::Lease, lease.encode());
                let write = Write { key, expected: Some(expected), value, ttl_seconds: None };
                let after = self.coords[node].leadership.highest();
                let term = self.coords[node].terms;
                self.call(node, Purpose::Lease { term, after }, Op::Write(write));
            }
            Action::ReadLease { revision } => {
                self.call(node, Purpose::LeaseRead(revision), Op::ReadAt(revision));
            }
            Action::CheckIdentity => self.call(node, Purpose::Identity, Op::Identify),
            Action::Lead(term) => self.lead(node, term),
            Action::Extend { until } => {
                if let Some(serving) = &mut self.coords[node].serving {
                    serving.engine.extend(now, until);
                }
            }
            Action::Confirmed { ticket, revision } => {
                if let Some(serving) = &mut self.coords[node].serving {
                    serving.engine.handle_confirmed(now, ticket, revision);
                }
            }
            Action::StepDown { why } => {
                self.tell(|| format!("coordinator {node} steps down: {why}"));
                self.drop_term(node);
            }
            Action::Recovered => self.coords[node].identity = self.stream.identity,
            Action::Quarantine { why } => self.quarantine(node, why),
            Action::Heartbeat { epoch } => {
                let coordinator = self.coords[node].me;
                self.publish(node, Msg::Beat { coordinator, epoch, resigned: false });
            }
            Action::Farewell { epoch } => {
                let coordinator = self.coords[node].me;
                self.publish(node, Msg::Beat { coordinator, epoch, resigned: true });
            }
            Action::Over => self.coords[node].over = true,
        }
    }

    fn drop_term(&mut self, node: usize) {
        if let Some(serving) = self.coords[node].serving.take() {
            self.queues.end(serving.engine.term().epoch);
        }
    }

    fn quarantine(&mut self, node: usize, why: String) {
        self.tell(|| format!("coordinator {node} quarantines the shard: {why}"));
        self.quarantines += 1;
        // Of a store that did go back there are more signs than those that must be seen.
        let (coord, lost) = (&self.coords[node], self.stream.generation > 0);
        if !lost && coord.proof.is_none() && !coord.hint {
            self.judge(Err(format!("S11: coordinator {node} is quarantined without a cause: {why}")));
        }
        let coord = &mut self.coords[node];
        coord.quarantined = true;
        if let Some(serving) = &mut coord.serving {
            serving.engine.quarantine(why);
        }
    }

    fn lead(&mut self, node: usize, term: natslock::engine::Term) {
        let epoch = term.epoch;
        self.tell(|| format!("coordinator {node} leads in epoch {epoch}"));
        let coord = &mut self.coords[node];
        coord.terms += 1;
        (coord.led_at, coord.sure_since) = (self.now, self.now);
        let number = coord.terms;
        let engine = Engine::new(Limits::default(), term);
        coord.serving = Some(Serving { engine, number, subscribed: false, identified: false, loaded: false });
        if mutant::is(Mutant::LoadByRead) {
            self.load_by_read(node, number, epoch);
        } else {
            self.call(node, Purpose::Follow { term: number }, Op::Follow);
        }
        self.call(node, Purpose::Identity, Op::Identify);
        self.publish(node, Msg::Leads(epoch));
    }

    pub(super) fn stop(&mut self, node: usize, now: Now) {
        if self.coords[node].stopping.is_some() {
            return;
        }
        self.tell(|| format!("coordinator {node} is told to stop"));
        if let Some(serving) = &mut self.coords[node].serving {
            serving.subscribed = false;
            serving.engine.handle_shutdown(now);
        }
        self.act(node);
        self.drop_term(node);
        let coord = &mut self.coords[node];
        coord.stopping = Some(now.boot + RESIGN_FOR);
        let now = self.clocks(node).boot;
        self.coords[node].leadership.resign(now);
    }
}
