//! Clients in three languages want the same locks.

use std::collections::BTreeMap;
use std::time::Duration;

use natslock::clock::{Clock as _, SystemClock};
use natslock::types::Timestamp;

use super::puppet::{Kind, Puppet, suspended};
use crate::support::service::{Service, client, options};

const SECONDS: u64 = 30;
/// Requesters of each kind.
const REQUESTERS: usize = 4;
const LOCKS: [&str; 3] = ["contended.red", "contended.green", "contended.blue"];

/// One holding, as its holder saw it.
struct Held {
    kind: Kind,
    holder: String,
    lock: String,
    token: u64,
    from: Timestamp,
    until: Timestamp,
}

async fn contend_in_rust(url: String, number: usize, until: Timestamp) -> Vec<Held> {
    let holder = format!("rust-{number}");
    let client = client(&url, &holder).await;
    let mut all = Vec::new();
    let mut names = LOCKS.iter().cycle().skip(number);
    while SystemClock::boot() < until {
        let lock = (*names.next().unwrap()).to_owned();
        let guard = client.acquire_with(&lock, options(10_000, 60_000)).await.unwrap();
        let from = SystemClock::boot();
        SystemClock.sleep_until(from + Duration::from_millis(3)).await;
        let until = SystemClock::boot();
        assert!(guard.is_valid(), "a lock was lost");
        let token = guard.token().get();
        guard.release().await;
        all.push(Held { kind: Kind::Rust, holder: holder.clone(), lock, token, from, until });
    }
    all
}

async fn contend_elsewhere(kind: Kind, url: String) -> Vec<Held> {
    let owner = format!("{kind:?}").to_lowercase();
    let mut puppet = Puppet::start(kind, &url, &owner, "default").await;
    puppet.told(&format!("contend {REQUESTERS} {SECONDS} {}", LOCKS.join(" "))).await;
    let mut all = Vec::new();
    loop {
        let words = puppet.hears().await;
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["DONE"] => return all,
            ["HELD", lock, token, from, until, holder] => all.push(Held {
                kind,
                holder: holder.to_owned(),
                lock: lock.to_owned(),
                token: token.parse().unwrap(),
                from: puppet.time(from),
                until: puppet.time(until),
            }),
            _ => panic!("{kind:?}: {words:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_python_and_javascript_contend_for_three_locks() {
    let service = Service::start().await;
    let url = service.server.url();
    let suspended_before = suspended();
    let mut contenders = tokio::task::JoinSet::new();
    for kind in [Kind::Python, Kind::JavaScript] {
        contenders.spawn(contend_elsewhere(kind, url.clone()));
    }
    let until = SystemClock::boot() + Duration::from_secs(SECONDS);
    for number in 0..REQUESTERS {
        contenders.spawn(contend_in_rust(url.clone(), number, until));
    }
    let all: Vec<Held> = contenders.join_all().await.into_iter().flatten().collect();
    let meanwhile = suspended().abs_diff(suspended_before);
    println!(
        "the boot clock is {suspended_before:?} ahead of the monotonic one, and {meanwhile:?} more at the end"
    );
    assert!(meanwhile < Duration::from_millis(1), "the machine was suspended: the clocks cannot be compared");
    one_holder_at_a_time(&all);
    everybody_has_a_share(&all);
}

fn one_holder_at_a_time(all: &[Held]) {
    for lock in LOCKS {
        let mut held: Vec<&Held> = all.iter().filter(|held| held.lock == lock).collect();
        held.sort_by_key(|held| held.token);
        println!("{lock}: {} holdings", held.len());
        for pair in held.windows(2) {
            let [one, next] = pair else { unreachable!("windows of two") };
            assert!(one.token < next.token, "token {} was given twice", next.token);
            let (first, second) = (&one.holder, &next.holder);
            let overlap = one.until.since(next.from);
            assert!(one.until <= next.from, "{lock} was held by {first} and {second} for {overlap:?}");
        }
    }
}

fn everybody_has_a_share(all: &[Held]) {
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    let mut holders: BTreeMap<&str, usize> = BTreeMap::new();
    for held in all {
        *kinds.entry(held.kind).or_default() += 1;
        *holders.entry(&held.holder).or_default() += 1;
    }
    println!("{} holdings in {SECONDS} s: {kinds:?}, {holders:?}", all.len());
    assert_eq!(holders.len(), 3 * REQUESTERS, "somebody never had a lock");
    for (kind, count) in kinds {
        assert!(count * 10 >= all.len(), "{kind:?} had {count} of {} holdings", all.len());
    }
}
