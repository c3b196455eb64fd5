//! The figures as Prometheus reads them (text format 0.0.4). Bounded: the series of the whole shard, and a few of
//! each of the [`NAMED_MAX`] busiest names.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::Measures;
use super::spread::Spread;
use super::sums::Sums;
use crate::engine::Census;
use crate::engine::message::Code;
use crate::types::{LockName, Namespace, ShardId};
use crate::wire::subject::Verb;

/// How many names have series of their own.
pub const NAMED_MAX: usize = 20;

/// What a coordinator is doing, as far as figures tell it.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The namespace that it serves.
    pub namespace: Namespace,
    /// The shard that it serves.
    pub shard: ShardId,
    /// Whether it leads.
    pub leading: bool,
    /// Whether its shard is quarantined.
    pub quarantined: bool,
    /// Its term; 0 where it has none.
    pub epoch: u64,
    /// Who holds and waits.
    pub census: Census,
}

/// Every metric: its name, its type and what it says. Dashboards and alerts may name these and no others.
pub const METRICS: &[(&str, &str, &str)] = &[
    ("natslock_build_info", "gauge", "The version, as a label"),
    ("natslock_leading", "gauge", "1 where this coordinator leads"),
    ("natslock_quarantined", "gauge", "1 where the shard is quarantined"),
    ("natslock_epoch", "gauge", "The term in which this coordinator leads, or led last"),
    ("natslock_holders", "gauge", "Leases at this moment"),
    ("natslock_waiters", "gauge", "Places in queues at this moment"),
    ("natslock_requests_total", "counter", "Requests by verb"),
    ("natslock_acquires_total", "counter", "New acquisitions, without repeats and refused ones"),
    ("natslock_contended_acquires_total", "counter", "Acquisitions that met others they had to wait for"),
    ("natslock_grants_total", "counter", "Leases that began"),
    ("natslock_tries_held_total", "counter", "Tries that were told that others hold the lock"),
    ("natslock_waits_ended_total", "counter", "Waits that ended without a lease, by reason"),
    ("natslock_leases_ended_total", "counter", "Leases that ended, by reason"),
    ("natslock_handovers_total", "counter", "Writes that ended leases and began others"),
    ("natslock_takeovers_total", "counter", "How often this coordinator took over"),
    ("natslock_writes_in_doubt_total", "counter", "Writes without an answer"),
    ("natslock_write_conflicts_total", "counter", "Writes that met another revision than they expected"),
    ("natslock_refusals_total", "counter", "Refused requests by code"),
    ("natslock_acquire_duration_seconds", "histogram", "From the receipt of an acquire to its stored grant"),
    ("natslock_release_duration_seconds", "histogram", "From the receipt of a release until it is stored"),
    ("natslock_wait_duration_seconds", "histogram", "In the queue, of those who had to wait"),
    ("natslock_held_duration_seconds", "histogram", "From the grant to the end of the lease"),
    ("natslock_lock_acquires_total", "counter", "Acquisitions of one of the busiest locks, since it is one"),
    ("natslock_lock_contended_acquires_total", "counter", "Those of them that had to wait"),
    ("natslock_lock_acquire_p99_seconds", "gauge", "99 of 100 of its grants took no longer than this"),
    ("natslock_lock_holders", "gauge", "Its leases at this moment"),
    ("natslock_lock_waiters", "gauge", "Places in its queue at this moment"),
];

/// The upper ends of the buckets, in milliseconds: from a write to memory to a lease of an hour.
const BUCKETS_MS: [f64; 18] =
    [0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4, 6e5, 3.6e6];

/// The text of all metrics.
pub fn text(measures: &mut Measures, standing: &Standing, census: impl Fn(&LockName) -> Census) -> String {
    measures.settle();
    let mut text = Text::new(standing);
    let total = &measures.total;
    text.one("natslock_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.one("natslock_leading", &[], u64::from(standing.leading));
    text.one("natslock_quarantined", &[], u64::from(standing.quarantined));
    text.one("natslock_epoch", &[], standing.epoch);
    text.one("natslock_holders", &[], standing.census.holders as u64);
    text.one("natslock_waiters", &[], standing.census.waiters as u64);
    text.many(
        "natslock_requests_total",
        "verb",
        measures.requests.iter().zip(Verb::ALL).map(|(requests, verb)| (verb.as_str(), requests.count)),
    );
    counters(&mut text, total);
    let codes = Code::ALL.into_iter().zip(total.refusals);
    text.many("natslock_refusals_total", "code", codes.map(|(code, count)| (code.as_str(), count)));
    for (name, spread) in [
        ("natslock_acquire_duration_seconds", &total.acquire),
        ("natslock_release_duration_seconds", &total.release),
        ("natslock_wait_duration_seconds", &total.wait),
        ("natslock_held_duration_seconds", &total.hold),
    ] {
        text.histogram(name, spread);
    }
    locks(&mut text, measures, census);
    text.out
}

fn counters(text: &mut Text, total: &Sums) {
    text.one("natslock_acquires_total", &[], total.acquires);
    text.one("natslock_contended_acquires_total", &[], total.contended);
    text.one("natslock_grants_total", &[], total.grants);
    text.one("natslock_tries_held_total", &[], total.held);
    let waits = [("timeout", total.timeouts), ("cancelled", total.cancels), ("silent", total.silent)];
    text.many("natslock_waits_ended_total", "reason", waits);
    let ends = [("released", total.releases), ("expired", total.expiries), ("revoked", total.revocations)];
    text.many("natslock_leases_ended_total", "reason", ends);
    text.one("natslock_handovers_total", &[], total.handovers);
    text.one("natslock_takeovers_total", &[], total.takeovers);
    text.one("natslock_writes_in_doubt_total", &[], total.in_doubt);
    text.one("natslock_write_conflicts_total", &[], total.conflicts);
}

fn locks(text: &mut Text, measures: &Measures, census: impl Fn(&LockName) -> Census) {
    let busiest: Vec<_> = measures.busiest.in_order().take(NAMED_MAX).collect();
    let each = |of: &dyn Fn(&LockName, &Sums) -> u64| -> Vec<_> {
        busiest.iter().map(|(name, sums)| (name.as_str(), of(name, sums))).collect()
    };
    text.many("natslock_lock_acquires_total", "lock", each(&|_, sums| sums.acquires));
    text.many("natslock_lock_contended_acquires_total", "lock", each(&|_, sums| sums.contended));
    text.many("natslock_lock_holders", "lock", each(&|name, _| census(name).holders as u64));
    text.many("natslock_lock_waiters", "lock", each(&|name, _| census(name).waiters as u64));
    text.head("natslock_lock_acquire_p99_seconds");
    for (name, sums) in &busiest {
        if let Some([p99]) = sums.acquire.quantiles([0.99]) {
            text.line("natslock_lock_acquire_p99_seconds", &[("lock", name.as_str())], p99.as_secs_f64());
        }
    }
}

/// The text so far, and the labels that every series carries.
struct Text {
    out: String,
    labels: [(&'static str, String); 2],
}

impl Text {
    fn new(standing: &Standing) -> Self {
        let labels = [("namespace", standing.namespace.to_string()), ("shard", standing.shard.to_string())];
        Self { out: String::new(), labels }
    }

    fn head(&mut self, name: &str) {
        let Some((name, kind, help)) = METRICS.iter().find(|(known, ..)| *known == name) else {
            unreachable!("{name} is not in the list of metrics")
        };
        // Writing to memory cannot fail.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl fmt::Display) {
        let _ = write!(self.out, "{name}{{");
        let own = self.labels.iter().map(|(label, value)| (*label, value.as_str()));
        for (index, (label, value)) in own.chain(labels.iter().copied()).enumerate() {
            let comma = if index > 0 { "," } else { "" };
            // Names are in encoded form, so no value needs an escape.
            let _ = write!(self.out, "{comma}{label}=\"{value}\"");
        }
        let _ = writeln!(self.out, "}} {value}");
    }

    fn one(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.head(name);
        self.line(name, labels, value);
    }

    fn many<'a>(&mut self, name: &str, label: &str, values: impl IntoIterator<Item = (&'a str, u64)>) {
        self.head(name);
        for (which, value) in values {
            self.line(name, &[(label, which)], value);
        }
    }

    fn histogram(&mut self, name: &str, spread: &Spread) {
        self.head(name);
        let (bucket, sum, count) = (format!("{name}_bucket"), format!("{name}_sum"), format!("{name}_count"));
        for ms in BUCKETS_MS {
            let end = Duration::from_secs_f64(ms / 1e3);
            self.line(&bucket, &[("le", &(ms / 1e3).to_string())], spread.at_most(end));
        }
        self.line(&bucket, &[("le", "+Inf")], spread.count());
        self.line(&sum, &[], spread.sum().as_secs_f64());
        self.line(&count, &[], spread.count());
    }
}
