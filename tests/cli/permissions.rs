//! `natslock admin permissions`

use std::os::unix::fs::PermissionsExt as _;

use super::Program;
use crate::support::Folder;

const PUBLIC: &str = "UB4QAZTF4KXUSWLCV4R5O26WXWQTLUEXKOIXYGMHIRJEGTAM3DV4IDFS";

#[test]
fn each_role_gets_what_it_needs() {
    let program = Program::new("");
    for (role, words) in [
        ("operator", &["--owner", "oncall"][..]),
        ("operator", &["--owner", "oncall", "--may-recover"]),
        ("coordinator", &["--namespace", "prod", "--inbox-prefix", "_INBOX.team"]),
        ("coordinator-front", &[]),
        ("coordinator-store", &[]),
        ("client", &["--owner", "alice@db", "--names", "orders", "--names", "订单.*.>"]),
        ("observer", &["--owner", "grafana"]),
    ] {
        let words = [&["admin", "permissions", "--role", role, "--public-nkey", PUBLIC], words].concat();
        let printed = program.run(&words).done();
        let more = if words.contains(&"--may-recover") { "_may_recover" } else { "" };
        insta::assert_snapshot!(format!("permissions_{}{more}", role.replace('-', "_")), printed.stdout);
    }
}

#[test]
fn a_seed_goes_to_a_file_that_only_its_owner_can_read() {
    let folder = Folder::new();
    let path = folder.0.join("alice.nk");
    let words = ["admin", "permissions", "--role", "observer", "--make-nkey", path.to_str().unwrap()];
    let made = Program::new("").run(&words).done();
    let seed = std::fs::read_to_string(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(seed.trim().starts_with("SU") && seed.trim().len() == 58);
    assert!(!made.stdout.contains(seed.trim()) && !made.stderr.contains(seed.trim()));
    let public = nkeys::KeyPair::from_seed(seed.trim()).unwrap().public_key();
    assert!(made.stdout.contains(&format!("nkey: {public}\n")), "{}", made.stdout);

    let again = Program::new("").run(&words);
    assert_eq!(again.code, 2, "a seed is never written over: {}", again.stderr);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), seed);
}

#[test]
fn what_makes_no_sense_is_said() {
    for (words, part) in [
        (&["--role", "client"][..], "a client needs the --names"),
        (&["--role", "client", "--names", "a..b"], "empty"),
        (&["--role", "client", "--names", ">.a"], "nothing can follow it"),
        (&["--role", "observer", "--public-nkey", "SUABC"], "not the public nkey of a user"),
        (&["--role", "observer", "--inbox-prefix", "$KV"], "a reply prefix is"),
        (&["--role", "king"], "possible values"),
        (&["--role", "observer", "--may-recover"], "only an operator may recover"),
    ] {
        let refused = Program::new("").run(&[&["admin", "permissions"], words].concat());
        assert_eq!(refused.code, 2, "{words:?}");
        assert!(refused.stderr.contains(part), "{words:?}: {}", refused.stderr);
        assert_eq!(refused.stdout, "");
    }
}

#[test]
fn programs_read_it_as_json() {
    let words = ["admin", "permissions", "--role", "observer", "--owner", "grafana", "--json"];
    let printed = Program::new("").run(&words).done().json();
    assert_eq!(printed["subscribe"], serde_json::json!(["_INBOX.grafana.>", "natslock-event.default.>"]));
}
