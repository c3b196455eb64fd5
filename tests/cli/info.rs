//! `natslock info`

use super::Site;
use super::redact::redact;

#[tokio::test]
async fn the_leader_and_the_limits_are_shown() {
    let site = Site::shared().await;
    let (pid, json) = (site.pid, site.run(&["info", "--json"]).done());
    assert_eq!(json.json()["leaders"][0]["pid"], pid);
    let host = json.json()["leaders"][0]["host"].as_str().unwrap().to_owned();
    let server = json.json()["server_version"].as_str().unwrap().to_owned();
    // Columns are as wide as what is in them, which is this machine's here.
    let text = site.run(&["info"]).done().stdout;
    let text = text.replace(&format!(" {pid} "), " [pid] ").replace(&format!(" {host} "), " [host] ");
    let text = redact(&text).replace(&server, "[version]");
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    insta::assert_snapshot!("info", lines.collect::<Vec<_>>().join("\n"));
}
