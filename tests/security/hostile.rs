//! A client with valid credentials and bad intentions: `HOSTILE_SECONDS=60 ./nats/run cargo test --release hostile
//! -- --nocapture` lets it try for a minute.

use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, select_all};
use natslock::clock::{Clock as _, SystemClock, within};
use natslock::nats::{ConnectOptions, Connection, NatsTransport, connect};
use natslock::service::{Config, Status};
use natslock::transport::{Message, Transport as _};
use natslock::wire::record::decode_lock;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::Site;
use super::bystander::{Bystanders, Turns};
use crate::support::quiet;
use crate::support::service::{heard_until, lock, options};

/// What Eve writes into whatever she sends, so that it is known again wherever it arrives.
const MARK: &str = "evil-7f3a";
/// Between two rounds of hers. Her requests are over her rate long before; more would only show how fast the machine
/// is that all of this runs on.
const PAUSE: Duration = Duration::from_millis(100);
/// How long she attacks in a turn, and how long it is quiet before.
const TIME: Duration = Duration::from_secs(1);
/// After the beginning of an attack things are as they stay after so long.
const SETTLE: Duration = Duration::from_millis(300);
/// Each owner may send so many requests a second. The honest stay below it.
const RATE: u32 = 20;
/// What the auditor says last.
const END: &str = "natslock-event.default.the.end";
/// The lock that she is after. She may ask for it, as Alice may; Alice holds it.
const TARGET: &str = "orders.target";

/// Somebody who may do everything hears what no trick may reach.
struct Auditor {
    transport: NatsTransport,
    heard: BoxStream<'static, Message>,
}

impl Auditor {
    async fn new(site: &Site) -> Self {
        let transport = NatsTransport::new(connect(&site.auditor()).await.unwrap());
        let mut heard = Vec::new();
        let subjects = ["$KV.>", "$JS.API.>", "$JS.FC.>", "$SYS.>", "natslock-int.>", "natslock-event.>"];
        for subject in subjects.iter().chain(&["_INBOX.alice.>", "_INBOX.bob.>", "natslock.*.*.alice.>"]) {
            heard.push(transport.subscribe((*subject).to_owned()).await.unwrap());
        }
        Self { transport, heard: select_all(heard).boxed() }
    }

    /// Everything that arrived and must not have.
    async fn findings(mut self) -> Vec<String> {
        let mut findings = Vec::new();
        self.transport.publish(END.into(), None, "".into()).await.unwrap();
        for message in heard_until(&mut self.heard, END).await {
            let text = String::from_utf8_lossy(&message.payload);
            let subject = message.subject.as_str();
            let destroys = ["PURGE", "DELETE", "UPDATE"].iter().any(|call| subject.contains(call));
            // Her note stands in the records of the locks that she may take, which is her right.
            let hers = subject.starts_with("$KV.natslock_default_0.lock.orders.f");
            let marked = text.contains(MARK) && !hers;
            let garbled =
                subject.starts_with("$KV.natslock_default_0.lock.") && decode_lock(&message.payload).is_err();
            let refusal = subject.starts_with('$') && text.contains(r#""status":"#);
            if destroys || marked || garbled || refusal {
                findings.push(format!("{subject}: {text:.200}"));
            }
        }
        findings
    }
}

/// What came of all attempts.
#[derive(Debug, Default)]
struct Tally {
    attempts: usize,
    /// What she was given that she had no right to.
    successes: Vec<String>,
}

struct Eve {
    connection: Connection,
    inbox: String,
    answers: BoxStream<'static, Message>,
    round: usize,
    tally: Tally,
}

impl Eve {
    async fn new(options: &ConnectOptions) -> Self {
        let connection = connect(options).await.unwrap();
        let transport = NatsTransport::new(connection.clone());
        let inbox = transport.new_inbox();
        let answers = transport.subscribe(inbox.clone()).await.unwrap();
        Self { connection, inbox, answers, round: 0, tally: Tally::default() }
    }

    async fn send(&mut self, subject: &str, reply: &str, body: impl Into<bytes::Bytes>) {
        self.tally.attempts += 1;
        let client = self.connection.client();
        client.publish_with_reply(subject.to_owned(), reply.to_owned(), body.into()).await.unwrap();
    }

    /// Sends what must not be granted, renewed or released, and looks at what comes back.
    async fn ask(&mut self, subject: &str, body: String) {
        let reply = self.inbox.clone();
        self.send(subject, &reply, body.clone()).await;
        self.look(&format!("{subject} {body}")).await;
    }

    async fn look(&mut self, what: &str) {
        let patience = Duration::from_millis(20);
        while let Some(Some(message)) = within(&SystemClock, patience, self.answers.next()).await {
            let answer: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
            // A release of what is over is answered `released`, and changes nothing.
            if ["granted", "renewed"].iter().any(|status| answer["status"] == *status) {
                self.tally.successes.push(format!("{what}: {answer}"));
            }
        }
    }

    /// Another's verbs, names, inboxes, the store and the coordinators: for the server to refuse.
    async fn trespass(&mut self, token: u64) {
        let forged = json!({"status": "granted", "id": "x", "token": token, "note": MARK}).to_string();
        let release = json!({"id": "guess", "token": token, "note": MARK}).to_string();
        for (subject, body) in [
            ("natslock.default.release.alice.orders.target", &release),
            ("natslock.default.acquire.alice.orders.target", &release),
            ("natslock.default.admin_release.eve.orders.target", &release),
            ("natslock.default.list.eve", &release),
            ("natslock-int.default.heartbeat.0", &forged),
            ("natslock-int.default.inbox.x", &forged),
            ("natslock-event.default.revoked.orders.target", &forged),
            ("_INBOX.alice.x.1", &forged),
            ("_INBOX.bob.x.1", &forged),
            ("$KV.natslock_default_0.lock.orders.target", &forged),
            ("$KV.natslock_default_0.epoch", &forged),
            ("$JS.API.STREAM.PURGE.KV_natslock_default_0", &forged),
            ("$JS.API.STREAM.DELETE.KV_natslock_default_0", &forged),
            ("$JS.API.STREAM.MSG.GET.KV_natslock_default_0", &forged),
            ("$JS.API.DIRECT.GET.KV_natslock_default_0.$KV.natslock_default_0.lock.orders.target", &forged),
        ] {
            let reply = self.inbox.clone();
            self.send(subject, &reply, body.clone()).await;
        }
        self.look("trespassing").await;
        let transport = NatsTransport::new(self.connection.clone());
        for subject in ["_INBOX.alice.>", "_INBOX.>", "natslock.default.*.>", "$KV.>", "natslock-int.>"] {
            self.tally.attempts += 1;
            if transport.subscribe(subject.to_owned()).await.is_ok() {
                self.tally.successes.push(format!("heard {subject}"));
            }
        }
    }

    /// Answers that would be obeyed where they arrive: for the coordinator to refuse.
    async fn trick_replies(&mut self) {
        let long = format!("_INBOX.eve.{}", "x".repeat(3_000));
        let body = format!(r#"{{"id":"{MARK}","ttl_ms":-1,"note":"{MARK}"}}"#);
        for reply in [
            "$KV.natslock_default_0.lock.orders.target",
            "$KV.natslock_default_0.lease",
            "$JS.API.STREAM.PURGE.KV_natslock_default_0",
            "natslock.default.release.alice.orders.target",
            "natslock-int.default.heartbeat.0",
            "natslock-int.default.inbox.x",
            "_INBOX.alice.x.1",
            "_INBOX.eve.>",
            "_INBOX.*.x",
            &long,
        ] {
            self.send("natslock.default.acquire.eve.orders.target", reply, body.clone()).await;
            self.send("natslock.default.check.eve.orders.target", reply, "").await;
        }
    }

    /// What clients of NATS cannot read, and servers pass on: whoever hears it with the library is cut off. (More such
    /// bytes are in `malformed.rs`; the library does not send them either.)
    async fn garble(&mut self) {
        let client = self.connection.client().clone();
        for verb in ["check", "acquire", "release", "list"] {
            self.tally.attempts += 1;
            let subject = format!("natslock.default.{verb}.eve.orders.a\u{a0}b");
            let headers = async_nats::HeaderMap::from_iter([("a".parse().unwrap(), "b".into())]);
            client.publish_with_headers(subject, headers, "{}".into()).await.unwrap();
        }
    }

    /// Alice's lock under ids and tokens of all kinds, Alice's own requests as they were heard among them.
    async fn steal(&mut self, alices: &[String], token: u64) {
        let tokens = [0, 1, token - 1, token, token + 1, token + 256, u64::MAX];
        for id in alices.iter().map(String::as_str).chain(["guess", MARK]) {
            for token in tokens {
                for verb in ["renew", "release"] {
                    let subject = format!("natslock.default.{verb}.eve.{TARGET}");
                    let reply = self.inbox.clone();
                    self.send(&subject, &reply, json!({"id": id, "token": token}).to_string()).await;
                }
            }
        }
        self.look("another's lease").await;
        let (round, owner) = (self.round, "alice");
        let claims = json!({"id": format!("{MARK}-{round}"), "owner": owner, "principal": owner, "v": 1});
        self.ask(&format!("natslock.default.acquire.eve.{TARGET}"), claims.to_string()).await;
    }

    /// As much as leaves the process in a moment.
    async fn flood(&mut self) {
        for number in 0..40 {
            let subject = format!("natslock.default.acquire.eve.orders.f{number}");
            // Nobody listens there: what she is granted has to be taken back.
            let reply = format!("{}.flood", self.inbox);
            let body = match number % 4 {
                0 => format!(r#"{{"ttl_ms":1000,"note":"{MARK}"}}"#),
                1 => "{".repeat(4_000),
                2 => format!(r#"{{"leases":[{}"#, "{},".repeat(2_000)),
                _ => String::new(),
            };
            self.send(&subject, &reply, body).await;
        }
        SystemClock.sleep_until(SystemClock::boot() + PAUSE).await;
    }

    async fn attack(&mut self, until: natslock::types::Timestamp, alices: &[String], token: u64) {
        while SystemClock::boot() < until {
            self.round += 1;
            self.trespass(token).await;
            self.trick_replies().await;
            self.garble().await;
            self.steal(alices, token).await;
            self.flood().await;
        }
    }
}

fn seconds() -> u32 {
    std::env::var("HOSTILE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

/// Her attacks and quiet times take turns, while others work. She has a thread of her own, so that what she does takes
/// no time of theirs but what the machine has to share.
async fn attack_by_turns(
    eve: ConnectOptions,
    others: &Bystanders,
    (alices, token): (Vec<String>, u64),
) -> (Tally, Turns) {
    let (attack, mut attacks) = mpsc::unbounded_channel::<oneshot::Sender<()>>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut eve = Eve::new(&eve).await;
            while let Some(done) = attacks.recv().await {
                eve.attack(SystemClock::boot() + SETTLE + TIME, &alices, token).await;
                let _ = done.send(());
            }
            eve.tally
        })
    });
    let mut turns = Turns::default();
    for _ in 0..seconds() {
        let quiet = others.work(TIME).await;
        let (done, ended) = oneshot::channel();
        attack.send(done).unwrap();
        // What she has not used of her rate meanwhile is hers: it is served.
        others.work(SETTLE).await;
        let loud = others.work(TIME).await;
        ended.await.unwrap();
        turns.add(quiet, loud);
    }
    drop(attack);
    (tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap(), turns)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_client_achieves_nothing() {
    let _alone = quiet::measure().await;
    let site = Site::start("secure.conf").await;
    let config = Config::default().reply_per_owner(true).owner_rate(NonZeroU32::new(RATE));
    let mut coordinator = site.serve(config).await;
    let before = coordinator.status();
    let alice = site.client("alice").await;
    let mut others = Vec::new();
    for user in ["dora", "emil", "finn"] {
        others.push((site.client(user).await, lock(&format!("theirs.{user}"))));
    }
    let others = Bystanders::of(others, RATE);
    let guard = alice.acquire_with(TARGET, options(5_000, 0)).await.unwrap();
    let (token, alices) = (guard.token(), vec![guard.id().reveal().to_owned()]);
    let auditor = Auditor::new(&site).await;
    let (mut tally, turns) = attack_by_turns(site.options("eve"), &others, (alices, token.get())).await;
    tally.successes.extend(auditor.findings().await);
    if !guard.is_valid() || guard.token() != token {
        tally.successes.push("Alice lost her lock".into());
    }
    let view = alice.caller().view(&lock(TARGET)).await.unwrap().expect("it is held");
    if view.holders.len() != 1 || view.holders[0].token != token {
        tally.successes.push(format!("the lock has other holders: {view:?}"));
    }
    if coordinator.status() != before || !matches!(before, Status::Leading { .. }) {
        tally.successes.push(format!("the coordinator is {:?}", coordinator.changed().await));
    }
    println!(
        "hostile: {} attempts in {} s, {} successes; bystanders {}",
        tally.attempts,
        seconds(),
        tally.successes.len(),
        turns.told(),
    );
    assert!(tally.successes.is_empty(), "{:#?}", tally.successes);
    assert!(tally.attempts > 200, "{} attempts", tally.attempts);
    assert!(turns.ratio() <= 2.0, "a bystander's p99 rose {:.2}-fold", turns.ratio());
    guard.release().await;
    coordinator.shutdown().await;
}
