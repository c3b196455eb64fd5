//! Known loads give known figures: exact schedules on a simulated clock, the real engine, and what is counted.

use std::time::Duration;

use natslock::engine::fact::Happening;
use natslock::engine::message::{
    Acquire, Ask, GuardedBatch, LeaseRef, LockWrite, Now, Output, Request, Ticket, WriteOutcome,
};
use natslock::engine::{Engine, Limits, Term, invariants};
use natslock::measures::exposition::{self, METRICS, Standing};
use natslock::measures::{Measures, NAMES_MAX};
use natslock::types::{
    Claim, LeaseId, LockName, Namespace, OwnerName, Revision, ShardId, Timestamp, Ttl, Wait, WallTime,
};
use natslock::wire::stats::{Figures, Spread, Stats};

/// A leader whose writes are answered when the schedule says so.
struct Schedule {
    engine: Engine<()>,
    measures: Measures,
    now: Duration,
    revision: u64,
    writes: Vec<LockWrite>,
    batches: Vec<GuardedBatch>,
    tickets: Vec<Ticket>,
}

impl Schedule {
    fn new() -> Self {
        let term = Term::first(Timestamp::from_millis(0), Timestamp::from_millis(u64::from(u32::MAX)));
        let mut measures = Measures::new(WallTime(7));
        measures.took_over();
        Self {
            engine: Engine::new(Limits::default(), term).observed(),
            measures,
            now: Duration::ZERO,
            revision: 1,
            writes: Vec::new(),
            batches: Vec::new(),
            tickets: Vec::new(),
        }
    }

    /// Lets the time go on to this instant; what is due before happens when it is due.
    fn at(&mut self, ms: u64) -> &mut Self {
        self.at_exactly(Duration::from_millis(ms))
    }

    fn at_exactly(&mut self, now: Duration) -> &mut Self {
        while let Some(due) = self.engine.poll_timeout().filter(|due| due.since_boot() <= now) {
            self.now = due.since_boot();
            self.engine.handle_timeout(self.time());
            self.settle();
        }
        self.now = now;
        self
    }

    fn time(&self) -> Now {
        Now { boot: Timestamp::from_boot(self.now), wall: WallTime(0) }
    }

    fn settle(&mut self) {
        invariants::check(&self.engine).unwrap();
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Write(write) => self.writes.push(write),
                Output::Batch(batch) => self.batches.push(batch),
                Output::Confirm(ticket) => self.tickets.push(ticket),
                Output::Reply { .. } | Output::Grant { .. } | Output::Event(_) => {}
            }
        }
        self.engine.take_facts().for_each(|fact| self.measures.observe(fact));
    }

    fn ask(&mut self, ask: Ask) {
        let owner = OwnerName::encode("someone").unwrap();
        self.engine.handle(self.time(), Request { owner, reply: Some(()), ask });
        self.settle();
    }

    fn acquire(&mut self, name: &str, id: &str, wait_ms: u64) {
        self.ask(Ask::Acquire(Acquire {
            name: LockName::encode(name).unwrap(),
            id: id.parse().unwrap(),
            claim: Claim::Exclusive,
            ttl: Ttl::from_millis(1_000).unwrap(),
            wait: Wait::from_millis(wait_ms).unwrap(),
            note: None,
            progress: false,
        }));
    }

    fn release(&mut self, name: &str, id: &str) {
        let (name, lease) = (LockName::encode(name).unwrap(), LeaseRef { id: lease(id), token: None });
        self.ask(Ask::Release { name, lease, keep: Duration::ZERO });
    }

    fn written(&mut self, outcome: impl FnOnce(Revision) -> WriteOutcome) {
        let write = self.writes.remove(0);
        self.revision += 1;
        let outcome = outcome(Revision::new(self.revision));
        self.engine.handle_written(self.time(), &write.name, write.record.attempt, outcome);
        self.settle();
    }

    fn acknowledged(&mut self) {
        self.written(WriteOutcome::Acknowledged);
    }

    fn batch_acknowledged(&mut self) {
        let batch = self.batches.remove(0);
        self.revision += batch.writes.len() as u64 + 1;
        let outcome = WriteOutcome::Acknowledged(Revision::new(self.revision));
        self.engine.handle_batch_written(self.time(), batch.attempt, outcome);
        self.settle();
    }

    fn confirmed(&mut self) {
        let ticket = self.tickets.remove(0);
        self.revision += 1;
        let revision = Revision::new(self.revision);
        self.engine.handle_confirmed(self.time(), ticket, revision);
        self.engine.handle_delivered(self.time(), revision);
        self.settle();
    }

    fn stats(&mut self, prefix: &str, top: usize) -> Stats {
        let engine = &self.engine;
        self.measures.stats(prefix, top, engine.census(), |name| engine.census_of(name))
    }

    fn exposition(&mut self) -> String {
        let standing = Standing {
            namespace: Namespace::default(),
            shard: ShardId(0),
            leading: true,
            quarantined: false,
            epoch: 1,
            census: self.engine.census(),
        };
        exposition::text(&mut self.measures, &standing, |name| self.engine.census_of(name))
    }
}

fn lease(id: &str) -> LeaseId {
    id.parse().unwrap()
}

/// Of lengths in milliseconds.
fn spread(mut lengths: Vec<u64>) -> Option<Spread> {
    lengths.sort_unstable();
    let (count, sum) = (lengths.len() as u64, lengths.iter().sum::<u64>());
    let rank = |percent: usize| Duration::from_millis(lengths[(lengths.len() * percent).div_ceil(100) - 1]);
    let mean = Duration::from_nanos(sum * 1_000_000 / count);
    Some(Spread { mean, p50: rank(50), p99: rank(99), max: rank(100) })
}

/// Everything that is counted happens once at least, at instants that are known.
fn eventful() -> Schedule {
    let mut at = Schedule::new();
    at.at(100).acquire("a", "1", 0);
    at.at(105).acknowledged(); // granted after 5 ms
    at.at(110).acquire("a", "2", 0); // a try, in vain
    at.at(120).acquire("a", "3", 1_000);
    at.at(130).acquire("a", "4", 50); // over at 180
    at.at(190).acquire("a", "5", 1_000);
    at.at(200).release("a", "5"); // cancelled after 10 ms
    at.at(220).release("a", "1"); // 3 has stood for 100 ms
    at.at(224).acknowledged(); // handed over, 104 ms after it was asked for; 1 has held it for 119 ms
    at.at(1_223);
    assert!(at.batches.is_empty(), "the lease of 3 lasts to 1 224");
    at.at(1_230).batch_acknowledged(); // expired after 1 006 ms
    at.at(2_000).acquire("b", "6", 0);
    at.at(2_010).written(|_| WriteOutcome::Unknown);
    at.at(2_020).written(|_| WriteOutcome::Mismatch(None));
    at.at(2_030).confirmed();
    at.at(2_040).acknowledged(); // granted after 40 ms
    at.at(2_050).acquire("a", "6", 0); // the id of another lock
    at.at(2_060).release("b", "none"); // never seen
    at.at(2_070).acquire("b", "7", 500);
    at
}

#[test]
fn an_exact_schedule_gives_exact_figures() {
    let mut at = eventful();
    let stats = at.stats("", 10);
    let refusals = |codes: &[&str]| codes.iter().map(|code| ((*code).to_owned(), 1)).collect();
    let a = Figures {
        acquires: 5,
        grants: 2,
        held: 1,
        timeouts: 1,
        contended: 4,
        contention_rate: 0.8,
        acquire: spread(vec![5, 104]),
        release: spread(vec![4]),
        wait: spread(vec![50, 10, 100]),
        hold: spread(vec![119, 1_006]),
        expiries: 1,
        handovers: 1,
        cancels: 1,
        refusals: refusals(&["id_conflict"]),
        ..Figures::default()
    };
    let b = Figures {
        acquires: 2,
        grants: 1,
        contended: 1,
        contention_rate: 0.5,
        acquire: spread(vec![40]),
        in_doubt: 1,
        conflicts: 1,
        refusals: refusals(&["not_holder"]),
        holders: 1,
        waiters: 1,
        ..Figures::default()
    };
    let total = Figures {
        acquires: 7,
        grants: 3,
        contended: 5,
        contention_rate: 5.0 / 7.0,
        acquire: spread(vec![5, 104, 40]),
        takeovers: 1,
        in_doubt: 1,
        conflicts: 1,
        refusals: refusals(&["id_conflict", "not_holder"]),
        holders: 1,
        waiters: 1,
        ..a.clone()
    };
    let name = |name| LockName::encode(name).unwrap();
    assert_eq!(
        stats,
        Stats { since: WallTime(7), total, locks: vec![(name("a"), a), (name("b"), b.clone())] }
    );
    assert_eq!(at.stats("b", 10).locks, [(name("b"), b)]);
    assert_eq!(at.stats("", 1).locks.len(), 1);
}

#[test]
fn prometheus_is_told_the_same() {
    let text = eventful().exposition();
    for line in [
        "natslock_acquires_total{namespace=\"default\",shard=\"0\"} 7",
        "natslock_waits_ended_total{namespace=\"default\",shard=\"0\",reason=\"timeout\"} 1",
        "natslock_leases_ended_total{namespace=\"default\",shard=\"0\",reason=\"expired\"} 1",
        "natslock_refusals_total{namespace=\"default\",shard=\"0\",code=\"id_conflict\"} 1",
        "natslock_acquire_duration_seconds_bucket{namespace=\"default\",shard=\"0\",le=\"0.0025\"} 0",
        "natslock_acquire_duration_seconds_bucket{namespace=\"default\",shard=\"0\",le=\"0.005\"} 1",
        "natslock_acquire_duration_seconds_bucket{namespace=\"default\",shard=\"0\",le=\"0.05\"} 2",
        "natslock_acquire_duration_seconds_bucket{namespace=\"default\",shard=\"0\",le=\"+Inf\"} 3",
        "natslock_acquire_duration_seconds_sum{namespace=\"default\",shard=\"0\"} 0.149",
        "natslock_acquire_duration_seconds_count{namespace=\"default\",shard=\"0\"} 3",
        "natslock_lock_waiters{namespace=\"default\",shard=\"0\",lock=\"b\"} 1",
        "natslock_lock_acquire_p99_seconds{namespace=\"default\",shard=\"0\",lock=\"a\"} 0.104",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
    }
    for (name, kind, _) in METRICS {
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} is not told");
        assert!(name.ends_with("_total") == (*kind == "counter"), "{name}");
    }
}

#[test]
fn percentiles_of_many_grants_are_within_one_percent() {
    let mut at = Schedule::new();
    let took = |n: u64| Duration::from_micros(200 + n * 74);
    let mut now = Duration::from_millis(1);
    at.at_exactly(now).acquire("a", "5000", 0);
    at.acknowledged();
    // Each is handed the lock by the one before, who is answered when that is stored.
    for n in (0..5_000).rev() {
        at.acquire("a", &format!("{n}"), 60_000);
        at.release("a", &format!("{}", n + 1));
        now += took(n);
        at.at_exactly(now).acknowledged();
    }
    let total = at.stats("", 0).total;
    let close = |given: Duration, wanted: Duration| given.abs_diff(wanted) * 100 <= wanted;
    let (acquire, release) = (total.acquire.unwrap(), total.release.unwrap());
    assert!(close(acquire.p50, took(2_499)) && close(acquire.p99, took(4_949)), "{acquire:?}");
    assert!(close(release.p50, took(2_499)) && close(release.p99, took(4_949)), "{release:?}");
    assert_eq!((release.max, release.mean), (took(4_999), (took(0) + took(4_999)) / 2));
    assert_eq!((total.hold.unwrap().max, total.contended), (took(4_999), 5_000));
}

#[test]
fn a_hundred_thousand_names_take_no_more_room_than_a_few_hundred() {
    let mut at = Schedule::new();
    let long = "n".repeat(240);
    for n in 0..100_000_u64 {
        let (name, id) = (format!("{long}.{n}"), format!("{n}"));
        let name = LockName::encode(&name).unwrap();
        let asked = natslock::engine::fact::Fact {
            at: Timestamp::from_millis(n),
            name: Some(name.clone()),
            what: Happening::Asked { contended: false },
        };
        at.measures.observe(asked);
        if n % 1_000 == 0 {
            at.at(n).acquire(&name.to_string(), &id, 0);
            at.acknowledged();
        }
    }
    assert_eq!(at.stats("", usize::MAX).locks.len(), NAMES_MAX);
    let text = at.exposition();
    assert!(text.len() < 100_000, "{} bytes", text.len());
    assert!(text.contains("natslock_acquires_total{namespace=\"default\",shard=\"0\"} 100100"));
}
