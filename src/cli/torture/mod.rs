//! Faults on real processes: three nats-servers, three coordinators and clients in several processes, all on
//! this machine and private to the run; one kind of fault at a time; and a judge over what every client
//! believed when. All clocks are one clock, so the judge is exact.

mod checker;
mod disk;
mod event;
mod faults;
mod history;
mod nodes;
mod process;
mod proxy;
mod recreate;
mod register;
mod report;
mod site;
mod worker;

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::event::now;
use self::report::Notes;
use self::site::{PATIENCE, Site, Times, pause};
use super::error::CommandError;
use crate::types::CoordinatorId;

pub(super) use self::faults::Fault;
pub(super) use self::report::Report;
pub(super) use self::worker::{Worker, run as run_worker};

/// The load goes on for so long between two rounds.
const BETWEEN: Duration = Duration::from_millis(1_500);

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) leader_lease: Duration,
    /// The lease time of contended locks.
    pub(super) ttl: Duration,
    /// Rounds go on until so long after the first.
    pub(super) span: Duration,
    /// And until there were so many.
    pub(super) rounds: u32,
    /// Keep the logs in any case.
    pub(super) keep_logs: bool,
}

/// Runs one kind of fault against a site of its own.
pub(super) async fn run(fault: Fault, plan: Plan) -> Result<Report, CommandError> {
    if fault == Fault::FullDisk && !disk::is_apart() {
        return disk::run_apart(fault.name(), plan).await;
    }
    let mut folder = Folder::new()?;
    let done = run_in(&folder.path, fault, plan).await;
    // The logs of a run that went as it should are of no use.
    folder.keep = plan.keep_logs || done.as_ref().map_or(true, |report| report.violations() > 0);
    if folder.keep {
        tracing::warn!(folder = %folder.path.display(), "the logs are kept");
    } else if fault == Fault::FullDisk {
        disk::unmount(&folder.path).await;
    }
    done
}

/// A folder of a run's own, for what all processes store and tell.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn new() -> Result<Self, CommandError> {
        // Any random number will do.
        let path = std::env::temp_dir().join(format!("natslock-torture-{}", CoordinatorId::random()));
        let made = std::fs::create_dir_all(&path);
        made.map_err(|error| CommandError::internal(format!("cannot make {}", path.display()), error))?;
        Ok(Self { path, keep: false })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // Whatever cannot be removed is in a temporary place.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

async fn run_in(folder: &Path, fault: Fault, plan: Plan) -> Result<Report, CommandError> {
    if fault == Fault::FullDisk {
        disk::mount(folder).await?;
    }
    let Plan { leader_lease, ttl, .. } = plan;
    let times = Times { leader_lease, ttl, long_ttl: checker::SAFE_TTL };
    let mut site = Site::start(folder, times).await?;
    let mut notes = Notes { began: now(), ..Notes::default() };
    let mut round = 0;
    while round < plan.rounds || Duration::from_nanos(now() - notes.began) < plan.span {
        pause(BETWEEN).await;
        match fault.round(&mut site, round).await? {
            Some(recovery) => notes.recoveries.push(recovery),
            None => notes.violations.push(format!("round {round}: no grant in {PATIENCE:?}")),
        }
        if !site.is_whole().await {
            notes.violations.push(format!("round {round}: not whole again after {PATIENCE:?}"));
            break;
        }
        round += 1;
    }
    let healed = now();
    if !site.eventually(async |site: &Site| site.all_go_on(healed)).await {
        notes.violations.push(format!("a lock was not granted in {PATIENCE:?} after all was mended"));
    }
    notes.ended = now();
    notes.violations.append(&mut site.violations);
    let writes = site.register.writes();
    let history = site.end().await;
    Ok(Report::new(fault.name(), notes, &history, writes))
}
