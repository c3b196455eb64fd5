//! What the lock protects, and what makes it safe: a table that refuses tokens lower than the highest it has
//! seen, and a log of who did what when.

use std::path::Path;
use std::time::Duration;

use natslock::types::{Timestamp, Token};
use rusqlite::{Connection, OptionalExtension as _, Result, TransactionBehavior, params};

const SCHEMA: &str = "
    PRAGMA journal_mode = wal;
    PRAGMA synchronous = normal;
    CREATE TABLE IF NOT EXISTS orders (name TEXT PRIMARY KEY, token INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, name TEXT NOT NULL, what TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS log (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL, worker TEXT NOT NULL, token INTEGER NOT NULL,
        began INTEGER NOT NULL, ended INTEGER, outcome TEXT);
";

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Written.
    Handled,
    /// It had been written before: the message was delivered once more.
    Repeated,
    /// Refused: a later holder of the lock has written already.
    Stale,
}

/// An event as it was delivered.
pub(crate) struct Event<'a> {
    /// Its number in the stream.
    pub(crate) number: u64,
    pub(crate) order: &'a str,
    pub(crate) what: &'a str,
}

pub(crate) struct Database(Connection);

impl Database {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(connection))
    }

    /// The fenced write, in one transaction: the order's row takes a token as high as any before, or nothing is
    /// written at all.
    pub(crate) fn handle(&mut self, event: &Event<'_>, token: Token) -> Result<Outcome> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let accepted = transaction.execute(
            "INSERT INTO orders (name, token) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET token = ?2 WHERE ?2 >= token",
            params![event.order, signed(token.get())],
        )?;
        if accepted == 0 {
            return Ok(Outcome::Stale);
        }
        let new = transaction.execute(
            "INSERT OR IGNORE INTO events (number, name, what) VALUES (?1, ?2, ?3)",
            params![signed(event.number), event.order, event.what],
        )?;
        transaction.commit()?;
        Ok(if new == 1 { Outcome::Handled } else { Outcome::Repeated })
    }

    /// A worker has got the lock.
    pub(crate) fn begin(&self, order: &str, worker: &str, token: Token, at: Timestamp) -> Result<i64> {
        self.0.execute(
            "INSERT INTO log (name, worker, token, began) VALUES (?1, ?2, ?3, ?4)",
            params![order, worker, signed(token.get()), nanos(at)],
        )?;
        Ok(self.0.last_insert_rowid())
    }

    /// From here on the worker does not believe any more that it has the lock.
    pub(crate) fn end(&self, begun: i64, at: Timestamp, outcome: Outcome) -> Result<()> {
        let outcome = format!("{outcome:?}");
        let end = "UPDATE log SET ended = ?2, outcome = ?3 WHERE number = ?1";
        self.0.execute(end, params![begun, nanos(at), outcome]).map(|_| ())
    }

    /// What the worker has begun and not ended: the entry in the log, the order, and the token.
    pub(crate) fn busy(&self, worker: &str) -> Result<Option<(i64, String, i64)>> {
        let select = "SELECT number, name, token FROM log WHERE worker = ?1 AND ended IS NULL";
        self.0.query_row(select, [worker], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()
    }

    /// The worker was dead by then.
    pub(crate) fn bury(&self, worker: &str, at: Timestamp) -> Result<usize> {
        let end = "UPDATE log SET ended = ?2, outcome = 'Killed' WHERE worker = ?1 AND ended IS NULL";
        self.0.execute(end, params![worker, nanos(at)])
    }

    pub(crate) fn highest_token(&self, order: &str) -> Result<i64> {
        self.count(&format!("SELECT coalesce(max(token), 0) FROM orders WHERE name = '{order}'"))
    }

    pub(crate) fn events(&self) -> Result<i64> {
        self.count("SELECT count(*) FROM events")
    }

    pub(crate) fn outcomes(&self, outcome: &str) -> Result<i64> {
        self.count(&format!("SELECT count(*) FROM log WHERE outcome = '{outcome}'"))
    }

    /// Pairs of workers that had the same order at the same time.
    pub(crate) fn overlaps(&self) -> Result<i64> {
        self.count(
            "SELECT count(*) FROM log AS a JOIN log AS b ON a.name = b.name AND a.token < b.token
             WHERE a.ended IS NULL OR a.ended > b.began",
        )
    }

    fn count(&self, select: &str) -> Result<i64> {
        self.0.query_row(select, [], |row| row.get(0))
    }
}

/// SQLite's integers have 63 bits and a sign; tokens have 53.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.since_boot().as_nanos()).unwrap_or(i64::MAX)
}
