//! What goes wrong: which kinds of faults a seed has, and when they strike.

use natslock::mutant::{self, Mutant};

use super::clock::{MS, SECOND};
use super::rng::Rng;
use super::world::{Event, World};

/// Which kinds of faults a seed has. About a quarter of the seeds have none, the others a random subset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mix {
    pub(super) drop: bool,
    pub(super) delay: bool,
    pub(super) duplicate: bool,
    pub(super) reorder: bool,
    pub(super) cut: bool,
    pub(super) pause: bool,
    pub(super) suspend: bool,
    pub(super) crash: bool,
    pub(super) resign: bool,
    pub(super) stall: bool,
    pub(super) lost_ack: bool,
    pub(super) late_write: bool,
    pub(super) not_now: bool,
    pub(super) stale_read: bool,
    pub(super) spurious: bool,
    pub(super) slow_consumer: bool,
    pub(super) rollback: bool,
    pub(super) recreate: bool,
    pub(super) drift: bool,
    pub(super) stray: bool,
    pub(super) leave: bool,
    /// Clients that never repeat a request.
    pub(super) plain: bool,
}

impl Mix {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        if rng.percent(25) {
            // Nothing of this is a fault.
            let (leave, plain) = (rng.percent(50), rng.percent(50));
            return Self { leave, plain, ..Self::default() };
        }
        let density = rng.pick(&[20, 40, 60, 90]);
        let mut draw = || rng.percent(density);
        let mut mix = Self {
            drop: draw(),
            delay: draw(),
            duplicate: draw(),
            reorder: draw(),
            cut: draw(),
            pause: draw(),
            suspend: draw(),
            crash: draw(),
            resign: draw(),
            stall: draw(),
            lost_ack: draw(),
            late_write: draw(),
            not_now: draw(),
            stale_read: draw(),
            spurious: draw(),
            slow_consumer: draw(),
            rollback: false,
            recreate: false,
            drift: draw(),
            stray: draw(),
            leave: draw(),
            plain: draw(),
        };
        // These end most of what can be learnt from a seed, so few have them.
        mix.rollback = rng.percent(8);
        mix.recreate = rng.percent(8);
        mix
    }

    /// True where nothing goes wrong: clients that leave, and those that ask only once, are no faults.
    pub(super) fn is_calm(&self) -> bool {
        let harmless = Self {
            leave: self.leave,
            plain: self.plain,
            stray: self.stray,
            drift: self.drift,
            ..Self::default()
        };
        *self == harmless
    }

    /// The kinds that strike at a time of their own.
    pub(super) fn strikes(&self) -> Vec<Strike> {
        let all = [
            (self.cut, Strike::Cut),
            (self.pause, Strike::Pause),
            (self.suspend, Strike::Suspend),
            (self.crash, Strike::Crash),
            (self.resign, Strike::Resign),
            (self.stall, Strike::Stall),
            (self.slow_consumer, Strike::SlowConsumer),
            (self.spurious, Strike::Sleeper),
            (self.rollback, Strike::Rollback),
            (self.recreate, Strike::Recreate),
        ];
        all.into_iter().filter(|(on, _)| *on).map(|(_, strike)| strike).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strike {
    Cut,
    Pause,
    Suspend,
    Crash,
    Resign,
    Stall,
    SlowConsumer,
    /// The stream's former leader wakes, and answers by what it knows until it hears of its successor.
    Sleeper,
    Rollback,
    Recreate,
}

/// How late a message may be, with some time to spare.
const LATE_MAX: u64 = 17 * SECOND;

/// A connection that carries nothing in one direction.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cut {
    pub(super) until: u64,
    /// What was sent meanwhile is delivered afterwards, instead of lost.
    pub(super) replays: bool,
    /// The server knows that nobody is there.
    pub(super) noticed: bool,
}

impl World {
    /// Short ones are common, long ones are not.
    fn fault_span(&mut self) -> u64 {
        match self.rng.below(10) {
            0..4 => self.rng.range(50 * MS, SECOND),
            4..8 => self.rng.range(SECOND, 8 * SECOND),
            _ => self.rng.range(8 * SECOND, 45 * SECOND),
        }
    }

    /// The leader is where most of it happens.
    fn victim(&mut self) -> usize {
        let leader = (0..self.coords.len()).find(|node| self.nodes[*node].up && self.coords[*node].leads());
        match leader {
            Some(leader) if self.rng.percent(40) => leader,
            _ => usize::try_from(self.rng.below(self.nodes.len() as u64)).unwrap(),
        }
    }

    pub(super) fn strike(&mut self) {
        let kinds = self.mix.strikes();
        if kinds.is_empty() || self.healed {
            return;
        }
        let mut kind = self.rng.pick(&kinds);
        if matches!(kind, Strike::Rollback | Strike::Recreate) && self.rng.percent(90) {
            kind = self.rng.pick(&kinds);
        }
        let span = self.fault_span();
        let node = self.victim();
        self.stats.faults += 1;
        self.tell(|| format!("FAULT {kind:?} of {node} for {} ms", span / MS));
        match kind {
            Strike::Cut => self.cut(node, span),
            Strike::Pause => self.pause(node, span),
            Strike::Suspend => self.suspend(node, span),
            Strike::Crash => self.crash(node, span),
            Strike::Resign => self.command_stop(node),
            Strike::Stall => self.stream.stalled_until = self.now + self.rng.range(4 * SECOND, 10 * SECOND),
            Strike::SlowConsumer => self.stream.consumers_until = self.now + span.min(10 * SECOND),
            Strike::Sleeper => self.stream.sleeper_until = self.now + span.min(3 * SECOND),
            Strike::Rollback => self.roll_back(),
            Strike::Recreate => self.recreate(span.min(5 * SECOND)),
        }
        let next = self.now + self.rng.range(SECOND, 14 * SECOND);
        self.at(next, Event::Strike);
    }

    fn cut(&mut self, node: usize, span: u64) {
        let cut =
            Cut { until: self.now + span, replays: self.rng.percent(50), noticed: self.rng.percent(50) };
        match self.rng.below(3) {
            0 => self.nodes[node].cut_up = cut,
            1 => self.nodes[node].cut_down = cut,
            _ => (self.nodes[node].cut_up, self.nodes[node].cut_down) = (cut, cut),
        }
    }

    /// It stands still between two of its steps, or between a decision and the sending of it.
    pub(super) fn pause(&mut self, node: usize, span: u64) {
        if self.rng.percent(50) {
            self.stand_still(node, span);
        } else {
            self.nodes[node].pause_next = Some(span);
        }
    }

    /// Of two pauses the longer one counts.
    pub(super) fn stand_still(&mut self, node: usize, span: u64) {
        let until = &mut self.nodes[node].paused_until;
        *until = (*until).max(self.now + span);
    }

    pub(super) fn suspend(&mut self, node: usize, span: u64) {
        self.stand_still(node, span);
        if mutant::is(Mutant::ClockStopsInSuspend) {
            self.nodes[node].clock.stand_still(span);
        }
    }

    pub(super) fn crash(&mut self, node: usize, span: u64) {
        if !self.nodes[node].up {
            return;
        }
        self.take_down(node);
        self.at(self.now + span, Event::Start { node });
    }

    /// Everything works again: who is down starts, who stands still goes on.
    pub(super) fn heal(&mut self) {
        self.healed = true;
        // What is late already arrives by then, and holds up what was sent behind it. What was under way in a
        // process that stood still leaves when it would have gone on.
        let until =
            |node: &super::world::Node| node.cut_up.until.max(node.cut_down.until).max(node.paused_until);
        let last = self.nodes.iter().map(until).max();
        self.calm_since = last.unwrap_or(0).max(self.now) + LATE_MAX;
        self.mix = Mix { drift: self.mix.drift, ..Mix::default() };
        self.tell(|| "everything works again".into());
        self.stream.heal(self.now);
        // Those that hold back what a cut keeps from being delivered need not wait for its end.
        for follower in self.stream.followers.keys().copied().collect::<Vec<_>>() {
            self.at(self.now + MS, Event::Pump { follower });
        }
        for node in 0..self.nodes.len() {
            let now = self.now;
            self.wake(node);
            let state = &mut self.nodes[node];
            state.cut_up.until = state.cut_up.until.min(now);
            state.cut_down.until = state.cut_down.until.min(now);
            state.paused_until = state.paused_until.min(now);
            state.pause_next = None;
            if !state.up {
                self.start(node);
            }
            self.arm(node);
        }
    }
}
