//! `natslock list`

use super::{Program, Site};

/// A namespace of its own, because all locks of one are listed.
fn program(site: &Site) -> Program {
    site.program().with("NATSLOCK_NAMESPACE", "list")
}

#[tokio::test]
async fn locks_are_listed_in_order_and_page_by_page() {
    let site = Site::shared().await;
    let program = program(&site);
    let _coordinator = program.start(&["serve"]);
    assert_eq!(program.run(&["list"]).done().stdout, "no locks are held or waited for\n");
    for name in ["jobs.b", "订单.42", "jobs.a", "other"] {
        program.run(&["acquire", name, "--ttl", "2h", "--shared"]).done();
    }
    program.run(&["acquire", "jobs.a", "--ttl", "1h", "--shared", "--owner", "bob"]).done();
    insta::assert_snapshot!("list", program.run(&["list"]).done().transcript());
    insta::assert_snapshot!("list_of_prefix", program.run(&["list", "jobs."]).done().transcript());
    insta::assert_snapshot!("list_encoded", program.run(&["list", "订"]).done().transcript());
    let page = program.run(&["list", "--limit", "3"]).done();
    insta::assert_snapshot!("list_page", page.transcript());
    let last = program.run(&["list", "--after", "jobs.b"]).done();
    assert_eq!(last.stdout.lines().count(), 2, "{}", last.stdout);
    let json = program.run(&["list", "jobs.", "--limit", "1", "--json"]).done();
    insta::assert_snapshot!("list_json", json.transcript());
}
