//! The help texts are the manual.

use super::Program;

#[test]
fn every_command_has_a_manual() {
    let commands = [
        "",
        "serve",
        "dev",
        "acquire",
        "release",
        "renew",
        "check",
        "list",
        "watch",
        "stats",
        "top",
        "run",
        "info",
        "bench",
        "bench scale",
        "bench overhead",
        "admin",
        "admin release",
        "admin permissions",
        "admin recover",
    ];
    for command in commands {
        let mut words: Vec<&str> = command.split_whitespace().collect();
        words.push("--help");
        let help = Program::new("nats://secret:secret@h").run(&words).done();
        assert!(!help.stdout.contains("secret"), "{}", help.stdout);
        let name = format!("help {command}");
        insta::assert_snapshot!(name.trim_end().replace(' ', "_"), help.stdout);
    }
}

#[test]
fn the_short_help_leaves_out_how_to_be_let_in() {
    let short = Program::new("").run(&["acquire", "-h"]).done().stdout;
    let long = Program::new("").run(&["acquire", "--help"]).done().stdout;
    assert!(!short.contains("--tls-key") && long.contains("--tls-key"));
}

#[test]
fn the_version_is_told() {
    let version = Program::new("").run(&["--version"]).done();
    assert_eq!(version.stdout, concat!("natslock ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn without_a_command_help_is_shown_as_an_error() {
    let nothing = Program::new("").run(&[]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (2, ""));
    assert!(nothing.stderr.contains("Usage: natslock"), "{}", nothing.stderr);
}
