//! Sixteen requesters in four processes on one lock: never two holders, rising tokens, first come first served.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt as _;
use natslock::clock::{Clock as _, SystemClock};
use natslock::types::Timestamp;

use crate::support::service::{Service, acquire, client, lock, options, release};

const PROCESSES: usize = 4;
const REQUESTERS: usize = 4;
const SECONDS: u64 = 30;
const URL: &str = "NATSLOCK_TEST_CONTENDER_URL";
/// Requests that reach the server further apart than this are in order; closer ones may overtake each other on
/// their way to two subscribers.
const APART: Duration = Duration::from_millis(20);

/// One holding, as its holder saw it.
struct Held {
    id: String,
    token: u64,
    from: Timestamp,
    until: Timestamp,
}

/// The part of the child processes; without their environment it has nothing to do.
#[tokio::test]
async fn contender() {
    let Ok(url) = std::env::var(URL) else { return };
    let until = SystemClock::boot() + Duration::from_secs(SECONDS);
    let requesters = (0..REQUESTERS).map(|number| {
        let url = url.clone();
        tokio::spawn(async move {
            let client = client(&url, &format!("contender-{}-{number}", std::process::id())).await;
            let name = lock("contended");
            while SystemClock::boot() < until {
                let lease = acquire(&client, &name, &options(10_000, 60_000)).await;
                let from = SystemClock::boot();
                SystemClock.sleep_until(from + Duration::from_millis(3)).await;
                let until = SystemClock::boot();
                release(&client, &lease).await;
                let nanos = |at: Timestamp| at.since_boot().as_nanos();
                println!("HELD {} {} {} {}", lease.id.reveal(), lease.token, nanos(from), nanos(until));
            }
        })
    });
    for requester in requesters.collect::<Vec<_>>() {
        requester.await.unwrap();
    }
}

fn start(url: &str) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["live::contention::contender", "--exact", "--nocapture"]).env(URL, url);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn read(mut child: std::process::Child) -> Vec<Held> {
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut held = Vec::new();
    for line in output.lines() {
        let line = line.unwrap();
        let Some(at) = line.find("HELD ") else { continue };
        let mut words = line[at..].split(' ').skip(1);
        let id = words.next().unwrap().to_owned();
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        let token = number();
        let mut time = || Timestamp::from_boot(Duration::from_nanos(number()));
        held.push(Held { id, token, from: time(), until: time() });
    }
    assert!(child.wait().unwrap().success(), "a contender failed");
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_requesters_in_four_processes() {
    let service = Service::start().await;
    let wire = service.wire().await;
    let mut requests = wire.subscribe("natslock.default.acquire.>").await;
    let url = service.server.url();
    let children: Vec<_> = (0..PROCESSES).map(|_| start(&url)).collect();
    let readers: Vec<_> =
        children.into_iter().map(|child| tokio::task::spawn_blocking(move || read(child))).collect();
    let mut asked: HashMap<String, Timestamp> = HashMap::new();
    let mut held = Vec::new();
    let all = async {
        let mut held = Vec::new();
        for reader in readers {
            held.extend(reader.await.unwrap());
        }
        held
    };
    tokio::pin!(all);
    while held.is_empty() {
        tokio::select! {
            done = &mut all => held = done,
            Some(message) = requests.next() => {
                let body: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
                let id = body["id"].as_str().unwrap().to_owned();
                asked.entry(id).or_insert_with(SystemClock::boot);
            }
        }
    }
    held.sort_by_key(|held| held.token);
    println!("{} hand-overs in {SECONDS} s", held.len());
    assert!(held.len() > 500, "only {} holdings", held.len());
    for pair in held.windows(2) {
        assert!(pair[0].token < pair[1].token, "token {} was given twice", pair[1].token);
        assert!(pair[0].until <= pair[1].from, "two holders: tokens {} and {}", pair[0].token, pair[1].token);
    }
    first_come_first_served(&held, &asked);
}

/// Nobody who asked clearly earlier was served later.
fn first_come_first_served(held: &[Held], asked: &HashMap<String, Timestamp>) {
    let mut latest = Timestamp::from_millis(0);
    for holding in held {
        let Some(asked) = asked.get(&holding.id) else { continue };
        let overtaken = latest.since(*asked);
        assert!(overtaken < APART, "token {} was overtaken by {overtaken:?}", holding.token);
        latest = latest.max(*asked);
    }
}
