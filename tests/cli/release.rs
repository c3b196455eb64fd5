//! `natslock release`

use super::Site;

#[tokio::test]
async fn a_lock_is_released_and_again_without_harm() {
    let site = Site::shared().await;
    let id = site.hold("release.a", "ada@host");
    let released = site.run(&["release", "release.a", "--id", &id]).done();
    insta::assert_snapshot!("released", released.transcript());
    assert_eq!(site.run(&["check", "release.a"]).done().stdout, "free\n");
    site.run(&["release", "release.a", "--id", &id]).done();
}

#[tokio::test]
async fn an_id_that_holds_nothing_is_refused() {
    let site = Site::shared().await;
    let unknown = site.run(&["release", "release.b", "--id", "nothing"]);
    insta::assert_snapshot!("released_nothing", unknown.transcript());
    let json = site.run(&["release", "release.b", "--id", "nothing-either", "--json"]);
    assert_eq!((json.code, &json.json()["code"]), (1, &"not_holder".into()));
    // Ids are scoped to their owner.
    let id = site.hold("release.b", "bob");
    assert_eq!(site.run(&["release", "release.b", "--id", &id]).code, 1);
    site.run(&["release", "release.b", "--id", &id, "--owner", "bob"]).done();
}

#[tokio::test]
async fn a_lock_may_be_kept_a_while() {
    let site = Site::shared().await;
    let id = site.hold("release.c", "ada@host");
    let json = site.run(&["release", "release.c", "--id", &id, "--keep", "1h", "--json"]).done();
    insta::assert_snapshot!("released_json", json.transcript());
    assert_eq!(site.run(&["acquire", "release.c", "--wait", "0", "--owner", "bob"]).code, 1);
}
