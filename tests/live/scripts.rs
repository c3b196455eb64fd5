//! The scripts in `nats/`: what they promise to whoever runs a command beside a server.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Folder, binary, eventually};

/// A script of the folder, whose temporary files go to a folder of its own.
fn script(name: &str, folder: &Folder) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("nats").join(name));
    command.env("TMPDIR", &folder.0).env("NATS_SERVER_BIN", binary()).env_remove("NATS_URL");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_empty(folder: &Folder) -> bool {
    std::fs::read_dir(&folder.0).unwrap().next().is_none()
}

fn listens(url: &str) -> bool {
    TcpStream::connect(url.trim().trim_start_matches("nats://")).is_ok()
}

fn finished(output: &Output, folder: &Folder) -> Vec<String> {
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    assert!(is_empty(folder), "temporary files are left");
    let urls: Vec<String> = text(&output.stdout).trim().split(',').map(str::to_owned).collect();
    assert!(urls.iter().all(|url| url.starts_with("nats://127.0.0.1:") && !listens(url)), "{urls:?}");
    urls
}

#[test]
fn a_command_gets_a_server_and_its_code_is_passed_on() {
    let folder = Folder::new();
    let command = ["sh", "-c", "echo $NATS_URL; test \"$1\" = 'two words' && exit 7", "sh", "two words"];
    let output = script("run", &folder).args(command).output().unwrap();
    assert_eq!(finished(&output, &folder).len(), 1);
    let usage = script("run", &folder).output().unwrap();
    assert_eq!((usage.status.code(), text(&usage.stdout)), (Some(2), String::new()));
}

#[test]
fn a_command_gets_a_cluster_of_three() {
    let folder = Folder::new();
    let output = script("cluster", &folder).args(["sh", "-c", "echo $NATS_URL; exit 7"]).output().unwrap();
    assert_eq!(finished(&output, &folder).len(), 3);
}

/// Starts a command that would run for ever, and reads the address of its server.
fn start(command: &mut Command) -> (Child, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    assert!(listens(&url), "{url}");
    (child, url)
}

async fn nothing_is_left(url: &str, folder: &Folder) {
    eventually("the server is gone, and its files", async || !listens(url) && is_empty(folder)).await;
}

#[tokio::test]
async fn nothing_is_left_when_the_script_is_killed() {
    for signal in [Signal::KILL, Signal::TERM] {
        let folder = Folder::new();
        let command = ["sh", "-c", "echo $NATS_URL; read -r for_ever"];
        let (mut child, url) = start(script("run", &folder).args(command));
        kill_process(Pid::from_child(&child), signal).unwrap();
        nothing_is_left(&url, &folder).await;
        child.wait().unwrap();
    }
}

#[tokio::test]
async fn nothing_is_left_when_the_parent_is_killed() {
    let folder = Folder::new();
    let run = script("run", &folder);
    let mut parent = Command::new("sh");
    parent.args(["-c", "\"$0\" sh -c 'echo $NATS_URL; read -r for_ever'; true"]).arg(run.get_program());
    parent.env("TMPDIR", &folder.0).env("NATS_SERVER_BIN", binary());
    let (mut child, url) = start(&mut parent);
    child.kill().unwrap();
    nothing_is_left(&url, &folder).await;
    child.wait().unwrap();
}

#[test]
fn an_old_server_is_refused_with_the_reason_and_a_cached_one_is_taken() {
    let folder = Folder::new();
    let (bin, cache) = (folder.0.join("bin"), folder.0.join("natslock"));
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(&cache).unwrap();
    let old = bin.join("nats-server");
    std::fs::write(&old, "#!/bin/sh\necho nats-server: v2.9.10\n").unwrap();
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
    symlink(binary(), cache.join("nats-server")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut install = script("install", &folder);
    install.env_remove("NATS_SERVER_BIN").env("PATH", path).env("XDG_CACHE_HOME", &folder.0);
    let output = install.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), format!("{}\n", cache.join("nats-server").display()));
    assert!(text(&output.stderr).contains("2.9.10"), "{}", text(&output.stderr));
}
