//! No server, no coordinator, no permission: exit code 3, and what to do.

use super::Program;
use crate::support::NatsServer;

const NOWHERE: &str = "nats://127.0.0.1:1";

#[test]
fn without_a_server_every_command_says_how_to_start_one() {
    let lines = [
        "acquire a",
        "release a --id 1",
        "renew a --id 1",
        "check a",
        "list",
        "watch",
        "info",
        "admin release a",
    ];
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ran = Program::new(NOWHERE).run(&words);
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{line}");
        assert_eq!(
            ran.stderr,
            "error: no NATS server at nats://127.0.0.1:1: IO error: Connection refused (os error 111)\n\
             hint: start one: natslock dev   (or ./nats/run ..., or give --nats URL)\n",
            "{line}"
        );
    }
    let json = Program::new(NOWHERE).run(&["info", "--json"]);
    assert_eq!((json.code, json.stderr.as_str()), (3, ""));
    assert_eq!(json.json()["code"], "no_server");
}

#[tokio::test]
async fn without_a_coordinator_the_hint_names_the_server() {
    let server = NatsServer::start().await;
    let run = |words: &'static [&'static str]| {
        let program = Program::new(&server.url());
        tokio::task::spawn_blocking(move || program.run(words))
    };
    let (acquire, info, json) = (
        run(&["acquire", "a", "--wait", "0"]),
        run(&["info", "--namespace", "prod"]),
        run(&["check", "a", "--json"]),
    );
    insta::assert_snapshot!("no_coordinator", acquire.await.unwrap().transcript());
    insta::assert_snapshot!("no_coordinator_in_namespace", info.await.unwrap().transcript());
    insta::assert_snapshot!("no_coordinator_json", json.await.unwrap().transcript());
}

#[tokio::test]
async fn a_missing_permission_is_told_at_once_and_by_its_subject() {
    let users = r#"authorization { users: [
        { user: ada, password: pw, permissions: { publish: ["natslock.default.check.>"], subscribe: [">"] } }
    ] }"#;
    let server = NatsServer::start_with(users).await;
    let program = Program::new(&server.url());
    insta::assert_snapshot!("wrong_credentials", program.run(&["info"]).transcript());
    let known = ["info", "--user", "ada", "--password", "pw"];
    insta::assert_snapshot!("forbidden", program.run(&known).transcript());
    let serve = ["serve", "--user", "ada", "--password", "pw"];
    let refused = program.run(&serve);
    assert_eq!(refused.code, 3);
    let named = "no permission to publish to $JS.API.STREAM.INFO.KV_natslock_default_0";
    assert!(refused.stderr.contains(named), "{}", refused.stderr);
}
