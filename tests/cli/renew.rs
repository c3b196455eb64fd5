//! `natslock renew`

use super::Site;

#[tokio::test]
async fn a_lock_is_renewed_for_its_ttl() {
    let site = Site::shared().await;
    let id = site.hold("renew.a", "ada@host");
    let renewed = site.run(&["renew", "renew.a", "--id", &id]).done();
    assert_eq!(renewed.stdout, "renewed renew.a for 2 h\n");
    let token = site.run(&["check", "renew.a", "--json"]).json()["holders"][0]["token"].to_string();
    let json = site.run(&["renew", "renew.a", "--id", &id, "--token", &token, "--json"]).done();
    insta::assert_snapshot!("renewed_json", json.transcript());
}

#[tokio::test]
async fn what_is_over_is_not_renewed() {
    let site = Site::shared().await;
    insta::assert_snapshot!(
        "renewed_nothing",
        site.run(&["renew", "renew.b", "--id", "never-seen"]).transcript()
    );
    let id = site.hold("renew.b", "ada@host");
    let program = site.program().with("NATSLOCK_ID", &id);
    program.run(&["renew", "renew.b"]).done();
    program.run(&["release", "renew.b"]).done();
    let over = program.run(&["renew", "renew.b"]);
    assert_eq!(over.code, 1);
    assert!(over.stderr.starts_with("error[finished]: "), "{}", over.stderr);
}
