//! The busiest names, in constant memory: a space-saving sketch, whose entries carry what is counted of them.
//!
//! Every acquire adds to the weight of its name. A new name takes the place of the lightest, and begins with its
//! weight: so a name that is asked for more often than one in [`NAMES_MAX`] acquires is never missed, and its
//! figures are exact from the moment at which it came in. Weights are halved now and then, so that names that
//! were busy long ago make room.

use std::collections::HashMap;
use std::time::Duration;

use super::sums::Sums;
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
    /// A name was asked for: here is where to count that.
    pub(super) fn asked(&mut self, now: Timestamp, name: &LockName) -> &mut Sums {
        self.halve(now);
        let place = match self.places.get(name) {
            Some(place) => *place,
            None => self.admit(name),
        };
        self.weights[place] += 1;
        &mut self.entries[place].1
    }

    pub(super) fn get_mut(&mut self, name: &LockName) -> Option<&mut Sums> {
        self.places.get(name).map(|place| &mut self.entries[*place].1)
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

    fn halve(&mut self, now: Timestamp) {
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

    fn name(text: String) -> LockName {
        LockName::encode(&text).unwrap()
    }

    #[test]
    fn a_busy_name_is_found_among_a_hundred_thousand_others() {
        let (mut busiest, now) = (Busiest::default(), Timestamp::from_millis(0));
        for number in 0..100_000_u32 {
            busiest.asked(now, &name(format!("once.{number}"))).acquires += 1;
            if number % 20 == 0 {
                busiest.asked(now, &name("busy".into())).acquires += 1;
            }
        }
        let (first, sums) = busiest.in_order().next().unwrap();
        assert_eq!((first.as_str(), sums.acquires), ("busy", 5_000));
        assert_eq!((busiest.entries.len(), busiest.places.len()), (NAMES_MAX, NAMES_MAX));
    }

    #[test]
    fn what_was_busy_long_ago_makes_room() {
        let mut busiest = Busiest::default();
        let minutes = |count: u64| Timestamp::from_millis(count * 60_000);
        (0..1_000).for_each(|_| busiest.asked(minutes(0), &name("old".into())).acquires += 1);
        for minute in 0..120 {
            (0..20).for_each(|_| busiest.asked(minutes(minute), &name("new".into())).acquires += 1);
        }
        let order: Vec<_> = busiest.in_order().map(|(name, _)| name.as_str()).collect();
        assert_eq!(order, ["new", "old"]);
    }
}
