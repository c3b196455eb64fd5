//! Processes that are killed: the holder of a lock, and the coordinator.

use std::ffi::OsStr;
use std::time::Duration;

use natslock::client::{Client, Lease};
use natslock::clock::{Clock as _, SystemClock};
use natslock::nats::ConnectOptions;
use natslock::service::{Config, Coordinator};
use natslock::types::Timestamp;

use crate::support::process::Guarded;
use crate::support::service::{Service, acquire, client, lock, options};
use crate::support::{NatsServer, eventually};

const ROLE: &str = "NATSLOCK_TEST_ROLE";
const URL: &str = "NATSLOCK_TEST_URL";
/// The coordinators of these tests lead by leases of three seconds, so that a takeover is soon over.
const T_L: Duration = Duration::from_secs(3);
const TTL: Duration = Duration::from_secs(3);

/// The part of the child processes; without their environment it has nothing to do.
#[tokio::test]
async fn child() {
    let (Ok(role), Ok(url)) = (std::env::var(ROLE), std::env::var(URL)) else { return };
    let connect = ConnectOptions { urls: vec![url.clone()], ..ConnectOptions::default() };
    if role == "coordinator" {
        let mut config = Config::default();
        config.leader_lease = T_L;
        let mut coordinator = Coordinator::connect(&connect, config, 1).await.unwrap();
        while coordinator.changed().await != natslock::service::Status::Stopped {}
        return;
    }
    let client = client(&url, "holder").await;
    let lease = acquire(&client, &lock("precious"), &options(2_000, 0)).await;
    loop {
        client.caller().renew(&lease.name, lease.to_ref()).await.unwrap();
        SystemClock.sleep_until(SystemClock::boot() + Duration::from_millis(500)).await;
    }
}

fn start(role: &str, url: &str) -> Guarded {
    let program = std::env::current_exe().unwrap();
    let set = |name: &str, value: &str| format!("{name}={value}");
    let (role, url) = (set(ROLE, role), set(URL, url));
    let arguments = [OsStr::new(&role), OsStr::new(&url), program.as_os_str()];
    let test = ["live::crash::child", "--exact"].map(OsStr::new);
    Guarded::start(OsStr::new("env"), &[&arguments[..], &test[..]].concat())
}

#[tokio::test]
async fn the_lock_of_a_killed_holder_goes_to_the_next_within_its_lease() {
    let service = Service::start().await;
    let next = service.client("next").await;
    let name = lock("precious");
    let holder = start("holder", &service.server.url());
    eventually("the holder holds", async || next.caller().view(&name).await.unwrap().is_some()).await;
    let waiting = {
        let (next, name) = (next.clone(), name.clone());
        tokio::spawn(async move { acquire(&next, &name, &options(30_000, 20_000)).await })
    };
    eventually("the next waits", async || {
        next.caller().view(&name).await.unwrap().is_some_and(|view| view.waiter_count == 1)
    })
    .await;
    drop(holder);
    let killed = SystemClock::boot();
    waiting.await.unwrap();
    let idle = SystemClock::boot().since(killed);
    println!("idle for {idle:?} after the kill, with a lease of 2 s");
    assert!(idle < Duration::from_secs(3), "the next one waited {idle:?}");
}

/// Ten leases that are renewed, and ten whose holders are gone.
struct Leases {
    client: Client,
    alive: Vec<Lease>,
    dead: Vec<Lease>,
}

impl Leases {
    async fn acquire(url: &str) -> Self {
        let client = client(url, "owner").await;
        let (mut alive, mut dead) = (Vec::new(), Vec::new());
        let ttl_ms = u64::try_from(TTL.as_millis()).unwrap();
        for number in 0..10 {
            alive.push(acquire(&client, &lock(&format!("alive.{number}")), &options(ttl_ms, 0)).await);
            dead.push(acquire(&client, &lock(&format!("dead.{number}")), &options(ttl_ms, 0)).await);
        }
        Self { client, alive, dead }
    }

    async fn renew(&self) {
        for lease in &self.alive {
            self.client.caller().renew(&lease.name, lease.to_ref()).await.unwrap();
        }
    }

    /// How many of them are held, with the tokens they had.
    async fn held(&self, leases: &[Lease]) -> usize {
        let mut held = 0;
        for lease in leases {
            if let Some(view) = self.client.caller().view(&lease.name).await.unwrap() {
                assert_eq!(view.holders[0].token, lease.token, "{}", lease.name);
                held += 1;
            }
        }
        held
    }
}

#[tokio::test]
async fn a_killed_coordinator_forgets_nothing() {
    let server = NatsServer::start().await;
    let first = start("coordinator", &server.url());
    let probe = client(&server.url(), "probe").await;
    eventually("somebody leads", async || probe.caller().info().await.is_ok()).await;
    let leases = Leases::acquire(&server.url()).await;
    leases.renew().await;
    drop(first);
    let second = start("coordinator", &server.url());
    let mut led: Option<Timestamp> = None;
    eventually("somebody leads again", async || {
        let leads = probe.caller().info().await.is_ok();
        led = leads.then(SystemClock::boot);
        leads
    })
    .await;
    assert_eq!(leases.held(&leases.alive).await, 10, "every lock is still held");
    assert_eq!(leases.held(&leases.dead).await, 10, "also those whose holders are gone");
    let led = led.unwrap();
    let mut gone = None;
    while gone.is_none() {
        leases.renew().await;
        let held = leases.held(&leases.dead).await;
        let since = SystemClock::boot().since(led);
        // Nobody is expired before the overlap and the lease are over. The takeover was acknowledged before
        // the first answer, but after the kill.
        if since < TTL {
            assert_eq!(held, 10, "expired {since:?} after the takeover");
        }
        if held == 0 {
            gone = Some(since);
        }
        assert!(since < T_L + TTL + Duration::from_secs(2), "{held} dead holders after {since:?}");
        SystemClock.sleep_until(SystemClock::boot() + Duration::from_millis(100)).await;
    }
    println!("dead holders gone {gone:?} after the takeover");
    assert_eq!(leases.held(&leases.alive).await, 10, "those who renewed hold on");
    drop(second);
}

#[tokio::test]
async fn a_resignation_leaves_no_overlap_and_tells_those_who_wait() {
    let mut service = Service::start().await;
    let alice = service.client("alice").await;
    let mut wire = service.wire().await;
    let name = lock("handed.over");
    let lease = acquire(&alice, &name, &options(2_000, 0)).await;
    let body = r#"{"id":"b","wait_ms":20000,"progress":true}"#;
    let queued = wire.json("natslock.default.acquire.bob.handed.over", body).await;
    assert_eq!(queued["status"], "queued");
    service.resign().await;
    let told: serde_json::Value = serde_json::from_slice(&wire.next().await).unwrap();
    assert_eq!((&told["status"], &told["code"]), (&"error".into(), &"shutting_down".into()));
    let resigned = SystemClock::boot();
    service.lead(Config::default()).await;
    let led = SystemClock::boot().since(resigned);
    assert!(led < Duration::from_millis(900), "a successor need not listen for the old leader: {led:?}");
    let view = alice.caller().view(&name).await.unwrap().unwrap();
    assert_eq!((view.holders[0].token, view.holders[0].expires_in), (lease.token, None));
    alice.caller().renew(&name, lease.to_ref()).await.unwrap();
    // No overlap is left: a holder that falls silent is gone after its own lease time.
    let renewed = SystemClock::boot();
    eventually("the silent holder is gone", async || alice.caller().view(&name).await.unwrap().is_none())
        .await;
    let lasted = SystemClock::boot().since(renewed);
    assert!(lasted > Duration::from_millis(1_900) && lasted < Duration::from_secs(3), "{lasted:?}");
}
