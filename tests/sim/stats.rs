//! What is counted.

/// What happened in one seed, or in many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stats {
    pub(super) seeds: u64,
    pub(super) time: u64,
    pub(super) events: u64,
    pub(super) messages: u64,
    pub(super) takeovers: u64,
    pub(super) grants: u64,
    pub(super) lost: u64,
    pub(super) notices: u64,
    pub(super) faults: u64,
    pub(super) inversions: u64,
    pub(super) quarantined: u64,
}

impl Stats {
    pub(super) fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.time += other.time;
        self.events += other.events;
        self.messages += other.messages;
        self.takeovers += other.takeovers;
        self.grants += other.grants;
        self.lost += other.lost;
        self.notices += other.notices;
        self.faults += other.faults;
        self.inversions += other.inversions;
        self.quarantined += other.quarantined;
    }
}

impl std::fmt::Display for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} seeds, {:.1} simulated hours, {} events, {} messages, {} takeovers, {} grants, {} leases lost, \
             {} grants undelivered, {} faults, {} FIFO inversions across epochs, {} seeds quarantined",
            self.seeds,
            self.time as f64 / 3.6e9,
            self.events,
            self.messages,
            self.takeovers,
            self.grants,
            self.lost,
            self.notices,
            self.faults,
            self.inversions,
            self.quarantined
        )
    }
}
