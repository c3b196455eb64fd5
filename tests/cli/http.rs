//! `natslock serve --http`: figures, health and what the view is told. The view itself is tested in a browser:
//! `tests/browser/run`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use super::{Program, Running};
use crate::support::{NatsServer, PATIENCE, eventually};

/// A coordinator that serves HTTP, and where.
struct Served {
    program: Program,
    address: String,
    _running: Running,
}

impl Served {
    fn start(url: &str, more: &[&str]) -> Self {
        let program = Program::new(url);
        let mut running = program.start(&[&["serve", "--http", "127.0.0.1:0"][..], more].concat());
        let told = running.told_until("serving HTTP");
        let address = told.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
        Self { program, address, _running: running }
    }

    fn send(&self, line: &str, headers: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let host = &self.address;
        write!(stream, "{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n").unwrap();
        BufReader::new(stream)
    }

    /// The code, the headers and the body.
    fn ask(&self, line: &str, headers: &str) -> (u16, String, String) {
        let mut answer = String::new();
        self.send(line, headers).read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        (code, head.to_lowercase(), body.to_owned())
    }

    fn get(&self, path: &str) -> (u16, String, String) {
        self.ask(&format!("GET {path}"), "")
    }

    /// What a view is told, one after the other.
    fn live(&self, path: &str) -> impl Iterator<Item = Value> {
        let lines = self.send(&format!("GET {path}"), "").lines();
        lines.filter_map(|line| Some(serde_json::from_str(line.unwrap().strip_prefix("data: ")?).unwrap()))
    }

    async fn lead(&self) {
        eventually("it leads", async || self.get("/readyz").2.starts_with("leading in epoch")).await;
    }
}

#[tokio::test]
async fn figures_and_health_are_served() {
    let server = NatsServer::start().await;
    let served = Served::start(&server.url(), &[]);
    served.lead().await;
    assert_eq!(served.get("/healthz").0, 200);
    assert_eq!(served.get("/readyz").0, 200);
    for number in 0..40 {
        served.program.run(&["acquire", &format!("{}.{number}", "n".repeat(240)), "--ttl", "2h"]).done();
    }
    let (code, head, text) = served.get("/metrics");
    assert!(code == 200 && head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let count = "natslock_grants_total{namespace=\"default\",shard=\"0\"} 40";
    assert!(text.lines().any(|line| line == count) && text.len() < 100_000, "{text}");
    let standby = Served::start(&server.url(), &[]);
    eventually("it stands by", async || standby.get("/readyz").2 == "standing by\n").await;
    assert!(standby.get("/metrics").2.contains("natslock_leading{namespace=\"default\",shard=\"0\"} 0"));
}

#[tokio::test]
async fn health_is_told_while_nats_is_waited_for() {
    let served = Served::start("nats://127.0.0.1:1", &[]);
    assert_eq!(served.get("/healthz").0, 200);
    let (code, _, why) = served.get("/readyz");
    assert_eq!((code, why.as_str()), (503, "waiting for NATS or JetStream\n"));
    assert_eq!(served.get("/metrics").0, 503);
}

/// The server stands still, as a machine that swaps or a virtual one that is moved does: no write is acknowledged, and
/// no connection ends.
#[tokio::test]
async fn a_leader_that_is_not_sure_is_not_ready() {
    let server = NatsServer::start().await;
    let served = Served::start(&server.url(), &["--leader-lease", "2s"]);
    served.lead().await;
    assert_eq!(served.get("/readyz").0, 200);
    server.pause().await;
    let why = "but not sure of it: its own record is not acknowledged in time";
    eventually("it is not sure", async || {
        let (code, _, said) = served.get("/readyz");
        code == 503 && said.starts_with("leading in epoch") && said.contains(why)
    })
    .await;
    assert_eq!(served.get("/healthz").0, 200, "it lives");
    let told = served.live("/live").next().unwrap();
    assert_eq!(told["status"], "silent");
    server.unpause();
    eventually("it is sure again", async || {
        let (code, _, said) = served.get("/readyz");
        code == 200 && !said.contains("not sure")
    })
    .await;
}

#[tokio::test]
async fn a_standby_without_a_store_is_not_ready() {
    let server = NatsServer::start().await;
    let leader = Served::start(&server.url(), &[]);
    leader.lead().await;
    let standby = Served::start(&server.url(), &["--leader-lease", "2s"]);
    eventually("it stands by", async || standby.get("/readyz").2 == "standing by\n").await;
    server.pause().await;
    eventually("the store is gone", async || {
        let (code, _, said) = standby.get("/readyz");
        (code, said.as_str()) == (503, "standing by, but the store does not answer\n")
    })
    .await;
    server.unpause();
    eventually("somebody leads", async || {
        [&leader, &standby].iter().any(|one| one.get("/readyz").2.starts_with("leading"))
    })
    .await;
}

#[tokio::test]
async fn the_view_is_told_what_happens_and_nothing_more() {
    let server = NatsServer::start().await;
    let served = Served::start(&server.url(), &[]);
    served.lead().await;
    let held =
        served.program.run(&["acquire", "jobs.a", "--ttl", "2h", "--note", "<b>", "--json"]).done().json();
    let id = held["id"].as_str().unwrap();
    served.program.run(&["acquire", "other", "--ttl", "2h"]).done();
    let mut live = served.live("/live?prefix=jobs&lock=jobs.a");
    let first = live.next().unwrap();
    let names: Vec<_> = first["list"]["locks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|lock| lock["name"].as_str().unwrap())
        .collect();
    assert_eq!((names, first["status"].as_str()), (vec!["jobs.a"], Some("leading")));
    assert_eq!(first["detail"]["holders"][0]["note"], "<b>");
    assert_eq!(first["events"].as_array().unwrap().len(), 2);
    served.program.run(&["release", "jobs.a", "--id", id]).done();
    let next = live.find(|next| next["list"]["locks"].as_array().unwrap().is_empty()).unwrap();
    let events = next["events"].as_array().unwrap();
    assert!(events.len() <= 1 && next["stats"]["total"]["holders"] == 1, "{next}");
    assert!(!format!("{first}{next}").contains(id), "ids are nobody's business");
}

#[tokio::test]
async fn only_with_leave_and_only_from_the_view_a_lock_is_taken() {
    let server = NatsServer::start().await;
    let shown = Served::start(&server.url(), &[]);
    shown.lead().await;
    shown.program.run(&["acquire", "a", "--ttl", "2h"]).done();
    let from_view = |served: &Served| {
        format!("Origin: http://{}\r\nX-Natslock-View: 1\r\nContent-Length: 0\r\n", served.address)
    };
    assert_eq!(shown.ask("POST /release?lock=a", &from_view(&shown)).0, 403);
    let page = shown.get("/");
    assert!(
        page.1.contains("content-security-policy: default-src 'none'")
            && page.2.contains("data-admin=\"false\"")
    );
    // The standby may do it too: it asks the leader.
    let admin = Served::start(&server.url(), &["--http-admin"]);
    assert_eq!(admin.ask("POST /release?lock=a", "Content-Length: 0\r\n").0, 403);
    eventually("it is connected", async || admin.ask("POST /release?lock=a", &from_view(&admin)).0 == 200)
        .await;
    assert_eq!(shown.program.run(&["check", "a"]).done().stdout, "free\n");
    assert_eq!(admin.get("/release?lock=a").0, 405);
}
