//! A connection that ends again and again although the server is well.

use std::collections::VecDeque;
use std::time::Duration;

use crate::types::Timestamp;

/// So many within [`WITHIN`] are no accident.
const MANY: usize = 10;
const WITHIN: Duration = Duration::from_secs(60);

/// The latest ends of a connection.
#[derive(Debug, Default)]
pub(super) struct Cuts(VecDeque<Timestamp>);

impl Cuts {
    /// The connection has ended. True where that is worth telling: with every tenth within a minute.
    pub(super) fn are_many(&mut self, now: Timestamp) -> bool {
        self.0.retain(|at| now.since(*at) < WITHIN);
        self.0.push_back(now);
        let many = self.0.len() >= MANY;
        if many {
            self.0.clear();
        }
        many
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenth_within_a_minute_is_told() {
        let told = |every: u64| {
            let mut cuts = Cuts::default();
            (0..100).filter(|number| cuts.are_many(Timestamp::from_millis(number * every))).count()
        };
        assert_eq!((told(1), told(6_000), told(7_000)), (10, 10, 0));
    }
}
