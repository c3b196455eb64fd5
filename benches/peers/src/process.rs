//! Servers as private processes: on a free port of 127.0.0.1, with a folder of their own, and gone with this
//! process, however it ends.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::Result;

/// Waits for the end of its input, which is the end of this process; then it ends the program and removes the
/// folder.
const KEEPER: &str = r#"
folder=$1
shift
"$@" </dev/null >"$folder/log" 2>&1 &
program=$!
trap '' HUP INT TERM
read -r _
kill -s KILL "$program"
wait "$program"
rm -rf "$folder"
"#;

const START_FOR: Duration = Duration::from_secs(40);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A program that ends with this value.
pub struct Process {
    keeper: Child,
    input: Option<ChildStdin>,
}

/// Who runs a program.
#[derive(Clone, Copy)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

impl Process {
    /// Starts it; its log is `log` in the folder.
    pub fn start(
        folder: &Path,
        program: impl AsRef<OsStr>,
        arguments: &[&str],
        user: Option<User>,
    ) -> Result<Self> {
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(folder).arg(program).args(arguments);
        keeper.current_dir(folder).process_group(0).stdin(Stdio::piped()).stderr(Stdio::null());
        if let Some(user) = user {
            keeper.uid(user.uid).gid(user.gid);
        }
        let mut keeper = keeper.spawn()?;
        let input = keeper.stdin.take();
        Ok(Self { keeper, input })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        // It is gone in any case, at the latest with this process.
        let _ = self.keeper.wait();
    }
}

/// A new folder below the temporary one.
pub fn folder(name: &str, owner: Option<User>) -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("natslock-peers-{}-{number}-{name}", std::process::id()));
    std::fs::create_dir(&path)?;
    if let Some(owner) = owner {
        chown(&path, Some(owner.uid), Some(owner.gid))?;
    }
    Ok(path)
}

/// A port that is free now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Tries something until it succeeds.
pub async fn eventually<V>(what: &str, mut attempt: impl AsyncFnMut() -> Result<V>) -> Result<V> {
    let until = Instant::now() + START_FOR;
    loop {
        match attempt().await {
            Err(error) if Instant::now() > until => return Err(format!("{what}: {error}").into()),
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            done => return done,
        }
    }
}
