//! `natslock watch`

use rustix::process::Signal;

use super::Site;
use super::redact::redact;
use crate::support::eventually;

#[tokio::test]
async fn events_are_shown_one_a_line() {
    let site = Site::shared().await;
    let mut watching = site.program().start(&["watch", "watch.text.>"]);
    assert_eq!(watching.told_line(), "watching the locks below `watch.text.`; Ctrl-C ends");
    let id = site.hold("watch.text.订单", "worker-7");
    site.run(&["release", "watch.text.订单", "--id", &id, "--owner", "worker-7"]).done();
    site.hold("watch.text.b", "worker-8");
    site.run(&["admin", "release", "watch.text.b", "--reason", "it\u{7} hangs"]).done();
    let lines: Vec<String> = (0..5).map(|_| watching.line()).collect();
    insta::assert_snapshot!("watch", redact(&lines.join("\n")));
    watching.signal(Signal::INT);
    assert_eq!(watching.end().await.0, Some(0));
}

#[tokio::test]
async fn programs_get_events_as_they_came() {
    let site = Site::shared().await;
    let mut watching = site.program().start(&["watch", "watch.json", "--json"]);
    // Programs are not told when it listens.
    let mut seen = None;
    eventually("an event is seen", async || {
        let id = site.hold("watch.json", "probe");
        site.run(&["release", "watch.json", "--id", &id, "--owner", "probe"]).done();
        seen = watching.line_if_any();
        seen.is_some()
    })
    .await;
    let event: serde_json::Value = serde_json::from_str(&seen.unwrap()).unwrap();
    assert_eq!((&event["name"], &event["owner"]), (&"watch.json".into(), &"probe".into()));
    assert!(event["at_ms"].is_u64());
    watching.signal(Signal::TERM);
    assert_eq!(watching.end().await.0, Some(0));
}

#[tokio::test]
async fn it_ends_when_nobody_reads() {
    let site = Site::shared().await;
    let line = "natslock watch watch.pipe | head -n 1";
    let program = site.program();
    let piped = tokio::task::spawn_blocking(move || program.shell(line));
    eventually("the pipe ends", async || {
        let id = site.hold("watch.pipe", "probe");
        site.run(&["release", "watch.pipe", "--id", &id, "--owner", "probe"]).done();
        piped.is_finished()
    })
    .await;
    let piped = piped.await.unwrap().done();
    assert_eq!(piped.stderr, "watching lock `watch.pipe`; Ctrl-C ends\n");
}
