//! `natslock check`

use super::Site;
use crate::support::eventually;

#[tokio::test]
async fn a_free_lock_is_free() {
    let site = Site::shared().await;
    assert_eq!(site.run(&["check", "check.free"]).done().stdout, "free\n");
    insta::assert_snapshot!("free_json", site.run(&["check", "check.free", "--json"]).done().transcript());
}

#[tokio::test]
async fn holders_and_waiters_are_shown_in_order() {
    let site = Site::shared().await;
    let (program, name) = (site.program(), "check.held");
    let words = ["acquire", name, "--ttl", "2h", "--capacity", "5", "--permits", "2"];
    for (owner, note) in [("worker-7", "nightly\nbuild"), ("zoë", "")] {
        let words = [&words[..], &["--owner", owner, "--note", note]].concat();
        site.run(&words).done();
    }
    let mut waiting = Vec::new();
    for (number, owner) in [(1, "bob"), (2, "订单")] {
        let words = [&words[..], &["--owner", owner, "--wait", "1h"]].concat();
        waiting.push(program.start(&words));
        eventually("it waits", async || {
            program.run(&["check", name, "--json"]).json()["waiter_count"] == number
        })
        .await;
    }
    insta::assert_snapshot!("check_held", site.run(&["check", name]).done().transcript());
    insta::assert_snapshot!(
        "check_held_limited",
        site.run(&["check", name, "--limit", "1"]).done().transcript()
    );
    insta::assert_snapshot!("check_held_json", site.run(&["check", name, "--json"]).done().transcript());
}
