//! Command lines that make no sense: told before anything is sent, with exit code 2.

use super::Program;

/// Nothing listens here: it must not matter.
const NOWHERE: &str = "nats://127.0.0.1:1";

#[test]
fn bad_options_are_refused_with_the_rule() {
    let lines = [
        "acquire",
        "acquire a..b",
        "acquire .a",
        "acquire a --ttl 0",
        "acquire a --ttl 500ms",
        "acquire a --ttl 25h",
        "acquire a --ttl -5s",
        "acquire a --ttl 5",
        "acquire a --wait 2d",
        "acquire a --wait soon",
        "acquire a --permits 2",
        "acquire a --permits 3 --capacity 2",
        "acquire a --permits 0 --capacity 2",
        "acquire a --capacity 1001",
        "acquire a --shared --capacity 2",
        "acquire a --id a.b",
        "acquire a --keep 25h",
        "acquire a --owner 0123456789012345678901234567890123456789012345678901234567890123456789",
        "acquire a --namespace a.b",
        "acquire a --user ada",
        "acquire a --creds x --user ada --password x",
        "acquire a --nats http://x",
        "acquire a --nkey /nonexistent/seed",
        "release a",
        "release a --id 1 --token x",
        "check a --limit 0",
        "list a..b",
        "list --limit 1001",
        "watch a..>",
        "serve --shards 2",
        "serve --replicas 2",
        "serve --leader-lease 100ms",
        "dev --port 65536",
        "borrow a",
    ];
    let mut text = String::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ran = Program::new(NOWHERE).run(&words);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{line}: {}", ran.stderr);
        let told = ran.stderr.split("\n\n").next().unwrap_or_default();
        text += &format!("$ natslock {line}\n{}\n\n", told.trim_end());
    }
    insta::assert_snapshot!("bad_options", text);
}

#[test]
fn a_note_that_is_too_long_is_refused() {
    let note = "n".repeat(257);
    let ran = Program::new(NOWHERE).run(&["acquire", "a", "--note", &note]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("a note has at most 256 bytes, this one has 257"), "{}", ran.stderr);
}

#[test]
fn programs_get_json_for_what_cannot_be_read_too() {
    let program = Program::new(NOWHERE);
    for ran in [
        program.run(&["acquire", "a..b", "--json"]),
        program.run(&["--json", "release", "a"]),
        Program::new(NOWHERE).with("NATSLOCK_JSON", "1").run(&["borrow"]),
        program.run(&["acquire", "a", "--permits", "3", "--capacity", "2", "--json"]),
    ] {
        assert_eq!((ran.code, ran.stderr.as_str()), (2, ""));
        assert_eq!((&ran.json()["status"], &ran.json()["code"]), (&"error".into(), &"usage".into()));
    }
    assert_eq!(
        program.run(&["acquire", "a..b", "--json"]).json()["message"],
        "invalid value 'a..b' for '<NAME>': a lock name must not have empty tokens (two dots in a row, or a dot at an end)"
    );
}

#[test]
fn options_come_from_the_environment_too() {
    for (name, value) in [
        ("NATSLOCK_TTL", "0"),
        ("NATSLOCK_WAIT", "soon"),
        ("NATSLOCK_CAPACITY", "0"),
        ("NATSLOCK_NAMESPACE", "a.b"),
        ("NATSLOCK_KEEP", "soon"),
        ("NATSLOCK_USER", "ada"),
    ] {
        let ran = Program::new(NOWHERE).with(name, value).run(&["acquire", "a"]);
        assert_eq!(ran.code, 2, "{name}: {}", ran.stderr);
    }
    // Inside of another's `run` this names another acquisition.
    let ran = Program::new(NOWHERE).with("NATSLOCK_ID", "a.b").run(&["acquire", "a"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
}
