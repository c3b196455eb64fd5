//! `natslock top`, in a terminal.

use rustix::process::Signal;

use super::pty::Terminal;
use super::{Program, Site};
use crate::support::{NatsServer, eventually, proxy::Proxy};

#[tokio::test]
async fn holders_and_waiters_are_shown_and_kept_up_to_date() {
    let site = Site::shared().await;
    let program = site.program().with("NATSLOCK_NAMESPACE", "top");
    let _coordinator = program.start(&["serve"]);
    let hold = ["acquire", "jobs.a", "--ttl", "2h", "--json", "--owner", "worker-7", "--note", "a\u{1b}b"];
    let held = program.run(&hold).done().json();
    let mut top = Terminal::start(&program, &["top", "--every", "200ms"], 80, 24);
    let before = top.setup();
    top.shows_that("the holder", |screen| {
        let row = screen.lines().find(|line| line.starts_with("jobs.a "));
        row.is_some_and(|row| {
            row.contains("worker-7") && row.contains("1 h 59 min") && row.trim_end().ends_with(" 0")
        })
    })
    .await;
    eventually("the cursor is hidden", async || top.is_taken() && !top.has_cursor()).await;
    assert_ne!(top.setup(), before, "keys are handed on one by one");
    let waiter = program.start(&["acquire", "jobs.a", "--wait", "1h", "--owner", "worker-8"]);
    top.shows("1 holder, 1 waiter").await;
    top.press("\r");
    top.shows_that("both of them", |screen| {
        let line =
            |begin: &str| screen.lines().find(|line| line.starts_with(begin)).unwrap_or_default().to_owned();
        line("worker-7").contains(r"a\u{1b}b") && line("1 ").contains("worker-8")
    })
    .await;
    top.press("\u{1b}");
    top.shows("locks by rate").await;
    let id = held["id"].as_str().unwrap();
    program.run(&["release", "jobs.a", "--id", id, "--owner", "worker-7"]).done();
    top.shows_that("the hand-over", |screen| {
        let shows = |begin: &str, part: &str| {
            screen.lines().any(|line| line.starts_with(begin) && line.contains(part))
        };
        shows("jobs.a ", "worker-8") && screen.lines().any(|line| line.contains("released jobs.a"))
    })
    .await;
    top.press("/nothing\r");
    top.shows("none at this moment").await;
    top.press("\u{1b}");
    // Pressed right behind Escape, the next would be another key.
    top.shows("locks by rate").await;
    top.resize(140, 30);
    top.shows("ACQUIRE P99").await;
    // A key that comes at the same instant as the news of the size is read only with the next one.
    eventually("it quits", async || {
        top.press("q");
        top.has_ended()
    })
    .await;
    assert_eq!(top.end().await, Some(0));
    assert_eq!((top.setup(), top.has_cursor()), (before, true), "the terminal is as it was");
    assert!(!top.written().contains(id), "nobody is shown an id");
    drop(waiter);
}

#[tokio::test]
async fn signals_and_ctrl_c_leave_the_terminal_as_it_was() {
    let site = Site::shared().await;
    for how in ["SIGTERM", "SIGINT", "Ctrl-C"] {
        let mut top = Terminal::start(&site.program(), &["top"], 80, 24);
        let before = top.setup();
        top.shows("locks by rate").await;
        match how {
            "SIGTERM" => top.signal(Signal::TERM),
            "SIGINT" => top.signal(Signal::INT),
            _ => top.press("\u{3}"),
        }
        assert_eq!(top.end().await, Some(0), "{how}");
        assert_eq!((top.setup(), top.has_cursor()), (before, true), "{how}");
    }
}

#[tokio::test]
async fn colours_are_left_out_where_they_are_not_wanted() {
    let site = Site::shared().await;
    let green = "\u{1b}[38;5;2";
    for (no_color, coloured) in [("", true), ("1", false)] {
        let mut top = Terminal::start(&site.program().with("NO_COLOR", no_color), &["top"], 80, 24);
        top.shows("locks by rate").await;
        assert_eq!(top.written().contains(green), coloured, "{:?}", top.written());
        top.press("q");
        assert_eq!(top.end().await, Some(0));
    }
}

#[tokio::test]
async fn a_lost_connection_is_shown_until_it_is_back() {
    let site = Site::shared().await;
    let proxy = Proxy::start(&site.server.url()).await;
    let mut top = Terminal::start(&Program::new(&proxy.url()), &["top", "--every", "200ms"], 80, 24);
    top.shows("live").await;
    proxy.close();
    top.shows("the connection to the NATS server is lost: connecting again").await;
    proxy.open();
    top.shows("live").await;
    top.press("q");
    assert_eq!(top.end().await, Some(0));
}

#[tokio::test]
async fn without_a_terminal_it_says_what_to_use() {
    for arguments in [&["top"][..], &["top", "--json"]] {
        let ran = Program::new("nats://127.0.0.1:1").run(arguments);
        assert_eq!(
            (ran.code, ran.stderr.contains("natslock stats --watch") || ran.stdout.contains("JSON")),
            (2, true)
        );
    }
    assert_eq!(Program::new("").run(&["top", "--every", "1ms"]).code, 2);
}

#[tokio::test]
async fn what_is_wrong_from_the_start_is_told_without_taking_the_terminal() {
    let server = NatsServer::start().await;
    let mut top = Terminal::start(&Program::new(&server.url()), &["top"], 80, 24);
    assert_eq!(top.end().await, Some(3));
    eventually("it is told", async || top.screen().contains("no coordinator")).await;
    assert!(!top.written().contains("\u{1b}[?1049h"));
}
