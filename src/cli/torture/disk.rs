//! Servers whose disks are full: each on a small tmpfs, in a mount namespace of this run's own, so that nothing
//! is left mounted.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Command;

use super::Plan;
use super::event::now;
use super::faults::any;
use super::nodes::{NODES, node_name};
use super::report::Report;
use super::site::{Site, pause};
use crate::cli::error::{CommandError, Kind};

/// Set where the process has mounts of its own.
const APART: &str = "NATSLOCK_TORTURE_APART";
const SIZE: &str = "size=48m";
const FULL_FOR: Duration = Duration::from_secs(8);
const FILLER: &str = "filler";

/// True where this process has mounts of its own.
pub(super) fn is_apart() -> bool {
    std::env::var_os(APART).is_some()
}

/// Runs the same in a process with mounts of its own, where the system allows that.
pub(super) async fn run_apart(fault: String, plan: Plan) -> Result<Report, CommandError> {
    if let Some(why) = refusal().await {
        return Ok(Report::not_run(fault, format!("needs root, to mount a small file system: {why}")));
    }
    let ms = |span: Duration| format!("{}ms", span.as_millis());
    let Plan { leader_lease, ttl, span, rounds, keep_logs } = plan;
    let mut command = Command::new("unshare");
    command.arg("--mount").arg(std::env::current_exe().unwrap_or_default());
    command.args(["torture", &fault, "--json", "--for", &ms(span), "--rounds", &rounds.to_string()]);
    command.args(["--leader-lease", &ms(leader_lease), "--ttl", &ms(ttl)]).env(APART, "1");
    command.args(keep_logs.then_some("--keep-logs"));
    command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = command.output().await;
    let output = output.map_err(|error| CommandError::internal("cannot start unshare", error))?;
    let first = output.stdout.split(|byte| *byte == b'\n').next().and_then(Report::from_json);
    first.ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        CommandError::new(Kind::Internal, format!("no report of {fault}: {said}"))
    })
}

/// Why no file system can be mounted here; nothing where it can.
async fn refusal() -> Option<String> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]).stdin(Stdio::null());
    match command.output().await {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

/// Mounts a small file system for each server.
pub(super) async fn mount(folder: &Path) -> Result<(), CommandError> {
    for index in 0..NODES {
        let home = folder.join(node_name(index));
        let failed = |error| CommandError::internal("cannot mount a tmpfs", error);
        std::fs::create_dir_all(&home).map_err(failed)?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(&home).stdin(Stdio::null());
        let output = command.output().await.map_err(failed)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(CommandError::internal("cannot mount a tmpfs", said));
        }
    }
    Ok(())
}

/// Takes them away again.
pub(super) async fn unmount(folder: &Path) {
    for index in 0..NODES {
        // If that fails they go with this process; only an empty folder is left.
        let _ = Command::new("umount").arg("--lazy").arg(folder.join(node_name(index))).status().await;
    }
}

/// Fills the disk of the stream's leader, or those of all servers in every second round. A server that has met a
/// full disk has to be started again.
pub(super) async fn fill(site: &mut Site, round: u32) -> Result<Option<Duration>, CommandError> {
    let leader = site.stream_leader().await.unwrap_or(0);
    let full: Vec<usize> = if round % 2 == 1 { (0..NODES).collect() } else { vec![leader] };
    for index in &full {
        fill_up(&site.nodes.folder(*index));
    }
    let mut at = now();
    pause(FULL_FOR).await;
    if full.len() == NODES {
        at = now();
    }
    for index in full {
        // Where it was not made, nothing is to be removed.
        let _ = std::fs::remove_file(site.nodes.folder(index).join(FILLER));
        site.nodes.end(index, Signal::TERM).await;
        site.nodes.resume(index).await?;
    }
    Ok(any(site, at).await)
}

/// Writes until nothing more can be written.
fn fill_up(folder: &Path) {
    let Ok(mut file) = File::create(folder.join(FILLER)) else { return };
    for size in [1 << 20, 1 << 12, 1] {
        let zeros = vec![0; size];
        while file.write_all(&zeros).is_ok() {}
    }
}
