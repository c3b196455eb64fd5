//! Two resources that workers write to under their locks: one checks the fencing token, the other does not.
//!
//! Each lock guards a counter in both. A worker reads it, works, and writes one more than it has read; a write
//! over something that it has not read is a lost update.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// What became of the two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Writes {
    /// Writes that were taken.
    pub(super) fenced_writes: u64,
    /// Reads and writes with a token lower than the highest one seen.
    pub(super) refused_stale: u64,
    /// Lost updates where the token is checked: never.
    pub(super) fenced_damage: u64,
    /// Lost updates where it is not.
    pub(super) unfenced_damage: u64,
}

#[derive(Debug, Default)]
struct Cell {
    highest: u64,
    fenced: u64,
    unfenced: u64,
}

#[derive(Debug, Default)]
struct Cells {
    cells: HashMap<String, Cell>,
    writes: Writes,
}

impl Cells {
    /// A token that is shown is remembered at the reading, or a slow reader's update could be lost.
    fn admit(&mut self, lock: &str, token: u64) -> bool {
        let cell = self.cells.entry(lock.to_owned()).or_default();
        let fresh = token >= cell.highest;
        cell.highest = cell.highest.max(token);
        self.writes.refused_stale += u64::from(!fresh);
        fresh
    }

    /// Both counters; nothing where the token is stale.
    fn read(&mut self, lock: &str, token: u64) -> Option<(u64, u64)> {
        if !self.admit(lock, token) {
            return None;
        }
        self.cells.get(lock).map(|cell| (cell.fenced, cell.unfenced))
    }

    /// Writes one more than was read to both. The one without a fence takes everything.
    fn write(&mut self, lock: &str, token: u64, (fenced, unfenced): (u64, u64)) -> bool {
        let fresh = self.admit(lock, token);
        let (cell, writes) = (self.cells.entry(lock.to_owned()).or_default(), &mut self.writes);
        writes.unfenced_damage += u64::from(cell.unfenced != unfenced);
        cell.unfenced = unfenced + 1;
        if fresh {
            writes.fenced_damage += u64::from(cell.fenced != fenced);
            writes.fenced_writes += 1;
            cell.fenced = fenced + 1;
        }
        fresh
    }

    /// `read LOCK TOKEN` or `write LOCK TOKEN FENCED UNFENCED`.
    fn answer(&mut self, line: &str) -> Option<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| words.get(index)?.parse().ok();
        let (verb, lock, token) = (*words.first()?, *words.get(1)?, number(2)?);
        Some(match verb {
            "read" => {
                self.read(lock, token).map_or_else(|| "stale".into(), |(one, two)| format!("{one} {two}"))
            }
            _ => {
                let fresh = self.write(lock, token, (number(3)?, number(4)?));
                (if fresh { "written" } else { "stale" }).to_owned()
            }
        })
    }
}

/// Serves both to the workers of a run.
#[derive(Debug)]
pub(super) struct Register {
    pub(super) address: SocketAddr,
    cells: Arc<Mutex<Cells>>,
}

impl Register {
    pub(super) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, cells) = (listener.local_addr()?, Arc::<Mutex<Cells>>::default());
        tokio::spawn(accept(listener, Arc::clone(&cells)));
        Ok(Self { address, cells })
    }

    pub(super) fn writes(&self) -> Writes {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner).writes
    }
}

async fn accept(listener: TcpListener, cells: Arc<Mutex<Cells>>) {
    while let Ok((connection, _)) = listener.accept().await {
        let cells = Arc::clone(&cells);
        tokio::spawn(async move {
            let (read, mut write) = connection.into_split();
            let mut lines = BufReader::new(read).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let answer = cells.lock().unwrap_or_else(PoisonError::into_inner).answer(&line);
                let answer = answer.unwrap_or_else(|| "unknown".into()) + "\n";
                if write.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// A worker's way to both.
#[derive(Debug)]
pub(super) struct RegisterClient {
    lines: Lines<BufReader<OwnedReadHalf>>,
    output: OwnedWriteHalf,
}

impl RegisterClient {
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (read, output) = stream.into_split();
        Ok(Self { lines: BufReader::new(read).lines(), output })
    }

    /// Both counters; nothing where the token is stale.
    pub(super) async fn read(&mut self, lock: &str, token: u64) -> Option<(u64, u64)> {
        let answer = self.ask(&format!("read {lock} {token}\n")).await?;
        let (fenced, unfenced) = answer.split_once(' ')?;
        Some((fenced.parse().ok()?, unfenced.parse().ok()?))
    }

    /// Writes one more than was read to both.
    pub(super) async fn write(&mut self, lock: &str, token: u64, (fenced, unfenced): (u64, u64)) {
        // The register counts what it refuses.
        let _ = self.ask(&format!("write {lock} {token} {fenced} {unfenced}\n")).await;
    }

    async fn ask(&mut self, line: &str) -> Option<String> {
        self.output.write_all(line.as_bytes()).await.ok()?;
        self.lines.next_line().await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_write_damages_only_what_has_no_fence() {
        let register = Register::start().await.unwrap();
        let mut one = RegisterClient::connect(register.address).await.unwrap();
        let mut two = RegisterClient::connect(register.address).await.unwrap();
        let read = one.read("a", 5).await.unwrap();
        // The second reads what the first has not yet written, and shows its higher token by that.
        let later = two.read("a", 6).await.unwrap();
        one.write("a", 5, read).await;
        two.write("a", 6, later).await;
        assert_eq!(two.read("a", 6).await, Some((1, 1)));
        assert_eq!(one.read("a", 5).await, None);
        let writes = Writes { fenced_writes: 1, refused_stale: 2, fenced_damage: 0, unfenced_damage: 1 };
        assert_eq!(register.writes(), writes);
    }

    #[test]
    fn a_lost_update_behind_the_fence_would_be_seen() {
        let mut cells = Cells::default();
        for line in ["read a 5", "read a 5", "write a 5 0 0", "write a 5 0 0"] {
            assert!(cells.answer(line).is_some());
        }
        assert_eq!((cells.writes.fenced_damage, cells.writes.unfenced_damage), (1, 1));
        assert_eq!(cells.answer("write a five"), None);
    }
}
