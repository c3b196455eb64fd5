//! Each part that a correct client must have, against a false coordinator that answers late, wrongly, or not at all.

use std::time::Duration;

use futures_util::StreamExt as _;
use natslock::clock::{SystemClock, within};
use natslock::transport::Message;
use natslock::types::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::puppet::{Kind, Puppet};
use crate::support::service::Wire;
use crate::support::{NatsServer, PATIENCE};

const TTL: Duration = Duration::from_secs(3);
const EPOCH: u64 = 100;

/// A namespace in which this test answers the requests.
struct False {
    wire: Wire,
    requests: mpsc::UnboundedReceiver<(Timestamp, Message)>,
}

/// A request, and when it arrived.
struct Request {
    at: Timestamp,
    reply: String,
    body: Value,
}

impl False {
    async fn start(server: &NatsServer) -> Self {
        let wire = Wire::new(&server.options()).await;
        let mut messages = wire.subscribe("natslock.false.>").await;
        let (arrived, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                // It fails only when the test is over.
                let _ = arrived.send((SystemClock::boot(), message));
            }
        });
        Self { wire, requests }
    }

    /// The next request, which must be such a one.
    async fn next(&mut self, verb: &str) -> Request {
        let request = within(&SystemClock, PATIENCE, self.requests.recv()).await;
        let (at, message) = request.unwrap_or_else(|| panic!("no {verb} for {PATIENCE:?}")).unwrap();
        let body: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(message.subject.split('.').nth(2), Some(verb), "{body}");
        Request { at, reply: message.reply.unwrap(), body }
    }

    async fn answer(&self, reply: &str, body: Value) {
        self.wire.send(reply, None, body.to_string()).await;
    }

    async fn grants(&self, request: &Request, token: u64, waited: Duration) {
        let ttl_ms = &request.body["ttl_ms"];
        let granted = json!({ "status": "granted", "id": request.body["id"], "token": token, "ttl_ms": ttl_ms,
            "waited_ms": u64::try_from(waited.as_millis()).unwrap(), "epoch": EPOCH });
        self.answer(&request.reply, granted).await;
    }

    async fn refuses(&self, request: &Request, code: &str, epoch: u64) {
        let refused = json!({ "status": "error", "code": code, "message": "no", "epoch": epoch });
        self.answer(&request.reply, refused).await;
    }

    /// Answers what comes until a puppet has given its lock back.
    async fn releases(&mut self, puppet: &mut Puppet) {
        let release = self.next("release").await;
        self.answer(&release.reply, json!({ "status": "released", "epoch": EPOCH })).await;
        puppet.ends().await;
    }
}

async fn begin(kind: Kind) -> (NatsServer, False, Puppet) {
    let server = NatsServer::start_bare("").await;
    let coordinator = False::start(&server).await;
    let puppet = Puppet::start(kind, &server.url(), "puppet", "false").await;
    (server, coordinator, puppet)
}

async fn counts_from_the_sending(kind: Kind) {
    let (_server, mut coordinator, mut puppet) = begin(kind).await;
    let before = SystemClock::boot();
    puppet.told("hold counted 3000 0").await;
    let first = coordinator.next("acquire").await;
    let second = coordinator.next("acquire").await;
    assert_eq!(first.body["id"], second.body["id"], "a repeat has the same id");
    assert_ne!(first.reply, second.reply, "and a reply subject of its own");
    let waited = Duration::from_millis(100);
    coordinator.grants(&first, 7, waited).await;
    let granted = puppet.is_granted().await;
    let conferred = (waited + TTL) * 99 / 100;
    assert!(granted.deadline <= first.at + conferred, "{kind:?} counts from the repeat or the receipt");
    assert!(granted.deadline >= before + conferred, "{kind:?} leaves out the waiting");
    puppet.told("release").await;
    coordinator.releases(&mut puppet).await;
}

async fn does_not_believe_what_comes_too_late(kind: Kind) {
    let (_server, mut coordinator, mut puppet) = begin(kind).await;
    puppet.told("hold late 1000 9000").await;
    let first = coordinator.next("acquire").await;
    let mut repeat = coordinator.next("acquire").await;
    while repeat.at.since(first.at) < Duration::from_secs(1) {
        repeat = coordinator.next("acquire").await;
    }
    let late = SystemClock::boot();
    coordinator.grants(&first, 7, Duration::ZERO).await;
    let stranger = Request { reply: format!("{}0", repeat.reply), ..repeat };
    coordinator.grants(&stranger, 8, Duration::ZERO).await;
    let mut last = coordinator.next("acquire").await;
    while last.at < late {
        last = coordinator.next("acquire").await;
    }
    coordinator.grants(&last, 9, Duration::ZERO).await;
    assert_eq!(puppet.is_granted().await.token, 9, "{kind:?}");
    puppet.told("release").await;
    coordinator.releases(&mut puppet).await;
}

async fn is_not_talked_out_of_its_lock_by_a_deposed_leader(kind: Kind) {
    let (_server, mut coordinator, mut puppet) = begin(kind).await;
    puppet.told("hold disputed 3000 0").await;
    let acquire = coordinator.next("acquire").await;
    coordinator.grants(&acquire, 7, Duration::ZERO).await;
    let granted = puppet.is_granted().await;
    let renew = coordinator.next("renew").await;
    let lease = json!({ "id": acquire.body["id"], "token": 7 });
    assert_eq!(renew.body["leases"], json!([lease]));
    let lost = |reason: &str, epoch: u64| {
        let lost = json!([{ "id": acquire.body["id"], "reason": reason }]);
        json!({ "status": "renewed", "renewed": [], "lost": lost, "epoch": epoch })
    };
    coordinator.answer(&renew.reply, lost("expired", EPOCH - 1)).await;
    coordinator.answer(&renew.reply, lost("unknown", EPOCH)).await;
    let again = coordinator.next("renew").await;
    let renewed = json!({ "status": "renewed", "renewed": [acquire.body["id"]], "lost": [], "epoch": EPOCH });
    coordinator.answer(&again.reply, renewed).await;
    let third = coordinator.next("renew").await;
    assert!(third.at > again.at + TTL / 6, "{kind:?} is in no hurry after a renewal");
    coordinator.answer(&third.reply, lost("revoked", EPOCH)).await;
    let lost = puppet.loses().await;
    assert!(lost.at < lost.deadline && !lost.valid, "{kind:?} stops at once where it is told so");
    assert!(lost.deadline > granted.deadline, "the renewal has put its deadline off");
    assert!(lost.deadline <= again.at + TTL * 99 / 100, "{kind:?} counts a renewal from its receipt");
    coordinator.releases(&mut puppet).await;
}

async fn releases_until_it_is_answered(kind: Kind) {
    let (_server, mut coordinator, mut puppet) = begin(kind).await;
    puppet.told("hold returned 3000 0").await;
    let acquire = coordinator.next("acquire").await;
    coordinator.grants(&acquire, 7, Duration::ZERO).await;
    puppet.is_granted().await;
    puppet.told("release").await;
    let lost = coordinator.next("release").await;
    assert_eq!(lost.body, json!({ "id": acquire.body["id"], "token": 7 }), "{kind:?}");
    for (code, epoch) in [("shutting_down", EPOCH), ("not_holder", EPOCH - 1)] {
        let repeat = coordinator.next("release").await;
        assert_eq!(repeat.body, lost.body);
        coordinator.refuses(&repeat, code, epoch).await;
    }
    let last = coordinator.next("release").await;
    coordinator.refuses(&last, "not_holder", EPOCH).await;
    puppet.ends().await;
}

async fn takes_back_what_it_gives_up(kind: Kind) {
    let (_server, mut coordinator, mut puppet) = begin(kind).await;
    puppet.told("hold given.up 3000 60000").await;
    let acquire = coordinator.next("acquire").await;
    let queued = json!({ "status": "queued", "position": 1, "holder_count": 1, "epoch": EPOCH });
    coordinator.answer(&acquire.reply, queued).await;
    // It need not repeat for a second now, but at once where a leader appears.
    coordinator.wire.send("natslock-event.false.leader.0", None, "{}").await;
    let repeat = coordinator.next("acquire").await;
    assert!(repeat.at.since(acquire.at) < TTL / 6, "{kind:?} does not listen for leaders");
    puppet.told("cancel").await;
    let release = coordinator.next("release").await;
    assert_eq!(release.body["id"], acquire.body["id"]);
    // A grant crosses the release: it is not for anybody.
    coordinator.grants(&repeat, 7, Duration::ZERO).await;
    let release = coordinator.next("release").await;
    coordinator.answer(&release.reply, json!({ "status": "released", "epoch": EPOCH })).await;
    assert_eq!(puppet.hears().await, ["CANCELLED"], "{kind:?}");
}

async fn takes_back_a_repeat_that_still_travels(kind: Kind) {
    let (_server, mut coordinator, mut puppet) = begin(kind).await;
    puppet.told("hold contested 3000 0").await;
    let first = coordinator.next("acquire").await;
    coordinator.next("acquire").await;
    // The lock may have become free before the repeat arrives, which is granted then.
    let held =
        json!({ "status": "held", "holders": [], "holder_count": 1, "waiter_count": 0, "epoch": EPOCH });
    coordinator.answer(&first.reply, held).await;
    assert_eq!(puppet.hears().await, ["FAILED", "NotAcquired", "held"], "{kind:?}");
    let release = coordinator.next("release").await;
    assert_eq!(release.body, json!({ "id": first.body["id"] }), "{kind:?}");
}

async fn says_that_nobody_leads(kind: Kind) {
    let server = NatsServer::start_bare("").await;
    let mut puppet = Puppet::start(kind, &server.url(), "puppet", "deserted").await;
    let before = SystemClock::boot();
    puppet.told("hold anything 3000 60000").await;
    assert_eq!(puppet.hears().await, ["FAILED", "LockError", "-"], "{kind:?}");
    let took = SystemClock::boot().since(before);
    assert!(took < Duration::from_secs(8), "{kind:?} took {took:?}");
}

macro_rules! in_both_languages {
    ($($name:ident),* $(,)?) => {
        mod python {
            $(#[tokio::test] async fn $name() { super::$name(super::Kind::Python).await; })*
        }
        mod javascript {
            $(#[tokio::test] async fn $name() { super::$name(super::Kind::JavaScript).await; })*
        }
    };
}

in_both_languages!(
    counts_from_the_sending,
    does_not_believe_what_comes_too_late,
    is_not_talked_out_of_its_lock_by_a_deposed_leader,
    releases_until_it_is_answered,
    takes_back_what_it_gives_up,
    takes_back_a_repeat_that_still_travels,
    says_that_nobody_leads,
);
