//! Guards under faults: nobody is left believing in a lock that is lost.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::poll_fn;
use natslock::client::{AcquireOptions, Client, LockGuard, LostReason};
use natslock::clock::{Clock as _, SystemClock, within};
use natslock::types::Token;

use crate::support::proxy::Proxy;
use crate::support::service::{Service, client};
use crate::support::{PATIENCE, eventually};

const RUNS: usize = 20;
const URL: &str = "NATSLOCK_TEST_STOPPED_URL";

fn short() -> AcquireOptions {
    AcquireOptions::new().ttl(Duration::from_secs(1))
}

/// A resource that refuses lower tokens.
#[derive(Default)]
struct Fence(BTreeMap<usize, Token>);

impl Fence {
    fn write(&mut self, lock: usize, token: Token) -> bool {
        let highest = self.0.entry(lock).or_insert(token);
        let accepted = token >= *highest;
        *highest = (*highest).max(token);
        accepted
    }
}

async fn hold_all(client: &Client, options: &AcquireOptions) -> Vec<LockGuard> {
    let guards = (0..RUNS).map(|run| {
        let options = options.clone();
        async move { client.acquire_with(&format!("run.{run}"), options).await.unwrap() }
    });
    futures_util::future::join_all(guards).await
}

/// The next holders get the locks, and write with their tokens.
async fn take_over(service: &Service, fence: &mut Fence) -> Vec<LockGuard> {
    let next = service.client("next").await;
    let taken = within(&SystemClock, PATIENCE, hold_all(&next, &AcquireOptions::new())).await.unwrap();
    for (run, guard) in taken.iter().enumerate() {
        assert!(fence.write(run, guard.token()));
    }
    taken
}

#[tokio::test]
async fn a_client_that_is_cut_off_beyond_its_lease_has_lost_it_before_anybody_gets_it() {
    let service = Service::start().await;
    let proxy = Proxy::start(&service.server.url()).await;
    let cut_off = client(&proxy.url(), "cut-off").await;
    let guards = hold_all(&cut_off, &short()).await;
    let mut fence = Fence::default();
    for (run, guard) in guards.iter().enumerate() {
        assert!(guard.is_valid() && fence.write(run, guard.token()));
    }
    proxy.close();
    let next = service.client("next").await;
    let races = guards.iter().enumerate().map(|(run, guard)| {
        let next = &next;
        async move {
            let taken = next.acquire(&format!("run.{run}")).await.unwrap();
            // At this instant, and not a moment later, the old guard must know.
            assert!(!guard.is_valid(), "two believe in run {run}");
            taken
        }
    });
    let taken = futures_util::future::join_all(races).await;
    for (run, (old, new)) in guards.iter().zip(&taken).enumerate() {
        let reason = within(&SystemClock, Duration::from_secs(1), old.lost()).await;
        assert_eq!(reason, Some(LostReason::Unreachable), "run {run}");
        assert!(fence.write(run, new.token()) && !fence.write(run, old.token()), "run {run}");
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_every_two_seconds_costs_no_lock() {
    let service = Service::start().await;
    let proxy = Proxy::start(&service.server.url()).await;
    let (holder, waiter) = (client(&proxy.url(), "holder").await, client(&proxy.url(), "waiter").await);
    let options = AcquireOptions::new().ttl(Duration::from_secs(4));
    let guard = holder.acquire_with("cut", options.clone()).await.unwrap();
    let waiting = tokio::spawn(async move { waiter.acquire_with("cut", options).await.unwrap() });
    let observer = service.client("observer").await;
    eventually("the waiter waits", async || {
        observer.check("cut").await.unwrap().is_some_and(|view| view.waiter_count == 1)
    })
    .await;
    for _ in 0..5 {
        proxy.cut();
        let lost = within(&SystemClock, Duration::from_secs(2), guard.lost()).await;
        assert_eq!(lost, None, "lost by a cut of a moment");
        assert!(guard.is_valid());
    }
    let token = guard.token();
    assert!(guard.release().await.is_some());
    let next = within(&SystemClock, PATIENCE, waiting).await.expect("the waiter survives the cuts").unwrap();
    assert!(next.token() > token);
}

/// The part of the child process: it holds, is stopped and goes on, and reports what its guards say.
#[tokio::test(flavor = "multi_thread")]
async fn stopped() {
    let Ok(url) = std::env::var(URL) else { return };
    let client = client(&url, "stopped").await;
    let guards = hold_all(&client, &short()).await;
    println!("HOLDS");
    // The parent writes a line after it has let this process go on.
    let told = tokio::task::spawn_blocking(|| std::io::stdin().lines().next());
    told.await.unwrap();
    for guard in &guards {
        let valid = guard.is_valid();
        let lost = within(&SystemClock, Duration::from_secs(2), guard.lost()).await.is_some();
        println!("GUARD {valid} {lost} {}", guard.token());
    }
}

struct Stopped {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Stopped {
    fn start(url: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["live::guards::stopped", "--exact", "--nocapture"]).env(URL, url);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// The words behind a mark in the next line that has it.
    fn read(&mut self, mark: &str) -> Vec<String> {
        loop {
            let line = self.lines.next().expect("the child lives").unwrap();
            if let Some(at) = line.find(mark) {
                return line[at..].split(' ').skip(1).map(str::to_owned).collect();
            }
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_stopped_beyond_its_lease_knows_it_when_it_goes_on() {
    let service = Service::start().await;
    let mut child = Stopped::start(&service.server.url());
    child.read("HOLDS");
    child.signal(rustix::process::Signal::STOP);
    let mut fence = Fence::default();
    let _taken = take_over(&service, &mut fence).await;
    child.signal(rustix::process::Signal::CONT);
    child.process.stdin.as_mut().unwrap().write_all(b"go on\n").unwrap();
    for run in 0..RUNS {
        let words = child.read("GUARD ");
        assert_eq!(words[..2], ["false", "true"], "run {run}: still valid, or not told");
        let token = Token::from_raw(words[2].parse().unwrap());
        assert!(!fence.write(run, token), "run {run}: the stale write was accepted");
    }
}

#[tokio::test]
async fn a_dropped_future_leaves_nothing_behind_at_whatever_point_it_is_dropped() {
    let service = Service::start().await;
    let alice = service.client("alice").await;
    let observer = service.client("observer").await;
    let (mut runs, mut finished) = (0, 0);
    let pending = AtomicUsize::new(0);
    // Held by another or free, dropped after one poll, after two, and so on until the future has finished.
    for held in [true, false] {
        for polls in 0..60 {
            let name = format!("dropped.{held}.{polls}");
            let guard = if held { Some(observer.acquire(&name).await.unwrap()) } else { None };
            runs += 1;
            finished += usize::from(poll_and_drop(&alice, &name, polls, &pending).await);
            alice.settled().await;
            let view = observer.check(&name).await.unwrap();
            let waiters = view.as_ref().map_or(0, |view| view.waiter_count);
            let orphans = view.map_or(0, |view| view.holder_count) - usize::from(held);
            assert_eq!((waiters, orphans), (0, 0), "{name}");
            drop(guard);
        }
    }
    let pending = pending.into_inner();
    println!(
        "{runs} futures dropped, {pending} of them pending, {finished} finished: all taken back at once"
    );
    assert!(pending > 40 && finished > 0, "{pending} pending, {finished} finished");
}

/// True where the future had finished; its guard is dropped then.
async fn poll_and_drop(client: &Client, name: &str, polls: usize, pending: &AtomicUsize) -> bool {
    let mut acquiring = Box::pin(client.acquire(name));
    for _ in 0..polls {
        // Whether it is ready or not: one poll at a time, with other tasks running in between.
        let done = poll_fn(|context| Poll::Ready(acquiring.as_mut().poll(context).is_ready())).await;
        if done {
            return true;
        }
        SystemClock.sleep_until(SystemClock::boot() + Duration::from_micros(200)).await;
    }
    pending.fetch_add(1, Ordering::Relaxed);
    false
}

#[tokio::test]
async fn a_revoked_guard_is_told_at_once_and_a_forged_event_ends_nothing() {
    let service = Service::start().await;
    let alice = service.client("alice").await;
    let wire = service.wire().await;
    let guard =
        alice.acquire_with("taken", AcquireOptions::new().ttl(Duration::from_secs(60))).await.unwrap();
    let spared = alice.acquire("spared").await.unwrap();
    let forged = serde_json::json!({
        "kind": "revoked", "name": "spared", "owner": "alice", "token": spared.token().get(),
        "mode": "exclusive", "waiter_count": 0, "epoch": 1, "at_ms": 1,
    });
    wire.send("natslock-event.default.revoked.spared", None, forged.to_string()).await;
    service.client("admin").await.caller().admin_release(guard.name(), None).await.unwrap();
    let reason = within(&SystemClock, Duration::from_secs(2), guard.lost()).await;
    assert_eq!(reason, Some(LostReason::Revoked), "long before the next renewal is due");
    assert!(!guard.is_valid() && spared.is_valid());
}

#[tokio::test]
async fn holders_and_waiters_live_through_restarts_of_the_coordinator_and_of_the_server() {
    let mut service = Service::start().await;
    let (holder, waiter) = (service.client("holder").await, service.client("waiter").await);
    let options = AcquireOptions::new().ttl(Duration::from_secs(15));
    let guard = holder.acquire_with("lasting", options.clone()).await.unwrap();
    let waiting = tokio::spawn(async move { waiter.acquire_with("lasting", options).await.unwrap() });
    let waits = async || {
        eventually("the waiter waits", async || {
            holder.check("lasting").await.is_ok_and(|view| view.is_some_and(|view| view.waiter_count == 1))
        })
        .await;
    };
    waits().await;
    service.resign().await;
    service.lead(natslock::service::Config::default()).await;
    waits().await;
    service.server.restart().await;
    waits().await;
    assert!(guard.is_valid());
    let token = guard.token();
    assert!(guard.release().await.is_some());
    let next = within(&SystemClock, PATIENCE, waiting).await.expect("the waiter is served").unwrap();
    assert!(next.token() > token);
}
