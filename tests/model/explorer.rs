//! Looks at everything within the bounds, the nearest first.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use super::properties::{Break, Mark, Marks, recover};
use super::rules::Setup;
use super::world::{State, World};

/// P4 is looked at from one state in so many.
const RECOVER_ONE_IN: u64 = 64;

/// What was found.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) states: usize,
    /// How many choices the longest of the shortest ways took.
    pub(super) depth: usize,
    /// Whether everything within the bounds was looked at.
    pub(super) complete: bool,
    pub(super) recoveries: usize,
    pub(super) marks: Marks,
    pub(super) broken: Option<Trace>,
}

/// How something was broken: explored, by the fewest choices there are.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) what: Break,
    pub(super) choices: usize,
    pub(super) story: Vec<String>,
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} after {} choices, {} events", self.what, self.choices, self.story.len())
    }
}

impl Report {
    /// What should have happened and did not.
    pub(super) fn missing(&self) -> Vec<Mark> {
        Mark::ALL.iter().copied().filter(|mark| !self.marks.has(*mark)).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, depth, recoveries, .. } = self;
        let end = if self.complete { "complete" } else { "cut off" };
        write!(f, "{states} states, {depth} choices deep, {recoveries} recoveries, {end}")
    }
}

/// Breadth first: what is found first is found by the fewest choices. States are remembered by a fingerprint of
/// 64 bits, with that of the state that they came from.
pub(super) fn explore(setup: &Setup, states_max: usize) -> Report {
    let first = World::new(setup);
    let mut from: HashMap<u64, u64, BuildHasherDefault<AsItIs>> = HashMap::default();
    from.insert(fingerprint(&first.state), 0);
    let mut report =
        Report { states: 1, depth: 0, complete: true, recoveries: 0, marks: Marks::default(), broken: None };
    let mut level = vec![first];
    while !level.is_empty() && report.broken.is_none() {
        let mut next = Vec::new();
        for world in level {
            if from.len() >= states_max {
                report.complete = false;
                break;
            }
            let parent = fingerprint(&world.state);
            world.successors(setup, |child| {
                report.marks.join(child.marks);
                let own = fingerprint(&child.state);
                let known = from.contains_key(&own);
                if report.broken.is_some() || (known && child.broken.is_none()) {
                    return;
                }
                from.entry(own).or_insert(parent);
                let mut broken = child.broken;
                if broken.is_none() && setup.bounds.heals && own.is_multiple_of(RECOVER_ONE_IN) {
                    report.recoveries += 1;
                    broken = recover(&child, setup).broken;
                }
                if let Some(what) = broken {
                    report.broken = Some(retrace(setup, &from, (parent, own), what));
                } else {
                    next.push(World { story: None, ..child });
                }
            });
            if report.broken.is_some() {
                break;
            }
        }
        level = if report.complete { next } else { Vec::new() };
        report.depth += usize::from(!level.is_empty());
    }
    report.states = from.len();
    report
}

/// Follows the fingerprints back to the beginning, and goes the same way again, with the story.
fn retrace(
    setup: &Setup,
    from: &HashMap<u64, u64, BuildHasherDefault<AsItIs>>,
    (parent, last): (u64, u64),
    what: Break,
) -> Trace {
    let mut way = vec![last];
    let mut at = parent;
    while at != 0 {
        way.push(at);
        at = from.get(&at).copied().unwrap_or(0);
    }
    way.reverse();
    let mut world = World { story: Some(Vec::new()), ..World::new(setup) };
    let mut story = Vec::new();
    for (index, wanted) in way.iter().enumerate().skip(1) {
        let is_last = index + 1 == way.len();
        let mut found = None;
        world.successors(setup, |child| {
            if fingerprint(&child.state) == *wanted && (!is_last || child.broken.is_some() || found.is_none())
            {
                found = Some(child);
            }
        });
        let Some(mut child) = found else { break };
        story.extend(child.story.replace(Vec::new()).unwrap_or_default());
        world = child;
    }
    if world.broken.is_none() {
        story.extend(recover(&world, setup).story.unwrap_or_default());
    }
    Trace { what, choices: way.len() - 1, story }
}

/// Both numbers in one, mixed.
pub(super) fn mix(one: u64, other: u64) -> u64 {
    let mut mixer = Mixer(one);
    mixer.mix(other);
    mixer.finish()
}

/// The state in 64 bits.
fn fingerprint(state: &State) -> u64 {
    let mut mixer = Mixer(0x9e37_79b9_7f4a_7c15);
    state.hash(&mut mixer);
    mixer.finish().max(1)
}

/// A fast hash: the states are ours, so nobody chooses them to collide.
struct Mixer(u64);

impl Mixer {
    const fn mix(&mut self, word: u64) {
        let product = ((self.0 ^ word) as u128).wrapping_mul(0x2d35_8dcc_aa6c_78a5_9e37_79b9_7f4a_7c15);
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word) ^ ((chunk.len() as u64) << 56));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(u64::from(byte) | 1 << 40);
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64 | 1 << 41);
    }

    fn write_isize(&mut self, word: isize) {
        self.mix(word as u64 | 1 << 42);
    }

    fn write_u32(&mut self, word: u32) {
        self.mix(u64::from(word) | 1 << 43);
    }

    fn finish(&self) -> u64 {
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Fingerprints are mixed already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
