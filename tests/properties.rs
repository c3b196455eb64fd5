//! What holds for all orders of events. `PROPTEST_CASES=20000 cargo test --release properties` looks harder.

use std::time::Duration;

use natslock::engine::Limits;
use natslock::engine::message::{Acquire, Ask, EntryContent, LeaseRef, StoredHolder};
use natslock::types::{Claim, LeaseId, LockName, OwnerName, Permits, Token, Ttl, Wait};
use proptest::prelude::*;

use crate::support::model::{Model, Party};
use crate::support::world::{Answer, Fate, World};

/// How many clients there are: owner, lock and claim of each are fixed.
const CLIENTS: usize = 8;

fn lock(index: usize) -> LockName {
    LockName::encode(["doc", "pool"][index % 2]).unwrap()
}

fn owner(client: usize) -> OwnerName {
    OwnerName::encode(["alice", "bob", "carol"][client % 3]).unwrap()
}

/// `doc` has writers and readers, `pool` has three permits.
fn claim(client: usize) -> Claim {
    match client {
        0 | 2 => Claim::Exclusive,
        4 | 6 => Claim::Shared,
        1 | 3 => Claim::Counting(Permits::new(1, 3).unwrap()),
        5 => Claim::Counting(Permits::new(2, 3).unwrap()),
        _ => Claim::Counting(Permits::new(3, 3).unwrap()),
    }
}

fn ttl(client: usize) -> Ttl {
    Ttl::from_millis([2_000, 5_000, 1_000, 30_000][client % 4]).unwrap()
}

fn id(client: usize, generation: u32) -> LeaseId {
    format!("{client}-{generation}").parse().unwrap()
}

fn acquire(client: usize, generation: u32, wait: Duration) -> Ask {
    Ask::Acquire(Acquire {
        name: lock(client),
        id: id(client, generation),
        claim: claim(client),
        ttl: ttl(client),
        wait: Wait::from_millis(u64::try_from(wait.as_millis()).unwrap()).unwrap(),
        note: None,
        progress: false,
    })
}

fn wait() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(0), Just(700), Just(4_000), Just(60_000)].prop_map(Duration::from_millis)
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![4 => 1..30_u64, 3 => 30..300_u64, 1 => 300..2_000_u64, 1 => Just(12_500)]
        .prop_map(|tens| Duration::from_millis(tens * 10))
}

// -- where nothing fails --

#[derive(Debug, Clone)]
enum Calm {
    Acquire(usize, Duration),
    Renew(usize),
    Release(usize, Duration),
    Wait(Duration),
}

fn calm() -> impl Strategy<Value = Calm> {
    let client = || 0..CLIENTS;
    let keep = prop_oneof![3 => Just(0), 1 => 1..300_u64].prop_map(|tens| Duration::from_millis(tens * 10));
    prop_oneof![
        4 => (client(), wait()).prop_map(|(client, wait)| Calm::Acquire(client, wait)),
        1 => client().prop_map(Calm::Renew),
        3 => (client(), keep).prop_map(|(client, keep)| Calm::Release(client, keep)),
        2 => span().prop_map(Calm::Wait),
    ]
}

/// One leader for ever, and every write is stored and answered at once.
struct CalmRun {
    world: World,
    models: [Model; 2],
    generations: [u32; CLIENTS],
}

impl CalmRun {
    fn new() -> Self {
        let mut world = World::new();
        world.take_over(Limits::default());
        let for_ever = world.now + Duration::from_secs(10_000_000);
        world.call(0, |engine, now| engine.extend(now, for_ever));
        Self { world, models: Default::default(), generations: [0; CLIENTS] }
    }

    fn store(&mut self) {
        self.world.deliver_all(0);
        for _ in 0..100 {
            if self.world.leaders[0].pending.is_empty() && !self.world.wants_lease(0) {
                return;
            }
            self.world.decide(0, 0, Fate::Answered);
            self.world.send_lease(0);
            self.world.answer_lease(0);
            self.world.deliver_all(0);
        }
        self.world.demand(Err("the engine does not come to rest".into()));
    }

    fn perform(&mut self, step: &Calm) {
        let now = self.world.now;
        match *step {
            Calm::Acquire(client, wait) => {
                // No two things are due at the same time: requests are sent at multiples of 10 ms, the waits of
                // each client end at another digit, and what is kept ends at the digit 9.
                let wait =
                    if wait.is_zero() { wait } else { wait + Duration::from_millis(client as u64 + 1) };
                let generation = self.generations[client];
                let ask = acquire(client, generation, wait);
                self.world.ask(0, &owner(client), "", ask, true);
                if self.is_live(client) || self.is_fresh(client) {
                    let ttl = ttl(client).get();
                    let (id, claim) = (id(client, generation).reveal().to_owned(), claim(client));
                    let party = Party { id, claim, ttl, until: now + wait, silent_at: None, kept: false };
                    self.models[client % 2].acquire(now, party);
                }
            }
            Calm::Renew(client) => {
                let lease = LeaseRef { id: id(client, self.generations[client]), token: None };
                self.world.ask(0, &owner(client), "", Ask::Renew { name: lock(client), lease }, true);
                let id = id(client, self.generations[client]);
                self.models[client % 2].renew(now, id.reveal());
            }
            Calm::Release(client, keep) => {
                let keep = if keep.is_zero() { keep } else { keep + Duration::from_millis(9) };
                let id = id(client, self.generations[client]);
                let lease = LeaseRef { id: id.clone(), token: None };
                let ask = Ask::Release { name: lock(client), lease, keep };
                self.world.ask(0, &owner(client), "", ask, true);
                self.models[client % 2].release(now, id.reveal(), keep);
                self.generations[client] += 1;
            }
            Calm::Wait(span) => self.wait(span),
        }
        self.store();
        self.wait(Duration::from_millis(10));
    }

    fn is_live(&self, client: usize) -> bool {
        let id = id(client, self.generations[client]);
        let model = &self.models[client % 2];
        model.holders.iter().chain(&model.queue).any(|party| party.id == id.reveal())
    }

    /// An id that ran out is finished; one that never held may come again.
    fn is_fresh(&mut self, client: usize) -> bool {
        let id = id(client, self.generations[client]);
        let held = self.models[client % 2].grants.iter().any(|granted| granted == id.reveal());
        if held {
            self.generations[client] += 1;
        }
        !held
    }

    fn wait(&mut self, span: Duration) {
        let until = self.world.now + span;
        while let Some(at) = self.world.leaders[0].engine.poll_timeout().filter(|at| *at <= until) {
            self.world.advance(at.since(self.world.now), None);
            self.store();
            self.models.iter_mut().for_each(|model| model.tick(at));
        }
        self.world.advance(until.since(self.world.now), None);
        self.models.iter_mut().for_each(|model| model.tick(until));
    }

    /// Holders and waiters, in order, are those of the model.
    fn compare(&mut self) {
        for (index, model) in self.models.iter().enumerate() {
            let name = lock(index);
            let mut stored: Vec<_> = self
                .world
                .bucket
                .record(&name)
                .map(|(_, record)| record.holders.iter().map(|holder| holder.id).collect())
                .unwrap_or_default();
            let key = |party: &Party| {
                let client: usize = party.id.split('-').next().unwrap().parse().unwrap();
                party.id.parse::<LeaseId>().unwrap().hash(&owner(client))
            };
            let expected: Vec<_> = model.holders.iter().map(key).collect();
            // The write without those who released may be put off.
            stored.retain(|id| expected.contains(id) || !self.world.witness.is_released(id));
            let broken = || format!("{name} is stored as {stored:?}, and the model has {model:?}");
            self.world.demand(if stored == expected { Ok(()) } else { Err(broken()) });
        }
        for (index, expected) in
            self.models.iter().map(|model| model.queue.len()).enumerate().collect::<Vec<_>>()
        {
            let ask = Ask::Check { name: lock(index), limit: 100 };
            let number = self.world.ask(0, &owner(0), "", ask, true);
            let Some(Answer::View(_, waiting)) = self.world.answers(number).first() else {
                panic!("no answer")
            };
            let broken = format!("{waiting} wait for {}, {expected} in the model", lock(index));
            self.world.demand(if *waiting == expected { Ok(()) } else { Err(broken) });
        }
    }

    /// Grants went out in the model's order.
    fn compare_grants(&self) {
        for (index, model) in self.models.iter().enumerate() {
            let granted = self.world.granted.iter().filter(|(name, _)| *name == lock(index));
            let granted: Vec<_> = granted.map(|(_, id)| id.reveal().to_owned()).collect();
            let broken = || format!("granted {granted:?}, and the model has {:?}", model.grants);
            self.world.demand(if granted == model.grants { Ok(()) } else { Err(broken()) });
        }
    }
}

// -- where everything may fail --

#[derive(Debug, Clone)]
enum Step {
    Acquire {
        client: usize,
        leader: usize,
        wait: Duration,
    },
    /// A copy of an earlier acquisition's request arrives late (S10).
    Stale {
        client: usize,
        leader: usize,
    },
    Renew {
        client: usize,
        leader: usize,
    },
    RenewMany {
        client: usize,
        leader: usize,
    },
    Release {
        client: usize,
        leader: usize,
        keep: Duration,
    },
    AdminRelease {
        client: usize,
        leader: usize,
    },
    Store {
        leader: usize,
        which: usize,
        fate: Fate,
    },
    Land {
        leader: usize,
        which: usize,
    },
    Deliver {
        leader: usize,
        count: usize,
        skip: bool,
    },
    SendLease(usize),
    AnswerLease(usize),
    Wait(Duration),
    /// The process of a leader stands still meanwhile.
    Sleep(usize, Duration),
    TakeOver,
    Deafen(usize),
    Mend(usize),
    Return(usize),
    Delete(usize),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        8 => Just(Fate::Answered),
        2 => Just(Fate::CarriedOut),
        2 => Just(Fate::AnswerLost),
        1 => Just(Fate::Delayed),
        1 => Just(Fate::Lost),
        1 => Just(Fate::NotNow),
        1 => Just(Fate::Denied),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    // Counted from the latest, who is asked most.
    let leader = || prop_oneof![4 => Just(0_usize), 2 => Just(1), 1 => Just(2)];
    let keep = prop_oneof![4 => Just(0), 1 => 1..3_000_u64].prop_map(Duration::from_millis);
    prop_oneof![
        12 => (client(), leader(), wait())
            .prop_map(|(client, leader, wait)| Step::Acquire { client, leader, wait }),
        1 => (client(), leader()).prop_map(|(client, leader)| Step::Stale { client, leader }),
        4 => (client(), leader()).prop_map(|(client, leader)| Step::Renew { client, leader }),
        1 => (client(), leader()).prop_map(|(client, leader)| Step::RenewMany { client, leader }),
        8 => (client(), leader(), keep)
            .prop_map(|(client, leader, keep)| Step::Release { client, leader, keep }),
        1 => (client(), leader()).prop_map(|(client, leader)| Step::AdminRelease { client, leader }),
        16 => (leader(), 0..3_usize, fate())
            .prop_map(|(leader, which, fate)| Step::Store { leader, which, fate }),
        1 => (leader(), 0..3_usize).prop_map(|(leader, which)| Step::Land { leader, which }),
        8 => (leader(), 1..6_usize, any::<bool>())
            .prop_map(|(leader, count, skip)| Step::Deliver { leader, count, skip }),
        4 => leader().prop_map(Step::SendLease),
        4 => leader().prop_map(Step::AnswerLease),
        6 => span().prop_map(Step::Wait),
        1 => (leader(), span()).prop_map(|(leader, span)| Step::Sleep(leader, span)),
        1 => Just(Step::TakeOver),
        1 => client().prop_map(Step::Deafen),
        2 => client().prop_map(Step::Mend),
        3 => leader().prop_map(Step::Return),
        1 => client().prop_map(Step::Delete),
    ]
}

struct FaultyRun {
    world: World,
    generations: [u32; CLIENTS],
    limits: Limits,
}

impl FaultyRun {
    fn new() -> Self {
        let mut world = World::new();
        world.follows = true;
        let limits = Limits { parked_max: 4, finished_max: 50, ..Limits::default() };
        world.take_over(limits.clone());
        Self { world, generations: [0; CLIENTS], limits }
    }

    /// The leader that is this much older than the latest.
    fn leader(&self, older: usize) -> usize {
        (self.world.leaders.len() - 1).saturating_sub(older)
    }

    /// The client's acquisition: a new one where the last is over.
    fn current(&mut self, client: usize) -> LeaseId {
        let latest = id(client, self.generations[client]);
        let key = latest.hash(&owner(client));
        if self.world.witness.is_released(&key) || self.world.finished.contains(&key) {
            self.generations[client] += 1;
        }
        id(client, self.generations[client])
    }

    fn token(&self, client: usize, id: &LeaseId) -> Option<Token> {
        self.world.tokens.get(&id.hash(&owner(client))).copied()
    }

    fn ask(&mut self, client: usize, leader: usize, ask: Ask) {
        let leader = self.leader(leader);
        self.world.ask(leader, &owner(client), "", ask, true);
    }

    fn perform(&mut self, step: &Step) {
        match *step {
            Step::Acquire { client, leader, wait } => {
                self.current(client);
                self.ask(client, leader, acquire(client, self.generations[client], wait));
            }
            Step::Stale { client, leader } => {
                let generation = self.generations[client].saturating_sub(1);
                self.ask(client, leader, acquire(client, generation, Duration::from_secs(4)));
            }
            Step::Renew { client, leader } => {
                let id = id(client, self.generations[client]);
                let lease = LeaseRef { token: self.token(client, &id), id };
                self.ask(client, leader, Ask::Renew { name: lock(client), lease });
            }
            Step::RenewMany { client, leader } => {
                let same = (0..CLIENTS).filter(|other| other % 3 == client % 3);
                let leases = same.map(|of| {
                    let id = id(of, self.generations[of]);
                    LeaseRef { token: self.token(of, &id), id }
                });
                let leases = leases.collect();
                self.ask(client, leader, Ask::RenewMany { leases });
            }
            Step::Release { client, leader, keep } => {
                let id = id(client, self.generations[client]);
                let lease = LeaseRef { token: self.token(client, &id), id };
                self.ask(client, leader, Ask::Release { name: lock(client), lease, keep });
            }
            Step::AdminRelease { client, leader } => {
                self.world.witness.meddle(&lock(client));
                self.ask(client, leader, Ask::AdminRelease { name: lock(client), reason: None });
            }
            Step::Deafen(client) => {
                self.world.deaf.insert(owner(client));
            }
            Step::Mend(client) => {
                self.world.deaf.remove(&owner(client));
            }
            Step::Delete(client) => self.world.put(&lock(client), EntryContent::Deleted),
            _ => self.trouble(step),
        }
    }

    fn trouble(&mut self, step: &Step) {
        match *step {
            Step::Store { leader, which, fate } => {
                let leader = self.leader(leader);
                self.world.decide(leader, which, fate);
            }
            Step::Land { leader, which } => {
                let leader = self.leader(leader);
                self.world.land_delayed(leader, which);
            }
            Step::Deliver { leader, count, skip } => {
                let leader = self.leader(leader);
                for _ in 0..count {
                    if !self.world.leaders[leader].deposed {
                        self.world.deliver(leader, skip);
                    }
                }
            }
            Step::SendLease(leader) => self.world.send_lease(self.leader(leader)),
            Step::AnswerLease(leader) => self.world.answer_lease(self.leader(leader)),
            Step::Wait(span) => self.world.advance(span, None),
            Step::Sleep(leader, span) => {
                let leader = self.leader(leader);
                self.world.advance(span, Some(leader));
            }
            Step::TakeOver => {
                self.world.take_over(self.limits.clone());
            }
            Step::Return(leader) => {
                let leader = self.leader(leader);
                if let Some(number) = self.world.leaders[leader].returned.pop() {
                    self.world.return_grant(leader, number);
                }
            }
            _ => {}
        }
    }

    /// Everything is mended: the latest leader leads, and all that is on its way arrives.
    fn mend(&mut self) -> usize {
        let latest = self.leader(0);
        for leader in 0..latest {
            self.world.depose(leader);
        }
        for leader in 0..=latest {
            while !self.world.leaders[leader].delayed.is_empty() {
                self.world.land_delayed(leader, 0);
            }
        }
        self.world.deaf.clear();
        let for_ever = self.world.now + Duration::from_secs(10_000_000);
        self.world.call(latest, |engine, now| engine.extend(now, for_ever));
        self.settle(latest);
        latest
    }

    /// Answers and delivers until nothing is left to do at this time.
    fn settle(&mut self, leader: usize) {
        for _ in 0..100 {
            self.world.send_lease(leader);
            self.world.answer_lease(leader);
            self.world.deliver_all(leader);
            if self.world.wants_lease(leader) {
                continue;
            }
            if self.world.leaders[leader].pending.is_empty() {
                let wants = self.world.leaders[leader].engine.poll_timeout();
                if wants.is_none_or(|at| at.since(self.world.now) > Duration::from_millis(500)) {
                    return;
                }
                // A write that was refused for now waits for its turn.
                self.world.advance(Duration::from_millis(500), None);
            }
            while !self.world.leaders[leader].pending.is_empty() {
                self.world.decide(leader, 0, Fate::Answered);
            }
        }
        self.world.demand(Err("the engine does not come to rest".into()));
    }

    /// What the leader says is what is stored, and nobody waits for a free lock.
    fn agrees(&mut self, leader: usize) {
        for index in 0..2 {
            let name = lock(index);
            let ask = Ask::Check { name: name.clone(), limit: 100 };
            let number = self.world.ask(leader, &owner(0), "", ask, true);
            let Some(Answer::View(holders, waiting)) = self.world.answers(number).first().cloned() else {
                self.world.demand(Err(format!("no answer about {name}")));
                continue;
            };
            // The write without those who released may be put off.
            let shown = |holder: &StoredHolder, at| {
                holders.contains(&holder.token.resolve(at)) || !self.world.witness.is_released(&holder.id)
            };
            let stored: Vec<_> = self
                .world
                .bucket
                .record(&name)
                .map(|(at, record)| {
                    let shown = record.holders.iter().filter(|holder| shown(holder, at));
                    shown.map(|holder| holder.token.resolve(at)).collect()
                })
                .unwrap_or_default();
            let told = holders.clone();
            let broken = || format!("{name} is said to be held by {told:?} and stored as {stored:?}");
            self.world.demand(if holders == stored { Ok(()) } else { Err(broken()) });
            let stuck = holders.is_empty() && waiting > 0;
            let broken = format!("{waiting} wait for {name}, which is free");
            self.world.demand(if stuck { Err(broken) } else { Ok(()) });
        }
    }

    /// Everybody falls silent: in the end nothing is left.
    fn runs_dry(&mut self, leader: usize) {
        for _ in 0..300 {
            let Some(at) = self.world.leaders[leader].engine.poll_timeout() else { break };
            self.world.advance(at.since(self.world.now), None);
            self.settle(leader);
        }
        let left = format!("{:?}", self.world.leaders[leader].engine);
        let empty = left.starts_with("Engine { locks: {}, ");
        self.world.demand(if empty { Ok(()) } else { Err(format!("not forgotten: {left}")) });
    }
}

fn config(cases: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(cases);
    ProptestConfig {
        cases,
        max_shrink_iters: 100_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(500))]

    /// First come first served, one by one, exactly as the model says.
    #[test]
    fn where_nothing_fails_the_engine_does_what_the_model_does(
        steps in prop::collection::vec(calm(), 1..60),
    ) {
        let mut run = CalmRun::new();
        for step in &steps {
            run.perform(step);
            run.compare();
        }
        run.compare_grants();
    }

    /// Exclusion, tokens, who may be taken away from and what may be said hold whatever happens; and once
    /// everything is mended nobody waits in vain and nothing is left behind.
    #[test]
    fn whatever_fails_no_rule_is_broken(steps in prop::collection::vec(step(), 1..120)) {
        let mut run = FaultyRun::new();
        for step in &steps {
            run.perform(step);
        }
        let leader = run.mend();
        run.agrees(leader);
        run.runs_dry(leader);
    }
}
