//! What a recovery is to do, from what was found: a pure function, and the words for it.

use std::time::Duration;

use crate::engine::message::{StoredHolder, StoredToken};
use crate::service::LEADER_LEASE_MAX;
use crate::store::Extent;
use crate::types::{LockName, Revision, Ttl, WallTime};
use crate::wire::record::EpochRecord;
use crate::wire::report::Report;

/// The revisions of a shard begin at so many for each millisecond since 1970: more than are ever written.
const REVISIONS_PER_MS: u64 = 8;
/// Lease times are reckoned by clocks whose rates differ by at most so much.
const DRIFT_PERCENT: u32 = 1;

/// The revision of the first record of a shard that begins now, so that tokens go on rising whatever was before.
pub const fn first_revision(now: WallTime) -> Revision {
    Revision::new(now.0 * REVISIONS_PER_MS)
}

/// All that is known of a shard.
#[derive(Debug, Clone)]
pub struct Findings {
    /// Where its revisions are.
    pub extent: Extent,
    /// Where an interrupted recovery began them anew.
    pub copy: Option<Revision>,
    /// The `epoch` record.
    pub epoch: Option<(Revision, EpochRecord)>,
    /// The records of its locks.
    pub locks: Vec<FoundLock>,
    /// What the coordinators say that answer.
    pub reports: Vec<Report>,
    /// The time of day.
    pub now: WallTime,
}

/// The record of a lock.
#[derive(Debug, Clone)]
pub struct FoundLock {
    /// The lock.
    pub name: LockName,
    /// Its revision.
    pub revision: Revision,
    /// Who holds it; nothing where the record does not decode.
    pub holders: Option<Vec<StoredHolder>>,
}

/// What the operator wants.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish {
    /// To recover a shard that nobody has found anything wrong with.
    pub force: bool,
    /// To grant nothing for just so long.
    pub wait: Option<Duration>,
}

/// What will be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is wrong, each with who found it.
    pub reasons: Vec<String>,
    /// The highest revision that anybody knows of: tokens up to it may be out.
    pub known: Revision,
    /// Where the revisions will begin anew.
    pub floor: Revision,
    /// For how long nothing is granted or renewed after that.
    pub embargo: Duration,
    /// The longest lease time of those that may be lost, where a coordinator knew them all.
    pub longest: Option<Duration>,
    /// The latest recovery that had been finished when this was planned; none where nothing is left to do but to
    /// tidy up after one.
    pub recovered: Revision,
    /// A recovery was interrupted; this one finishes it.
    pub resumes: bool,
}

/// The revision at which a shard was recovered last.
pub fn recovered(epoch: Option<&(Revision, EpochRecord)>) -> Revision {
    match epoch {
        Some((revision, record)) if record.recovers => *revision,
        Some((_, record)) => record.recovered,
        None => Revision::NONE,
    }
}

impl Findings {
    /// What is to be done; nothing where the shard is sound and nobody insists.
    pub fn plan(&self, wish: Wish) -> Option<Plan> {
        let mut reasons = self.reasons();
        if wish.force && reasons.is_empty() {
            reasons.push("nothing is known to be wrong with it, but you insist".into());
        }
        if reasons.is_empty() {
            return None;
        }
        let longest = self.longest();
        let known = self.known();
        let floor = first_revision(self.now).max(Revision::new(known.get() + 1));
        let recovered = recovered(self.epoch.as_ref());
        Some(Plan {
            reasons,
            known,
            floor: self.copy.unwrap_or(floor),
            embargo: wish.wait.unwrap_or_else(|| embargo(longest)),
            longest,
            recovered: if self.is_untidied() { Revision::NONE } else { recovered },
            resumes: self.extent.aside || self.copy.is_some(),
        })
    }

    fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<String> = Vec::new();
        let recovered = recovered(self.epoch.as_ref());
        // A coordinator that has not looked since a recovery goes on when it does.
        for report in self.reports.iter().filter(|report| report.highest >= recovered) {
            if let Some(found) = &report.found {
                let (host, pid) = (&report.host, report.pid);
                reasons.push(format!("the coordinator on {host} (process {pid}) found: {}", found.why));
            }
        }
        if let Some(why) = self.epoch.as_ref().and_then(|(_, record)| record.quarantine.as_ref()) {
            reasons.push(format!("the epoch record says: {why}"));
        }
        let (known, last) = (self.known(), self.extent.last);
        if known > last {
            reasons.push(format!("its last revision is {last}, but {known} has been seen"));
        }
        if self.extent.aside || self.copy.is_some() {
            reasons.push("a recovery was interrupted, or is under way".into());
        }
        reasons
    }

    /// A recovery has done its work, and died before it had tidied up.
    fn is_untidied(&self) -> bool {
        let recovered = recovered(self.epoch.as_ref());
        let Some(floor) = self.copy else {
            let is_sound =
                self.reports.iter().all(|report| report.found.is_none() || report.highest < recovered)
                    && self.epoch.as_ref().is_some_and(|(_, record)| record.quarantine.is_none())
                    && self.known() <= self.extent.last;
            return self.extent.aside && is_sound;
        };
        recovered >= floor
    }

    /// The highest revision that anybody knows of.
    pub fn known(&self) -> Revision {
        let epoch = self.epoch.iter().flat_map(|(revision, record)| [*revision, record.highest]);
        let reports = self.reports.iter().map(|report| report.highest);
        let locks = self.locks.iter().flat_map(|lock| {
            let tokens = lock.holders.iter().flatten().map(|holder| holder.token);
            let known = tokens.filter_map(|token| match token {
                StoredToken::Known(token) => Some(token.revision()),
                StoredToken::Index(_) => None,
            });
            known.chain([lock.revision])
        });
        epoch.chain(reports).chain(locks).max().unwrap_or(Revision::NONE).max(self.extent.last)
    }

    /// How many holders the records name.
    pub fn holder_count(&self) -> usize {
        self.locks.iter().filter_map(|lock| lock.holders.as_ref()).map(Vec::len).sum()
    }

    /// The locks whose records do not decode.
    pub fn garbled(&self) -> impl Iterator<Item = &LockName> {
        self.locks.iter().filter(|lock| lock.holders.is_none()).map(|lock| &lock.name)
    }

    /// A coordinator that led when the store went wrong knew every lease that was believed in.
    fn longest(&self) -> Option<Duration> {
        let told = self.reports.iter().filter_map(|report| report.found.as_ref()?.longest);
        let recorded = self.locks.iter().filter_map(|lock| lock.holders.as_ref()).flatten();
        let recorded = recorded.map(|holder| holder.ttl.get()).max().unwrap_or(Duration::ZERO);
        told.max().map(|longest| longest.max(recorded))
    }
}

/// A leader that knows of nothing may confer time for as long as its leadership lasts, and what it confers last
/// is a lease time. Without anybody who knows, a lease may be as long as the protocol allows.
pub fn embargo(longest: Option<Duration>) -> Duration {
    let span = LEADER_LEASE_MAX + longest.unwrap_or(Duration::from_millis(Ttl::MS_MAX));
    span + span * DRIFT_PERCENT / 100
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{AttemptId, CoordinatorId};
    use crate::wire::report::Finding;

    const NOW: WallTime = WallTime(1_000);

    fn sound() -> Findings {
        Findings {
            extent: Extent { begun: Revision::new(100), last: Revision::new(200), aside: false },
            copy: None,
            epoch: Some((Revision::new(150), epoch(150))),
            locks: Vec::new(),
            reports: vec![report(200, None)],
            now: NOW,
        }
    }

    fn epoch(highest: u64) -> EpochRecord {
        EpochRecord {
            coordinator: CoordinatorId(1),
            attempt: AttemptId { coordinator: CoordinatorId(1), number: 1 },
            highest: Revision::new(highest),
            quarantine: None,
            recovers: false,
            recovered: Revision::NONE,
        }
    }

    fn report(highest: u64, found: Option<Finding>) -> Report {
        let (coordinator, highest) = (CoordinatorId(1), Revision::new(highest));
        Report { coordinator, host: "h".into(), pid: 7, leads: true, highest, found }
    }

    fn finding(longest: Option<u64>) -> Option<Finding> {
        Some(Finding { why: "it went back".into(), longest: longest.map(Duration::from_secs) })
    }

    #[test]
    fn a_sound_shard_is_left_alone_unless_somebody_insists() {
        assert_eq!(sound().plan(Wish::default()), None);
        let plan = sound().plan(Wish { force: true, wait: None }).unwrap();
        assert_eq!(plan.reasons, ["nothing is known to be wrong with it, but you insist"]);
        assert_eq!(plan.embargo, embargo(None));
    }

    #[test]
    fn the_floor_is_above_all_that_anybody_knows_and_above_the_time() {
        let mut found = sound();
        found.reports = vec![report(900, finding(Some(30)))];
        let plan = found.plan(Wish::default()).unwrap();
        assert_eq!((plan.known.get(), plan.floor.get()), (900, 8_000));
        assert_eq!(plan.embargo, Duration::from_millis(90_900));
        found.epoch = Some((Revision::new(150), epoch(9_000)));
        assert_eq!(found.plan(Wish::default()).unwrap().floor.get(), 9_001);
        let token = crate::types::Token::new(Revision::new(10_000), 3);
        found.locks = vec![FoundLock {
            name: LockName::encode("a").unwrap(),
            revision: Revision::new(160),
            holders: Some(vec![holder(token, 60)]),
        }];
        let plan = found.plan(Wish::default()).unwrap();
        assert_eq!((plan.floor.get(), plan.longest), (10_001, Some(Duration::from_secs(60))));
    }

    fn holder(token: crate::types::Token, ttl: u64) -> StoredHolder {
        StoredHolder {
            id: crate::types::IdHash::from_bytes([1; 16]),
            owner: crate::types::OwnerName::encode("a").unwrap(),
            claim: crate::types::Claim::Exclusive,
            token: StoredToken::Known(token),
            ttl: Ttl::from_millis(ttl * 1_000).unwrap(),
            kept: false,
            granted_at: NOW,
            note: None,
        }
    }

    #[test]
    fn each_sign_of_trouble_is_one() {
        let signs: [fn(&mut Findings); 6] = [
            |found| found.reports[0].found = finding(None),
            |found| found.reports[0].highest = Revision::new(201),
            |found| found.epoch.as_mut().unwrap().1.quarantine = Some("it went back".into()),
            |found| found.epoch.as_mut().unwrap().1.highest = Revision::new(201),
            |found| found.extent.aside = true,
            |found| found.copy = Some(Revision::new(500)),
        ];
        for (number, sign) in signs.into_iter().enumerate() {
            let mut found = sound();
            sign(&mut found);
            assert_eq!(found.plan(Wish::default()).unwrap().reasons.len(), 1, "sign {number}");
        }
    }

    #[test]
    fn a_coordinator_that_has_not_heard_of_a_recovery_is_no_reason_for_another() {
        let mut found = sound();
        found.reports[0].found = finding(None);
        found.reports[0].highest = Revision::new(140);
        found.epoch.as_mut().unwrap().1.recovers = true;
        assert_eq!(found.plan(Wish::default()), None);
        found.reports[0].highest = Revision::new(150);
        assert!(found.plan(Wish::default()).is_some());
    }

    #[test]
    fn an_unknown_lease_is_the_longest_there_may_be() {
        let mut found = sound();
        found.reports[0].found = finding(None);
        assert_eq!(found.plan(Wish::default()).unwrap().embargo, embargo(None));
        let wait = Some(Duration::from_secs(5));
        assert_eq!(found.plan(Wish { force: false, wait }).unwrap().embargo, Duration::from_secs(5));
    }

    #[test]
    fn an_interrupted_recovery_is_finished_where_it_began() {
        let mut found = sound();
        found.copy = Some(Revision::new(500));
        let plan = found.plan(Wish::default()).unwrap();
        assert_eq!((plan.floor.get(), plan.resumes), (500, true));
    }
}
