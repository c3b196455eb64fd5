//! The busiest names, in constant memory: a space-saving sketch, whose entries carry what is counted of them.
//!
//! Every acquire adds to the weight of its name. A new name takes the place of the lightest, and begins with its
//! weight: so a name that is asked for more often than one in [`NAMES_MAX`] acquires is never missed, and its
//! figures are exact from the moment at which it came in. Weights are halved now and then, so that names that
//! were busy long ago make room.

use std::collections::HashMap;
use std::time::Duration;

use super::sums::Sums;
use crate::engine::fact::{Fact, Happening};
use crate::types::{LockName, Timestamp};

/// How many names are counted one by one.
pub const NAMES_MAX: usize = 256;
/// How often the weights are halved.
const HALVE_EVERY: Duration = Duration::from_secs(10 * 60);

/// The busiest names with their figures.
#[derive(Debug, Default)]
pub(super) struct Busiest {
    places: HashMap<LockName, usize>,
    entries: Vec<(LockName, Sums)>,
    /// Beside the entries, so that the lightest is found by reading two kilobytes.
    weights: Vec<u64>,
    halved_at: Option<Timestamp>,
}

impl Busiest {
    /// Takes in facts about one name, in order.
    pub(super) fn take_in(&mut self, name: &LockName, facts: &[Fact]) {
        let asked = |fact: &&Fact| matches!(fact.what, Happening::Asked { .. });
        let (place, since) = match (self.places.get(name), facts.iter().position(|fact| asked(&fact))) {
            (Some(place), _) => (*place, 0),
            (None, Some(first)) => (self.admit(name), first),
            (None, None) => return,
        };
        self.weights[place] += facts.iter().filter(asked).count() as u64;
        let sums = &mut self.entries[place].1;
        facts[since..].iter().for_each(|fact| sums.add(fact.what));
    }

    pub(super) fn took_over(&mut self) {
        self.entries.iter_mut().for_each(|(_, sums)| sums.takeovers += 1);
    }

    /// The heaviest first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (&LockName, &Sums)> {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|place| (std::cmp::Reverse(self.weights[*place]), &self.entries[*place].0));
        order.into_iter().map(|place| (&self.entries[place].0, &self.entries[place].1))
    }

    fn admit(&mut self, name: &LockName) -> usize {
        let place = if self.entries.len() < NAMES_MAX {
            self.entries.push((name.clone(), Sums::default()));
            self.weights.push(0);
            self.entries.len() - 1
        } else {
            let lightest = self.weights.iter().enumerate().min_by_key(|(_, weight)| **weight);
            let place = lightest.map_or(0, |(place, _)| place);
            let (left, _) = std::mem::replace(&mut self.entries[place], (name.clone(), Sums::default()));
            self.places.remove(&left);
            place
        };
        self.places.insert(name.clone(), place);
        place
    }

    /// Halves the weights, if that is due.
    pub(super) fn halve(&mut self, now: Timestamp) {
        let since = *self.halved_at.get_or_insert(now);
        if now.since(since) >= HALVE_EVERY {
            self.weights.iter_mut().for_each(|weight| *weight /= 2);
            self.halved_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(0);

    fn name(text: &str) -> LockName {
        LockName::encode(text).unwrap()
    }

    fn fact(what: Happening) -> Fact {
        Fact { at: START, name: None, what }
    }

    fn ask(busiest: &mut Busiest, text: &str) {
        busiest.take_in(&name(text), &[fact(Happening::Asked { contended: false })]);
    }

    #[test]
    fn a_busy_name_is_found_among_a_hundred_thousand_others() {
        let mut busiest = Busiest::default();
        for number in 0..100_000_u32 {
            ask(&mut busiest, &format!("once.{number}"));
            if number % 20 == 0 {
                ask(&mut busiest, "busy");
            }
        }
        let (first, sums) = busiest.in_order().next().unwrap();
        assert_eq!((first.as_str(), sums.acquires), ("busy", 5_000));
        assert_eq!((busiest.entries.len(), busiest.places.len()), (NAMES_MAX, NAMES_MAX));
    }

    #[test]
    fn what_was_busy_long_ago_makes_room() {
        let mut busiest = Busiest::default();
        (0..1_000).for_each(|_| ask(&mut busiest, "old"));
        for minute in 0..120 {
            busiest.halve(Timestamp::from_millis(minute * 60_000));
            (0..20).for_each(|_| ask(&mut busiest, "new"));
        }
        let order: Vec<_> = busiest.in_order().map(|(name, _)| name.as_str()).collect();
        assert_eq!(order, ["new", "old"]);
    }

    #[test]
    fn a_name_is_counted_from_when_it_is_asked_for() {
        let mut busiest = Busiest::default();
        let (held, asked) = (fact(Happening::Held), fact(Happening::Asked { contended: true }));
        let mut facts = [held.clone(), held.clone(), asked.clone(), held, asked];
        busiest.take_in(&name("a"), &facts[..1]);
        busiest.take_in(&name("a"), &facts[1..]);
        facts.reverse();
        busiest.take_in(&name("a"), &facts[3..]);
        let counted: Vec<_> = busiest.in_order().map(|(_, sums)| (sums.acquires, sums.held)).collect();
        assert_eq!((counted, busiest.weights), (vec![(2, 3)], vec![2]));
    }
}
