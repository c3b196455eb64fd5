//! Who may hold a lock together, and how many from the front of a queue may begin.

use crate::types::{Claim, LEASES_PER_WRITE_MAX};

/// What is taken of a lock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Taken {
    holders: usize,
    exclusive: usize,
    shared: usize,
    permits: usize,
}

impl Taken {
    pub(super) fn by(claims: impl Iterator<Item = Claim>) -> Self {
        let mut taken = Self::default();
        claims.for_each(|claim| taken.add(claim));
        taken
    }

    pub(super) fn add(&mut self, claim: Claim) {
        self.holders += 1;
        match claim {
            Claim::Exclusive => self.exclusive += 1,
            Claim::Shared => self.shared += 1,
            Claim::Counting(permits) => self.permits += usize::from(permits.permits()),
        }
    }

    /// True where `claim` fits beside what is taken already.
    pub(super) fn admits(&self, claim: Claim) -> bool {
        match claim {
            Claim::Exclusive => self.holders == 0,
            Claim::Shared => self.exclusive == 0 && self.permits == 0,
            Claim::Counting(permits) => {
                self.exclusive + self.shared == 0
                    && self.permits + usize::from(permits.permits()) <= usize::from(permits.capacity())
            }
        }
    }

    pub(super) const fn holders(&self) -> usize {
        self.holders
    }
}

/// How many of `waiting`, from the front, may begin at once: as long as each fits and the limits are kept.
/// Whoever does not fit stops all behind it, so nobody is overtaken and nobody starves.
pub(super) fn may_begin(mut taken: Taken, waiting: impl Iterator<Item = Claim>, holders_max: usize) -> usize {
    let mut count = 0;
    for claim in waiting.take(LEASES_PER_WRITE_MAX) {
        if !taken.admits(claim) || taken.holders() >= holders_max {
            break;
        }
        taken.add(claim);
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Permits;

    fn of(permits: u64) -> Claim {
        Claim::Counting(Permits::new(permits, 5).unwrap())
    }

    fn begin(held: &[Claim], waiting: &[Claim]) -> usize {
        may_begin(Taken::by(held.iter().copied()), waiting.iter().copied(), 1000)
    }

    #[test]
    fn a_writer_stops_the_readers_behind_it() {
        use Claim::{Exclusive, Shared};
        assert_eq!(begin(&[], &[Shared, Shared, Exclusive, Shared]), 2);
        assert_eq!(begin(&[Shared], &[Exclusive, Shared]), 0);
        assert_eq!(begin(&[], &[Exclusive, Exclusive]), 1);
        assert_eq!(begin(&[Exclusive], &[Shared]), 0);
    }

    #[test]
    fn a_large_request_is_not_starved_by_small_ones() {
        assert_eq!(begin(&[of(3)], &[of(3), of(1)]), 0);
        assert_eq!(begin(&[of(2)], &[of(3), of(1)]), 1);
        assert_eq!(begin(&[], &[of(2), of(3), of(1)]), 2);
    }

    #[test]
    fn a_write_begins_at_most_256_leases() {
        assert_eq!(begin(&[], &[Claim::Shared; 300]), 256);
    }
}
