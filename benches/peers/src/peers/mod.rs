//! What is compared: one file each, with the lock's protocol written out.

mod etcd;
mod kv;
mod natslock;
mod postgres;
mod redis;
mod zookeeper;

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, LocalBoxFuture};

use crate::Result;
use crate::race::{Owner, Workload, run};
use crate::stats::Sample;

pub use self::natslock::coordinator;

/// Owners share so many connections, where the service lets them: as many as there might be processes.
const CONNECTIONS: usize = 4;

/// What an answer has survived when it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Memory only.
    Memory,
    /// The page cache: a crash of the process, not of the machine.
    PageCache,
    /// The disk.
    Fsync,
}

/// Something with owners that can take part.
pub trait Contestant: Send {
    fn class(&self) -> Class;
    fn name(&self) -> &'static str;
    fn run(&mut self, workload: Workload, span: Duration) -> BoxFuture<'_, Result<Sample>>;
}

/// The owners, and whatever has to live as long as they do.
struct Entry<O, S> {
    class: Class,
    name: &'static str,
    owners: Vec<O>,
    _site: S,
}

impl<O: Owner, S: Send> Contestant for Entry<O, S> {
    fn class(&self) -> Class {
        self.class
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&mut self, workload: Workload, span: Duration) -> BoxFuture<'_, Result<Sample>> {
        run(workload, &mut self.owners, span).boxed()
    }
}

type Started = Result<Box<dyn Contestant>>;

/// Starts one of them.
pub type Start = fn() -> LocalBoxFuture<'static, Started>;

/// All of them, each with the word that chooses it.
pub const ALL: [(&str, Start); 13] = [
    ("natslock", || natslock::start(Class::PageCache, false).boxed_local()),
    ("natslock-detached", || natslock::start(Class::PageCache, true).boxed_local()),
    ("kv", || kv::start().boxed_local()),
    ("redis-memory", || redis::start(Class::Memory).boxed_local()),
    ("redis-everysec", || redis::start(Class::PageCache).boxed_local()),
    ("postgres", || postgres::start().boxed_local()),
    ("etcd-nosync", || etcd::start(Class::PageCache).boxed_local()),
    ("zookeeper-nosync", || zookeeper::start(Class::PageCache).boxed_local()),
    ("natslock-sync", || natslock::start(Class::Fsync, false).boxed_local()),
    ("natslock-sync-detached", || natslock::start(Class::Fsync, true).boxed_local()),
    ("redis-always", || redis::start(Class::Fsync).boxed_local()),
    ("etcd", || etcd::start(Class::Fsync).boxed_local()),
    ("zookeeper", || zookeeper::start(Class::Fsync).boxed_local()),
];
