//! What is counted.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident: $words:literal,)*) => {
        /// What happened in one seed, or in many.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub(super) struct Stats {
            pub(super) seeds: u64,
            /// Simulated, in microseconds.
            pub(super) time: u64,
            $($(#[$doc])* pub(super) $name: u64,)*
        }

        impl Stats {
            pub(super) fn add(&mut self, other: &Self) {
                self.seeds += other.seeds;
                self.time += other.time;
                $(self.$name += other.$name;)*
            }
        }

        impl std::fmt::Display for Stats {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{} seeds, {:.1} simulated hours", self.seeds, self.time as f64 / 3.6e9)?;
                $(write!(f, ", {} {}", self.$name, $words)?;)*
                Ok(())
            }
        }
    };
}

counters! {
    events: "events",
    messages: "messages",
    faults: "faults",
    takeovers: "takeovers",
    grants: "grants",
    lost: "leases lost",
    /// Grants that found nobody.
    notices: "grants undelivered",
    kept: "releases that keep the lock",
    /// By clients that never repeat a request.
    plain: "grants to plain clients",
    /// Leases of clients that died or left, and of those the ones that were seen to end by S4's bound.
    dead: "dead holders watched",
    /// Free locks with a live waiter that were watched until the grant.
    idle: "free locks with waiters watched",
    /// The store's own removal of free records.
    removed: "free records removed by the store",
    inversions: "FIFO inversions across epochs",
    /// Leases whose acknowledged write the storage has lost.
    orphans: "leases lost by the storage",
    /// Writes that met a server which did not know the latest records.
    denials: "stale refusals",
    quarantined: "seeds quarantined",
}
