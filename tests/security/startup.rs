//! A coordinator that lacks a right says at its start which, and ends.

use natslock::nats::permissions::{NamePattern, Permissions, Role, User};
use natslock::types::OwnerName;
use natslock::wire::inbox::ReplyPrefix;

use crate::cli::program::Program;
use crate::support::NatsServer;

/// In a namespace of its own, whose bucket nobody has made yet.
fn all(namespace: &str) -> Permissions {
    let user = User {
        role: Role::Coordinator,
        namespace: namespace.parse().unwrap(),
        owner: OwnerName::encode("x").unwrap(),
        names: vec![NamePattern::all()],
        inboxes: ReplyPrefix::default(),
        lists: false,
        recovers: false,
    };
    user.permissions()
}

/// All of them but one: what is lacking, and the rest, in the namespace `n` and the number.
fn lacking() -> Vec<(String, Permissions)> {
    let whole = all("n");
    // Whoever may not hear who looks for services is not found, and serves all the same. Events are not tried, because
    // somebody might hear the try. What is missing of these is told in the log. Of the last a refusal is as good as an
    // answer.
    let untried = |subject: &&String| {
        ["natslock-event.", "$SRV.", "$SYS.REQ.USER.INFO"].iter().any(|tree| subject.starts_with(tree))
    };
    let published = (0..whole.publish.len()).filter(|at| !untried(&&whole.publish[*at])).map(|at| (at, true));
    let heard = (0..whole.subscribe.len()).filter(|at| !untried(&&whole.subscribe[*at]));
    let subscribed = heard.map(|at| (at, false));
    let without = |(number, (at, publishes)): (usize, (usize, bool))| {
        let mut rest = all(&format!("n{number}"));
        let subjects = if publishes { &mut rest.publish } else { &mut rest.subscribe };
        (subjects.remove(at), rest)
    };
    published.chain(subscribed).enumerate().map(without).collect()
}

#[tokio::test]
async fn each_missing_right_is_named_with_its_mend() {
    let lacking = lacking();
    assert!(lacking.len() > 8);
    let users = lacking
        .iter()
        .enumerate()
        .map(|(number, (_, rest))| format!("{{ user: u{number}, password: x, {rest} }}\n"));
    let config = format!("authorization {{ users: [\n{} ] }}\n", users.collect::<String>());
    let server = NatsServer::start_with(&config).await;
    for (number, (subject, _)) in lacking.iter().enumerate() {
        let user = format!("u{number}");
        let namespace = format!("n{number}");
        let words = ["serve", "--namespace", &namespace, "--user", &user, "--password", "x"];
        let refused = Program::new(&server.url()).run(&words);
        assert_eq!(refused.code, 3, "{subject}: {}", refused.stderr);
        let last: Vec<&str> = refused.stderr.lines().rev().take(3).collect();
        let plain = subject.trim_end_matches(['>', '*']);
        let told = last.iter().any(|line| line.contains("no permission to") && line.contains(plain));
        assert!(told, "{subject}: {}", refused.stderr);
        assert!(
            refused.stderr.contains("permissions") || refused.stderr.contains("hint"),
            "{}",
            refused.stderr
        );
    }
}

#[tokio::test]
async fn one_replica_is_warned_of() {
    let server = NatsServer::start().await;
    let mut serving = Program::new(&server.url()).start(&["serve"]);
    let warned = serving.told_until("one replica");
    assert!(
        warned.contains("WARN") && warned.contains("sync_interval") && warned.contains("--replicas 3"),
        "{warned}"
    );
}
