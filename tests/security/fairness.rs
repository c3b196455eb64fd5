//! An owner that sends more than its share is refused cheaply, and the others do not notice.

use std::time::Duration;

use natslock::clock::SystemClock;
use natslock::engine::Limits;
use natslock::service::Config;
use natslock::types::Timestamp;
use serde_json::{Value, json};

use super::bystander::{Bystanders, Turns};
use super::flood::{Flooder, Sink};
use crate::cli::program::{Program, Running};
use crate::support::service::{Service, Wire};
use crate::support::{NatsServer, quiet};

/// How long one time is, of which a turn has three.
const TIME: Duration = Duration::from_millis(500);
/// After the beginning and the end of a flood things are as they stay after so long.
const SETTLE: Duration = Duration::from_millis(150);
/// So many turns are measured.
const TURNS: usize = 11;
/// How many do honest work.
const HONEST: usize = 12;
/// Each owner may send so many requests a second. The honest stay below it.
const RATE: u32 = 30;
/// A request that is passed over costs the coordinator at most this share of the processor time of an acquire with its
/// release. (In a debug build it is 0.015 or less.)
const SHARE_MAX: f64 = 0.05;

/// How many requests a second the flood has: a hundred times what it may. `FLOOD_PER_S=max` is for as many as one
/// connection can send, in a release build and on a machine with nothing else to do.
fn flood_per_s() -> Option<usize> {
    match std::env::var("FLOOD_PER_S").as_deref() {
        Ok("max") => None,
        Ok(text) => Some(text.parse().unwrap()),
        Err(_) => Some(100 * RATE as usize),
    }
}

/// A server and a coordinator in a process of its own, so that its processor time can be told.
struct Ground {
    server: NatsServer,
    serving: Running,
}

impl Ground {
    async fn start(words: &[&str]) -> Self {
        let server = NatsServer::start().await;
        let mut serving = Program::new(&server.url()).start(&[&["serve"], words].concat());
        serving.told_until("leading");
        Self { server, serving }
    }

    /// How long the coordinator has had a processor, on a machine however busy.
    fn processor_time(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.serving.id())).unwrap();
        let had = tasks.flatten().filter_map(|task| {
            let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            stat.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(had.sum())
    }
}

/// One kind of times, all together.
#[derive(Default)]
struct Account {
    pairs: usize,
    sent: usize,
    took: Duration,
    processor: Duration,
}

impl Account {
    fn add(&mut self, ground: &Ground, before: (Timestamp, Duration), pairs: usize, sent: usize) {
        self.pairs += pairs;
        self.sent += sent;
        self.took += SystemClock::boot().since(before.0);
        self.processor += ground.processor_time() - before.1;
    }
}

/// What a flood did.
struct Measured {
    /// To the bystanders, compared with quiet times.
    felt: Turns,
    /// The same, compared with times when the flood went elsewhere.
    caused: Turns,
    quiet: Account,
    flooded: Account,
    answers: Vec<Value>,
}

impl Measured {
    /// What a message of the flood cost the coordinator, as a share of an acquire with its release. Those that were
    /// granted are left out where they are `hers`.
    fn share(&self, hers: bool) -> f64 {
        let pair = self.quiet.processor.as_secs_f64() / self.quiet.pairs as f64;
        let granted = if hers { self.granted() } else { 0 };
        let rest = self.flooded.processor.as_secs_f64() - pair * (self.flooded.pairs + granted) as f64;
        rest.max(0.0) / (self.flooded.sent - granted) as f64 / pair
    }

    fn granted(&self) -> usize {
        self.answers.iter().filter(|answer| answer["status"] == "granted").count()
    }
}

/// Bystanders in quiet times, while a flood goes elsewhere, and while it comes here, by turns. The floods load the
/// machine and the server alike; what differs is what the coordinator does.
async fn measure(ground: &Ground, per_second: Option<usize>, turns: usize) -> Measured {
    let server = ground.server.options();
    let honest = Bystanders::connect(&server, HONEST, RATE).await;
    let flooder = Flooder::start(&server, per_second);
    let sink = Sink::start(&server, "elsewhere.>").await;
    let (mut felt, mut caused) = (Turns::default(), Turns::default());
    let (mut still, mut flooded) = (Account::default(), Account::default());
    for _ in 0..turns {
        // What is still on its way from the turn before is nobody's fault.
        honest.work(SETTLE).await;
        let before = (SystemClock::boot(), ground.processor_time());
        let quiet = honest.work(TIME).await;
        still.add(ground, before, quiet.count(), 0);
        let flood = flooder.send("elsewhere.default.acquire.eve.flood");
        honest.work(SETTLE).await;
        let beside = honest.work(TIME).await;
        flood.end().await;
        honest.work(SETTLE).await;
        let before = (SystemClock::boot(), ground.processor_time());
        let flood = flooder.send("natslock.default.acquire.eve.flood");
        // The first second's worth is hers: it is served.
        let first = honest.work(SETTLE).await;
        let loud = honest.work(TIME).await;
        let sent = flood.end().await;
        flooded.add(ground, before, first.count() + loud.count(), sent);
        felt.add(quiet, loud.clone());
        caused.add(beside, loud);
    }
    let elsewhere = sink.end().await;
    let answers = flooder.end().await;
    let measured = Measured { felt, caused, quiet: still, flooded, answers };
    let Measured { felt, caused, flooded, answers, .. } = &measured;
    let per_s = flooded.sent as f64 / flooded.took.as_secs_f64();
    let (sent, share) = (flooded.sent, measured.share(true));
    println!(
        "flood: {sent} requests ({per_s:.0}/s; {elsewhere} elsewhere), {} answers; each cost {share:.4} of a pair",
        answers.len()
    );
    println!("compared with quiet times: {}", felt.told());
    println!("compared with a flood elsewhere: {}", caused.told());
    measured
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_one_owner_floods_the_others_are_served_as_before() {
    let _alone = quiet::measure().await;
    let ground = Ground::start(&["--owner-rate", &RATE.to_string()]).await;
    let measured = measure(&ground, flood_per_s(), TURNS).await;
    let Measured { felt, caused, flooded, answers, .. } = &measured;
    let told = answers.iter().filter(|answer| answer["code"] == "rate_limited").count();
    // Each turn begins with a burst that it has saved up.
    let seconds = flooded.took.as_secs_f64() + TURNS as f64;
    let granted = measured.granted();
    assert!(flooded.sent as f64 > 20.0 * f64::from(RATE) * flooded.took.as_secs_f64(), "{}", flooded.sent);
    assert!(granted as f64 <= f64::from(RATE) * seconds, "{granted} were served");
    assert!(told > 0 && told as f64 <= 12.0 * seconds, "{told} were told");
    let refused = answers.iter().find(|answer| answer["code"] == "rate_limited").unwrap();
    assert_eq!(refused["limit"], json!(RATE));
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| (1..=1_000).contains(&ms)), "{refused}");
    let mut wire = Wire::new(&ground.server.options()).await;
    let info = wire.json("natslock.default.info.alice", "").await;
    assert_eq!(info["limits"]["requests_per_owner_per_s_max"], json!(RATE));
    let share = measured.share(true);
    assert!(share <= SHARE_MAX, "a refused request costs {share:.4} of an acquire with its release");
    assert!(caused.ratio() <= 2.0, "a bystander's p99 rose {:.2}-fold", caused.ratio());
    assert!(felt.ratio() <= 2.0, "a bystander's p99 rose {:.2}-fold", felt.ratio());
}

/// The same without a rate, as a control: each request costs what it asks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_rate_a_flood_is_felt() {
    let _alone = quiet::measure().await;
    let measured = measure(&Ground::start(&[]).await, Some(500), 2).await;
    let (share, ratio) = (measured.share(false), measured.caused.ratio());
    assert!(
        share > SHARE_MAX || ratio > 2.0,
        "it costs {share:.4} of a pair, and the p99 rose {ratio:.2}-fold"
    );
}

/// Names that are given back stay in the store for two minutes, however few are held at a time.
#[tokio::test]
async fn names_that_are_used_once_are_bounded() {
    // A name counts from the write on that frees it, so none is put off here.
    let limits = Limits { names_per_owner_max: 30, put_off_for: Duration::ZERO, ..Limits::default() };
    let service = Service::start_with(Config::default().limits(limits)).await;
    let mut wire = service.wire().await;
    let (mut granted, mut refused) = (0, 0);
    for number in 0..50 {
        let answer = wire.json(&format!("natslock.default.acquire.eve.once.{number}"), "{}").await;
        if answer["status"] == "granted" {
            granted += 1;
            let body = json!({"id": answer["id"]}).to_string();
            wire.json(&format!("natslock.default.release.eve.once.{number}"), &body).await;
        } else {
            assert_eq!((&answer["code"], &answer["limit"]), (&json!("rate_limited"), &json!(30)));
            refused += 1;
        }
    }
    assert_eq!((granted, refused), (30, 20));
    // One of those she may have again, and others any.
    assert_eq!(wire.json("natslock.default.acquire.eve.once.0", "{}").await["status"], "granted");
    assert_eq!(wire.json("natslock.default.acquire.bob.once.49", "{}").await["status"], "granted");
    let stats = wire.json("natslock.default.stats.bob", "").await;
    assert_eq!(stats["total"]["refusals"], json!({"rate_limited": 20}));
}

#[tokio::test]
async fn quotas_and_queues_are_bounded_and_named() {
    let limits = Limits {
        leases_per_owner_max: 20,
        waiters_per_owner_max: 12,
        names_per_owner_max: 20,
        waiters_per_lock_max: 10,
        ..Limits::default()
    };
    let service = Service::start_with(Config::default().limits(limits)).await;
    let mut wire = service.wire().await;
    // Distinct names: each is a lease.
    for number in 0..20 {
        let granted = wire.json(&format!("natslock.default.acquire.eve.n{number}"), "{}").await;
        assert_eq!(granted["status"], "granted");
    }
    let over = wire.json("natslock.default.acquire.eve.n20", "{}").await;
    assert_eq!((&over["code"], &over["limit"]), (&json!("rate_limited"), &json!(20)));
    // Nobody else is hindered, and what Eve holds already she may renew.
    assert_eq!(wire.json("natslock.default.acquire.bob.n20", "{}").await["status"], "granted");
    for number in 0..10 {
        let body = json!({"id": format!("w{number}"), "wait_ms": 60_000, "progress": true}).to_string();
        assert_eq!(wire.json("natslock.default.acquire.carol.n20", &body).await["status"], "queued");
    }
    let full = wire.json("natslock.default.acquire.dave.n20", r#"{"wait_ms":1000}"#).await;
    assert_eq!((&full["code"], &full["limit"]), (&json!("queue_full"), &json!(10)));
    // Two more, for another lock; then she waits often enough. She may still try, and others may wait.
    for number in 0..3 {
        let body = json!({"id": format!("v{number}"), "wait_ms": 60_000, "progress": true}).to_string();
        let answer = wire.json("natslock.default.acquire.carol.n0", &body).await;
        let expected = if number < 2 { &json!("queued") } else { &json!("error") };
        assert_eq!(&answer["status"], expected, "{answer}");
        assert!(number < 2 || answer["code"] == "rate_limited" && answer["limit"] == 12, "{answer}");
    }
    assert_eq!(wire.json("natslock.default.acquire.carol.n0", "{}").await["status"], "held");
    let body = r#"{"wait_ms":60000,"progress":true}"#;
    assert_eq!(wire.json("natslock.default.acquire.dave.n0", body).await["status"], "queued");
    let info = wire.json("natslock.default.info.eve", "").await;
    assert_eq!(info["limits"]["leases_per_owner_max"], json!(20));
    assert_eq!(info["limits"]["waiters_per_owner_max"], json!(12));
    assert_eq!(info["limits"]["names_per_owner_max"], json!(20));
    assert_eq!(info["limits"]["waiters_per_lock_max"], json!(10));
}
