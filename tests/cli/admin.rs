//! `natslock admin`

use super::Site;

#[tokio::test]
async fn a_lock_is_taken_from_its_holder() {
    let site = Site::shared().await;
    let id = site.hold("admin.a", "worker-7");
    let taken = site.run(&["admin", "release", "admin.a", "--reason", "it hangs"]).done();
    insta::assert_snapshot!("admin_release", taken.transcript());
    assert_eq!(site.run(&["check", "admin.a"]).done().stdout, "free\n");
    assert_eq!(site.run(&["renew", "admin.a", "--id", &id, "--owner", "worker-7"]).code, 1);
}

#[tokio::test]
async fn a_free_lock_cannot_be_taken() {
    let site = Site::shared().await;
    let free = site.run(&["admin", "release", "admin.b"]);
    insta::assert_snapshot!("admin_release_free", free.transcript());
}
