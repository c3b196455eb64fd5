//! A NATS server of this process's own: it ends with the process, however that ends.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use super::error::{CommandError, Kind};
use super::keeper::{Keeper, install, temporary_folder};
use crate::clock::{SystemClock, within};

const READY: &str = "Server is ready";
const LISTENS: &str = "Listening for client connections on ";
const PORT_TAKEN: &str = "address already in use";
const START_FOR: Duration = Duration::from_secs(20);

/// A NATS server with JetStream that only this machine can reach.
pub(super) struct PrivateServer {
    url: String,
    keeper: Keeper,
    /// Nobody else may use the store meanwhile.
    _lock: Option<File>,
}

impl PrivateServer {
    /// Starts it on this port, or on another where this one is taken, and waits until it listens.
    pub(super) async fn start(port: u16, store: Option<&Path>) -> Result<Self, CommandError> {
        let program = install().await?;
        let lock = store.map(lock).transpose()?;
        // The server chooses a port for -1.
        let mut choices = [i32::from(port), -1].into_iter().filter(|port| *port != 0);
        loop {
            let port = choices.next().unwrap_or(-1);
            let folder = temporary_folder()?;
            let store = store.map_or_else(|| folder.join("store"), Path::to_owned);
            let mut keeper = Keeper::start(&folder, &program, arguments(port, &store)).await?;
            let listens = within(&SystemClock, START_FOR, ready(&mut keeper)).await.flatten();
            if let Some(address) = listens {
                return Ok(Self { url: format!("nats://{address}"), keeper, _lock: lock });
            }
            let taken = keeper.last_lines().any(|line| line.contains(PORT_TAKEN));
            let said = keeper.said();
            keeper.stop().await;
            if !taken || port == -1 {
                return Err(CommandError::new(Kind::Internal, "the NATS server does not start").hint(said));
            }
        }
    }

    /// Where it listens.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Waits for its end, and returns what it said last.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn ended(&mut self) -> String {
        self.keeper.ended().await
    }

    /// Ends it, and removes what it has stored, but for a folder that was given.
    pub(super) async fn stop(self) {
        self.keeper.stop().await;
    }
}

fn arguments(port: i32, store: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        ["--name", "natslock-dev", "--addr", "127.0.0.1", "--port"].map(OsString::from).into();
    arguments.extend([port.to_string().into(), "--jetstream".into(), "--store_dir".into(), store.into()]);
    arguments
}

/// The address that it listens on; `None` where it ends before.
async fn ready(keeper: &mut Keeper) -> Option<String> {
    let mut address = None;
    loop {
        let line = keeper.line().await?;
        if let Some((_, listens)) = line.split_once(LISTENS) {
            address = Some(listens.trim().to_owned());
        }
        if line.contains(READY) {
            return address;
        }
    }
}

/// Two servers would ruin each other's store.
fn lock(store: &Path) -> Result<File, CommandError> {
    let failed = |error| {
        let message = format!("cannot use the folder {}: {error}", store.display());
        CommandError::new(Kind::Usage, message)
    };
    std::fs::create_dir_all(store).map_err(failed)?;
    let file = File::create(store.join("natslock-dev.lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(failed(error)),
        Err(TryLockError::WouldBlock) => {
            let message = format!("another natslock dev uses the folder {}", store.display());
            Err(CommandError::new(Kind::Usage, message))
        }
    }
}
