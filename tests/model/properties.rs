//! What must never happen, what must happen at last, and what must happen sometimes, lest the model be empty.

use super::client::State as ClientState;
use super::event::Event;
use super::leader::{Leader, Stage};
use super::rules::{Setup, TTL};
use super::world::{State, World};

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// P1: two clients believe that they hold the lock.
    TwoBelieve,
    /// P2: a token does not rise.
    TokenOrder,
    /// P3: the record was given away while its holder believes.
    BelieverNotInRecord,
    /// P4: with all healed, somebody waits for too long.
    WaitsTooLong,
    /// P5: a holder that believes is told that it lost.
    ToldLost,
    /// Something goes on for ever within one instant.
    Endless,
}

/// P1 and P3, which hold in every state.
pub(super) fn check(state: &State) -> Option<Break> {
    let believed = |client: usize| state.clients[client].believes(state.now);
    let held = state.store.lock.holder.map(|id| (id, state.store.lock.revision));
    match (believed(0), believed(1)) {
        (Some(_), Some(_)) => Some(Break::TwoBelieve),
        (None, None) => None,
        (one, other) => (one.or(other) != held).then_some(Break::BelieverNotInRecord),
    }
}

/// P4: all is healed, coordinators take over where nobody leads, and holders give back what they hold at the next
/// tick. Then everybody who waits is served. Returns what became of it.
pub(super) fn recover(world: &World, setup: &Setup) -> World {
    let mut world = world.clone();
    world.tell(&"healed");
    heal(&mut world, setup);
    let bound = 2 * (setup.bounds.leader_lease.iter().max().unwrap_or(&0) + 4 * TTL);
    for _ in 0..bound {
        if world.broken.is_some() {
            return world;
        }
        if !world.state.is_led() {
            world.with(setup, |state, out| state.take_over(setup, out));
            world.settle(setup, |_, _| {});
        }
        world.with(setup, |state, out| {
            let now = state.now;
            let holders = state.clients.iter_mut().filter(|c| matches!(c.state, ClientState::Held { .. }));
            holders.for_each(|client| client.release(now, out));
            state.tick(out);
        });
        world.settle(setup, |_, _| {});
    }
    let waits = world.state.clients.iter().any(|client| matches!(client.state, ClientState::Asking { .. }));
    world.broken = world.broken.or_else(|| waits.then_some(Break::WaitsTooLong));
    world
}

impl State {
    /// True where the last term goes on.
    fn is_led(&self) -> bool {
        let leads = |leader: &Leader| !matches!(leader.stage, Stage::Gone | Stage::Resigning);
        self.leaders.last().is_some_and(leads)
    }
}

fn heal(world: &mut World, setup: &Setup) {
    world.state.paused.clear();
    for leader in &mut world.state.leaders {
        (leader.cut, leader.deaf) = (false, false);
    }
    let late = std::mem::take(&mut world.state.late);
    world.state.soon.extend(late);
    world.settle(setup, |_, _| {});
    // Those that were cut off hear the news.
    let state = &mut world.state;
    state.soon.extend(state.leaders.iter().map(|leader| Event::Deliver { term: leader.term }));
    world.settle(setup, |_, _| {});
}

macro_rules! marks {
    ($($(#[doc = $doc:literal])* $mark:ident,)*) => {
        /// What should happen sometimes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Mark { $($(#[doc = $doc])* $mark,)* }

        impl Mark {
            /// All of them.
            pub(super) const ALL: &[Self] = &[$(Self::$mark,)*];
        }
    };
}

marks! {
    TookOver,
    Resigned,
    Expired,
    HandedOver,
    /// A deposed leader's batch was refused for its epoch alone (S6).
    RefusedByEpoch,
    /// A leader that was not sure was silent (S3).
    Silent,
    RepeatAnswered,
    /// A grant came too late to be believed.
    GrantTooLate,
    /// A denial of an old epoch was ignored.
    OldEpochIgnored,
    /// A write without an answer was sent again (S7).
    WroteAgain,
    /// A refused write turned out to be applied (S7).
    FoundOwnWrite,
    /// A record that was delivered named one who waits here.
    FoundAndTold,
    /// A renewal waited for its token to be delivered (S8).
    TokenAwaited,
    NoticeHonoured,
    NoticeIgnored,
    ReleasedEarly,
    /// A release that was answered was told to the next leader, too.
    ReleasedAgain,
}

/// Which of them have happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marks(u32);

impl Marks {
    pub(super) const fn add(&mut self, mark: Mark) {
        self.0 |= 1 << mark as u32;
    }

    pub(super) const fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) const fn has(self, mark: Mark) -> bool {
        self.0 & (1 << mark as u32) != 0
    }
}
