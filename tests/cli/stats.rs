//! `natslock stats`

use super::Site;

#[tokio::test]
async fn what_was_done_is_counted_and_shown() {
    let site = Site::shared().await;
    let program = site.program().with("NATSLOCK_NAMESPACE", "stats");
    let _coordinator = program.start(&["serve"]);
    let mine = program.run(&["acquire", "jobs.a", "--ttl", "2h", "--json"]).done().json();
    program.run(&["acquire", "jobs.a", "--wait", "0"]);
    program.run(&["acquire", "jobs.a", "--wait", "200ms"]);
    program.run(&["release", "jobs.a", "--id", mine["id"].as_str().unwrap()]).done();
    program.run(&["acquire", "other", "--ttl", "2h"]).done();
    let stats = program.run(&["stats", "--json"]).done().json();
    let total = &stats["total"];
    for (figure, wanted) in
        [("acquires", 4), ("grants", 2), ("held", 1), ("timeouts", 1), ("contended", 2), ("holders", 1)]
    {
        assert_eq!(total[figure], wanted, "{figure} in {stats}");
    }
    assert_eq!((&total["contention_rate"], &stats["locks"][0]["name"]), (&0.5.into(), &"jobs.a".into()));
    let wait = total["wait_ms"]["max"].as_f64().unwrap();
    assert!((200.0..2_000.0).contains(&wait), "{stats}");
    let acquire = &total["acquire_ms"];
    assert!(acquire["p50"].as_f64().unwrap() <= acquire["max"].as_f64().unwrap(), "{stats}");
    assert_eq!(
        program.run(&["stats", "jobs.", "--json"]).done().json()["locks"].as_array().unwrap().len(),
        1
    );
    let shown = program.run(&["stats"]).done().stdout;
    for words in [
        "1 holder, 0 waiters, counted since",
        "4, 2 met others (50.0 %)",
        "jobs.a",
        "1 held by others, 1 timed out",
    ] {
        assert!(shown.contains(words), "{words:?} is not in\n{shown}");
    }
    let none = program.run(&["stats", "--top", "0"]).done().stdout;
    assert!(!none.contains("jobs.a"), "{none}");
}
