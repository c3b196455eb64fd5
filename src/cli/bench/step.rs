//! What is run: the limits of the platform, and four workloads.

use clap::ValueEnum;

/// One thing that is measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) enum Step {
    /// A request and its answer through the NATS server, by the client library that natslock uses.
    Request,
    /// A compare-and-set in a bucket, by the same library.
    Write,
    Workload(Workload),
}

/// How locks are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(in crate::cli) enum Workload {
    /// One owner, 512 locks in turn
    W1,
    /// The same, each given back with one message that is not answered
    W1Detached,
    /// 64 owners, each with its own lock
    W2,
    /// 16 owners, one lock
    W3,
    /// 256 owners, one lock
    W4,
}

/// Which locks an owner takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locks {
    /// So many, in turn.
    InTurn(usize),
    /// One of its own.
    Own,
    /// The same as all others.
    One,
}

impl Step {
    /// The limits first, as each repetition takes them.
    pub(in crate::cli) fn all(workloads: &[Workload]) -> Vec<Self> {
        let mut steps = vec![Self::Request, Self::Write];
        steps.extend(workloads.iter().copied().map(Self::Workload));
        steps
    }

    pub(in crate::cli) const fn name(self) -> &'static str {
        match self {
            Self::Request => "L1",
            Self::Write => "L2",
            Self::Workload(Workload::W1) => "W1",
            Self::Workload(Workload::W1Detached) => "W1d",
            Self::Workload(Workload::W2) => "W2",
            Self::Workload(Workload::W3) => "W3",
            Self::Workload(Workload::W4) => "W4",
        }
    }

    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::Request => "request and reply through the NATS server",
            Self::Write => "compare-and-set in JetStream",
            Self::Workload(Workload::W1) => "1 owner, 512 locks in turn",
            Self::Workload(Workload::W1Detached) => "the same, release is one message",
            Self::Workload(Workload::W2) => "64 owners, a lock each",
            Self::Workload(Workload::W3) => "16 owners, one lock",
            Self::Workload(Workload::W4) => "256 owners, one lock",
        }
    }

    /// What is counted a second.
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::Request => "requests",
            Self::Write => "writes",
            Self::Workload(Workload::W1 | Workload::W1Detached | Workload::W2) => "pairs",
            Self::Workload(Workload::W3 | Workload::W4) => "hand-overs",
        }
    }
}

impl Workload {
    pub(super) const fn owners(self) -> usize {
        match self {
            Self::W1 | Self::W1Detached => 1,
            Self::W2 => 64,
            Self::W3 => 16,
            Self::W4 => 256,
        }
    }

    pub(super) const fn locks(self) -> Locks {
        match self {
            Self::W1 | Self::W1Detached => Locks::InTurn(512),
            Self::W2 => Locks::Own,
            Self::W3 | Self::W4 => Locks::One,
        }
    }
}
