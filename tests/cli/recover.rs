//! `natslock admin recover`: a store that goes wrong under coordinators that run, and go on afterwards.

use std::cell::Cell;

use natslock::clock::SystemClock;
use natslock::nats::{BucketConfig, NatsStore, NatsTransport};
use natslock::service::recovery::ask_around;
use natslock::types::{Namespace, Revision, ShardId, Token};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Program, Ran, Running, Site};
use crate::support::{NatsServer, eventually};

const STREAM: &str = "KV_natslock_default_0";

/// A server of its own, and coordinators.
struct Ground {
    server: NatsServer,
    coordinators: Vec<Running>,
    /// How many locks were acquired and released.
    passed: Cell<u32>,
}

impl Ground {
    async fn new(coordinators: usize) -> Self {
        let server = NatsServer::start().await;
        let mut ground = Self { server, coordinators: Vec::new(), passed: Cell::new(0) };
        for _ in 0..coordinators {
            ground.serve();
            ground.run(&["info"]).done();
        }
        ground
    }

    fn serve(&mut self) {
        let serving = Program::new(&self.server.url()).start(&["serve", "--leader-lease", "2s"]);
        self.coordinators.push(serving);
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Program::new(&self.server.url()).run(arguments)
    }

    /// Acquires a lock for hours in somebody else's name; the reply.
    fn hold(&self, name: &str) -> Value {
        self.run(&["acquire", name, "--ttl", "2h", "--wait", "15s", "--owner", "worker-7", "--json"])
            .done()
            .json()
    }

    /// The token of a lock that was acquired and released. It is another lock each time: where the leader dies before
    /// it has written the release, that of a program which has ended is not repeated.
    fn token(&self) -> u64 {
        let name = format!("passing.{}", self.passed.replace(self.passed.get() + 1));
        let granted = self.run(&["acquire", &name, "--wait", "15s", "--json"]).done().json();
        let id = granted["id"].as_str().unwrap();
        self.run(&["release", &name, "--id", id]).done();
        granted["token"].as_u64().unwrap()
    }

    async fn until_quarantined(&self, name: &str) {
        eventually("it is quarantined", async || {
            let tried = self.run(&["acquire", name, "--wait", "0", "--json"]);
            tried.json()["code"] == "quarantined"
        })
        .await;
    }

    /// What the leader has written, the others have heard of by its heartbeats.
    async fn until_all_have_seen(&self, token: u64) {
        let transport = NatsTransport::new(self.server.connect().await);
        let revision = Token::from_raw(token).revision();
        eventually("all have seen it", async || {
            let asked =
                ask_around(&transport, &SystemClock, &Namespace::default(), ShardId(0)).await.unwrap();
            asked.len() == 2 && asked.iter().all(|report| report.highest >= revision)
        })
        .await;
    }

    /// The server begins again on what it had stored when the backup was made, `between` is lost.
    async fn lose<T>(&mut self, between: impl FnOnce(&Self) -> T) -> T {
        self.server.kill();
        let backup = self.server.backup();
        self.server.resume().await;
        let lost = between(self);
        self.server.kill();
        self.server.restore(&backup);
        self.server.resume().await;
        lost
    }

    async fn ask(&self, call: &str, body: Value) {
        let connection = self.server.connect().await;
        let asked = connection.client().request(format!("$JS.API.{call}"), body.to_string().into()).await;
        let answer: Value = serde_json::from_slice(&asked.unwrap().payload).unwrap();
        assert_eq!(answer["error"], Value::Null, "{call}");
    }

    async fn garble(&self, name: &str) {
        let connection = self.server.connect().await;
        let subject = format!("$KV.natslock_default_0.lock.{name}");
        connection.client().request(subject, "no record of ours".into()).await.unwrap();
    }
}

/// A test that fails tells what the coordinators told.
impl Drop for Ground {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for coordinator in &self.coordinators {
                eprintln!("--- coordinator {}\n{}", coordinator.id(), coordinator.told_so_far());
            }
        }
    }
}

#[tokio::test]
async fn a_store_that_went_back_under_its_coordinators() {
    let mut ground = Ground::new(2).await;
    let kept = ground.hold("kept");
    let lost = ground.lose(|ground| (ground.hold("lost"), ground.token())).await;
    ground.until_quarantined("lost").await;

    let asked = ground.run(&["admin", "recover"]);
    assert_eq!(asked.code, 1, "{}", asked.stderr);
    for told in [
        "Shard 0 needs recovery",
        "found: its sequence went back",
        "1 lock record with 1 holder",
        "tokens begin anew at",
        "nothing is granted or renewed for 2 h 2 min: leases of up to 2 h may be lost",
        "the coordinators go on by themselves",
    ] {
        assert!(asked.stdout.contains(told), "{told}: {}", asked.stdout);
    }
    assert!(asked.stderr.contains("to do it: natslock admin recover --yes"), "{}", asked.stderr);
    ground.until_quarantined("lost").await;

    let done = ground.run(&["admin", "recover", "--yes", "--wait", "0s", "--json"]).done().json();
    assert_eq!((&done["status"], &done["leading"]), (&json!("recovered"), &json!(true)));
    assert!(done["first_token"].as_u64() > Some(lost.1));
    assert_eq!(done["holder_count"], 1);

    let (old, new) = (lost.0["token"].as_u64(), ground.hold("lost")["token"].as_u64());
    assert!(old < Some(lost.1) && new > Some(lost.1), "{old:?} {new:?}");
    let held = ground.run(&["acquire", "kept", "--wait", "0", "--json"]);
    assert_eq!((held.code, &held.json()["holders"][0]["token"]), (1, &kept["token"]));
    let id = kept["id"].as_str().unwrap();
    ground.run(&["renew", "kept", "--id", id, "--owner", "worker-7"]).done();
    let again = ground.run(&["admin", "recover"]);
    insta::assert_snapshot!("recover_sound", again.transcript());
    for coordinator in &mut ground.coordinators {
        assert!(coordinator.is_running(), "no coordinator was restarted");
    }
}

#[tokio::test]
async fn until_the_wait_is_over_nothing_is_granted() {
    let mut ground = Ground::new(1).await;
    ground.hold("kept");
    let lost = ground.lose(Ground::token).await;
    ground.until_quarantined("lost").await;
    let asked = ground.run(&["admin", "recover", "--wait", "90s"]);
    assert!(asked.stderr.contains("natslock admin recover --wait '1m 30s' --yes"), "{}", asked.stderr);
    let began = SystemClock::boot();
    ground.run(&["admin", "recover", "--yes", "--wait", "6s"]).done();
    let tried = ground.run(&["acquire", "x", "--wait", "0", "--json"]);
    if SystemClock::boot().since(began).as_secs() < 6 {
        assert_eq!(tried.json()["code"], "unavailable", "{}", tried.stdout);
    }
    assert!(ground.token() > lost);
    assert!(SystemClock::boot().since(began).as_secs() >= 6);
}

#[tokio::test]
async fn a_bucket_that_was_made_again_under_its_coordinator() {
    let ground = Ground::new(2).await;
    let token = ground.hold("lost")["token"].as_u64();
    ground.ask(&format!("STREAM.DELETE.{STREAM}"), json!({})).await;
    let bucket = "natslock_default_0".to_owned();
    // Whoever makes it does not know how high the tokens were.
    let config = BucketConfig { bucket, replicas: 1, first_sequence: Revision::new(1) };
    NatsStore::open(ground.server.connect().await, config).await.unwrap();
    ground.until_quarantined("lost").await;
    ground.run(&["admin", "recover", "--yes", "--wait", "0s"]).done();
    assert!(ground.hold("lost")["token"].as_u64() > token);
}

#[tokio::test]
async fn a_bucket_that_was_emptied_under_its_coordinator() {
    let ground = Ground::new(1).await;
    let token = ground.hold("lost")["token"].as_u64();
    ground.ask(&format!("STREAM.PURGE.{STREAM}"), json!({})).await;
    ground.until_quarantined("lost").await;
    ground.run(&["admin", "recover", "--yes", "--wait", "0s"]).done();
    assert!(ground.hold("lost")["token"].as_u64() > token);
}

/// The interleaving of DESIGN.md S11: the leader sleeps, the store goes back, an operator recovers it, it wakes.
#[tokio::test]
async fn a_leader_that_slept_through_the_recovery() {
    let mut ground = Ground::new(2).await;
    let kept = ground.hold("kept");
    let leader = ground.coordinators.remove(0);
    ground.server.kill();
    let backup = ground.server.backup();
    ground.server.resume().await;
    let lost = ground.token();
    ground.until_all_have_seen(lost).await;
    leader.signal(Signal::STOP);
    ground.server.kill();
    ground.server.restore(&backup);
    ground.server.resume().await;
    ground.until_quarantined("lost").await;
    ground.run(&["admin", "recover", "--yes", "--wait", "0s"]).done();
    let recovered = ground.token();
    assert!(recovered > lost);
    leader.signal(Signal::CONT);
    assert!(ground.token() > recovered);
    ground.coordinators.clear();
    assert!(ground.token() > recovered, "the one that slept leads now");
    let held = ground.run(&["acquire", "kept", "--wait", "0", "--json"]);
    assert_eq!(held.json()["holders"][0]["token"], kept["token"]);
}

#[tokio::test]
async fn a_recovery_that_is_killed_is_finished_by_the_next_and_two_agree() {
    let mut ground = Ground::new(2).await;
    let kept = ground.hold("kept");
    let lost = ground.lose(Ground::token).await;
    ground.until_quarantined("lost").await;
    let recover = ["admin", "recover", "--yes", "--wait", "0s"];
    let mut killed = Program::new(&ground.server.url()).start(&recover);
    killed.told_until("raising the revisions");
    killed.signal(Signal::KILL);
    killed.end().await;
    let program = Program::new(&ground.server.url());
    let both = [program.start(&recover), program.start(&recover)];
    for recovery in both {
        let (code, stdout, stderr) = recovery.end().await;
        assert!(code == Some(0) || stderr.contains("nothing to recover"), "{code:?} {stdout}{stderr}");
    }
    assert!(ground.token() > lost);
    let held = ground.run(&["acquire", "kept", "--wait", "0", "--json"]);
    assert_eq!(held.json()["holders"][0]["token"], kept["token"]);
    let left = ground.run(&["admin", "recover"]);
    assert!(left.code == 1 && left.stderr.contains("sound"), "{}", left.stdout);
}

#[tokio::test]
async fn a_lock_whose_record_cannot_be_read() {
    let ground = Ground::new(1).await;
    let before = ground.token();
    ground.garble("x").await;
    ground.until_quarantined("x").await;
    let asked = ground.run(&["admin", "recover", "x"]);
    insta::assert_snapshot!("recover_lock", asked.transcript());
    let done = ground.run(&["admin", "recover", "x", "--yes"]).done();
    assert_eq!(done.stdout.lines().last(), Some("recovered x: nobody holds it"));
    assert!(ground.hold("x")["token"].as_u64() > Some(before));
    let held = ground.run(&["admin", "recover", "x", "--yes"]);
    insta::assert_snapshot!("recover_held", held.transcript());
    assert_eq!(ground.run(&["admin", "recover", "other", "--yes"]).code, 1);
}

#[tokio::test]
async fn a_record_that_could_not_be_read_and_was_purged() {
    let ground = Ground::new(1).await;
    ground.garble("x").await;
    ground.until_quarantined("x").await;
    let filter = json!({ "filter": "$KV.natslock_default_0.lock.x" });
    ground.ask(&format!("STREAM.PURGE.{STREAM}"), filter).await;
    ground.run(&["admin", "recover", "x", "--yes"]).done();
    ground.hold("x");
}

#[tokio::test]
async fn without_anything_wrong_nothing_is_done() {
    let site = Site::shared().await;
    assert_eq!(site.run(&["admin", "recover", "--yes", "--json"]).json()["code"], "nothing_to_recover");
    let nowhere = site.run(&["admin", "recover", "--yes", "--namespace", "nowhere"]);
    insta::assert_snapshot!("recover_no_bucket", nowhere.transcript());
    assert_eq!(site.run(&["admin", "recover", "x", "--force"]).code, 2);
}
