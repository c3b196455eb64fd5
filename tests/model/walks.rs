//! Walks at random, further than everything can be looked at. A seed says everything.

use std::fmt;

use super::choices::faults_of;
use super::explorer::{Trace, mix};
use super::properties::{Mark, Marks, recover};
use super::rules::Setup;
use super::world::World;

/// P4 is looked at after one walk in so many.
const RECOVER_ONE_IN: u64 = 4;
/// An event is spoilt in so many of a hundred cases, as long as faults are left.
const SPOILT_PERCENT: u64 = 8;
/// After so many events a walk has gone on for ever.
const EVENTS_MAX: u64 = 20_000;

/// What the walks found.
#[derive(Debug, Default)]
pub(super) struct Walks {
    pub(super) walks: u64,
    pub(super) events: u64,
    pub(super) recoveries: u64,
    pub(super) marks: Marks,
    pub(super) broken: Option<(u64, Trace)>,
}

impl fmt::Display for Walks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { walks, events, recoveries, .. } = self;
        write!(f, "{walks} walks, {events} events, {recoveries} recoveries")
    }
}

impl Walks {
    /// What should have happened and did not.
    pub(super) fn missing(&self) -> Vec<Mark> {
        Mark::ALL.iter().copied().filter(|mark| !self.marks.has(*mark)).collect()
    }
}

/// Walks with these seeds, until something is broken.
pub(super) fn walk_all(setup: &Setup, seeds: std::ops::Range<u64>) -> Walks {
    let mut walks = Walks::default();
    for seed in seeds {
        let (world, steps) = walk(setup, seed, false);
        walks.walks += 1;
        walks.events += steps;
        walks.recoveries += u64::from(heals(setup, seed));
        walks.marks.join(world.marks);
        if let Some(what) = world.broken {
            let story = walk(setup, seed, true).0.story.unwrap_or_default();
            walks.broken = Some((seed, Trace { what, choices: 0, story }));
            break;
        }
    }
    walks
}

const fn heals(setup: &Setup, seed: u64) -> bool {
    setup.bounds.heals && seed.is_multiple_of(RECOVER_ONE_IN)
}

/// One walk to the end of time, and how many steps it took.
fn walk(setup: &Setup, seed: u64, tells: bool) -> (World, u64) {
    let mut world = World { story: tells.then(Vec::new), ..World::new(setup) };
    let mut steps = 0;
    while world.broken.is_none() && steps < EVENTS_MAX {
        steps += 1;
        let chance = Chance(mix(seed, steps));
        match world.next() {
            Some(at) => happen(&mut world, setup, at, chance),
            None => {
                let choices = world.choices(setup);
                if choices.is_empty() {
                    break;
                }
                world.choose(setup, choices[chance.below(choices.len())]);
            }
        }
    }
    if world.broken.is_none() && heals(setup, seed) {
        world = recover(&world, setup);
    }
    (world, steps)
}

/// What is next happens, or goes wrong.
fn happen(world: &mut World, setup: &Setup, at: usize, chance: Chance) {
    let faults = faults_of(&world.state.soon[at]);
    let spoils = world.state.faults > 0 && !faults.is_empty() && chance.0 % 100 < SPOILT_PERCENT;
    match faults.get(chance.below(faults.len().max(1))) {
        Some(fault) if spoils && setup.allows(*fault) => world.spoil(at, *fault),
        _ => world.happen(setup, at),
    }
}

/// A random number that several questions are put to.
#[derive(Clone, Copy)]
struct Chance(u64);

impl Chance {
    fn below(self, count: usize) -> usize {
        usize::try_from((self.0 >> 16) % count as u64).unwrap_or(0)
    }
}
