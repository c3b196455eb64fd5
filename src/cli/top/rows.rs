//! What is known of each lock: its figures, how they grow, and who holds and waits at this moment.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::look::Sample;
use crate::engine::message::LockView;
use crate::types::{LockName, Timestamp, WallTime};
use crate::wire::stats::Figures;

/// The order of the locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(in crate::cli) enum Sort {
    /// Most acquires a second first
    #[default]
    Rate,
    /// Most waiters first
    Waiters,
    /// Longest wait (p99) first
    Wait,
    /// Longest held first
    Held,
    /// Least time left first
    Left,
    /// By name
    Name,
}

impl Sort {
    const ALL: [Self; 6] = [Self::Rate, Self::Waiters, Self::Wait, Self::Held, Self::Left, Self::Name];

    pub(super) fn next(self) -> Self {
        let place = Self::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Self::ALL[(place + 1) % Self::ALL.len()]
    }

    /// As it is said on the screen.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Waiters => "waiters",
            Self::Wait => "wait",
            Self::Held => "held",
            Self::Left => "time left",
            Self::Name => "name",
        }
    }
}

/// One lock.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) name: LockName,
    /// None for a lock that is not among the busiest.
    pub(super) figures: Option<Figures>,
    /// None where nobody holds it or waits for it, or where it was not asked for.
    pub(super) view: Option<LockView>,
    /// Acquires a second since the look before; none at the first look.
    pub(super) rate: Option<f64>,
}

impl Row {
    pub(super) fn waiters(&self) -> usize {
        let counted = self.figures.as_ref().map_or(0, |figures| figures.waiters);
        self.view.as_ref().map_or(counted, |view| view.waiter_count)
    }

    pub(super) fn holders(&self) -> usize {
        let counted = self.figures.as_ref().map_or(0, |figures| figures.holders);
        self.view.as_ref().map_or(counted, |view| view.holder_count)
    }

    /// How long the holder that holds it longest holds it.
    pub(super) fn held(&self) -> Option<Duration> {
        self.view.as_ref()?.holders.iter().map(|holder| holder.held).max()
    }

    /// When the first of its leases ends.
    pub(super) fn left(&self) -> Option<Duration> {
        self.view.as_ref()?.holders.iter().filter_map(|holder| holder.expires_in).min()
    }

    fn wait(&self) -> Option<Duration> {
        Some(self.figures.as_ref()?.wait?.p99)
    }

    /// Whether somebody holds it or waits for it.
    pub(super) fn is_used(&self) -> bool {
        self.holders() + self.waiters() > 0
    }
}

/// How much was done in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) acquires: f64,
    pub(super) grants: f64,
    /// Tries and waits that got nothing.
    pub(super) unmet: f64,
    /// The share of acquires that met others; none where there was none.
    pub(super) contention: Option<f64>,
}

/// The counters of the look before.
#[derive(Debug)]
struct Before {
    at: Timestamp,
    since: WallTime,
    total: Figures,
    acquires: HashMap<LockName, u64>,
}

/// Tells how counters grow from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Growth(Option<Before>);

impl Growth {
    /// The rates of all locks together, and acquires a second of each; of what was not counted before, none.
    pub(super) fn next(&mut self, sample: &Sample) -> (Option<Rates>, HashMap<LockName, f64>) {
        let stats = &sample.stats;
        let acquires = stats.locks.iter().map(|(name, figures)| (name.clone(), figures.acquires)).collect();
        let now = Before { at: sample.at, since: stats.since, total: stats.total.clone(), acquires };
        let grown = match &self.0 {
            // Another coordinator counts from zero.
            Some(before) if before.since == now.since && before.at < now.at => before.grown(&now),
            _ => (None, HashMap::new()),
        };
        self.0 = Some(now);
        grown
    }
}

impl Before {
    fn grown(&self, now: &Self) -> (Option<Rates>, HashMap<LockName, f64>) {
        let seconds = now.at.since(self.at).as_secs_f64();
        let (old, new) = (&self.total, &now.total);
        let grown = |of: fn(&Figures) -> u64| of(new).saturating_sub(of(old)) as f64;
        let asked = grown(|figures| figures.acquires);
        let rates = Rates {
            acquires: asked / seconds,
            grants: grown(|figures| figures.grants) / seconds,
            unmet: grown(|figures| figures.held + figures.timeouts) / seconds,
            contention: (asked > 0.0).then(|| grown(|figures| figures.contended) / asked),
        };
        let of_locks = now.acquires.iter().filter_map(|(name, acquires)| {
            // One that left the list and came back is counted anew.
            let grown = acquires.checked_sub(*self.acquires.get(name)?)?;
            Some((name.clone(), grown as f64 / seconds))
        });
        (Some(rates), of_locks.collect())
    }
}

/// All locks that a look has found, in no order yet.
pub(super) fn rows(sample: &Sample, mut rates: HashMap<LockName, f64>) -> Vec<Row> {
    let figures = sample.stats.locks.iter().map(|(name, figures)| (name.clone(), figures.clone()));
    let mut figures: BTreeMap<_, _> = figures.collect();
    let mut names: Vec<_> = figures.keys().chain(sample.locks.keys()).cloned().collect();
    names.sort();
    names.dedup();
    let row = |name: LockName| Row {
        figures: figures.remove(&name),
        view: sample.locks.get(&name).cloned(),
        rate: rates.remove(&name),
        name,
    };
    // What was asked for by name need not begin so.
    names.into_iter().filter(|name| name.as_str().starts_with(&sample.prefix)).map(row).collect()
}

/// Puts them in order; those that are equal are ordered by name.
pub(super) fn sort(rows: &mut [Row], sort: Sort) {
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    match sort {
        Sort::Rate => rows.sort_by(|one, other| busy(other).total_cmp(&busy(one))),
        Sort::Waiters => rows.sort_by_key(|row| Reverse((row.waiters(), row.holders()))),
        Sort::Wait => rows.sort_by_key(|row| Reverse(row.wait())),
        Sort::Held => rows.sort_by_key(|row| Reverse(row.held())),
        Sort::Left => rows.sort_by_key(|row| row.left().unwrap_or(Duration::MAX)),
        Sort::Name => {}
    }
}

/// By the rate; those without one behind all others.
fn busy(row: &Row) -> f64 {
    row.rate.unwrap_or(-1.0)
}
