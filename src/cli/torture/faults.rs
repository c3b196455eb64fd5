//! What is done to a site, one round of it at a time.

use std::time::Duration;

use clap::ValueEnum;
use rustix::process::Signal;

use super::disk;
use super::event::now;
use super::nodes::NODES;
use super::proxy::{Direction, Way};
use super::recreate;
use super::site::{HOT, Site, pause};
use super::worker::Role;
use crate::cli::error::{CommandError, Kind};
use crate::types::CoordinatorId;

/// How long a server stands still: longer than an election.
const SERVER_STOP: Duration = Duration::from_secs(15);
/// How much later everything arrives on a slow way.
const DELAY: Duration = Duration::from_millis(150);
const DELAY_FOR: Duration = Duration::from_secs(10);
const CUT_EVERY: Duration = Duration::from_secs(2);
const CUTS: u32 = 5;
/// How long a killed worker stays away, beyond its lease.
const AWAY: Duration = Duration::from_secs(1);

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Fault {
    /// Nothing: how the load is by itself
    Calm,
    /// kill -9 of the leading coordinator
    KillLeader,
    /// SIGTERM of the leading coordinator
    TermLeader,
    /// SIGSTOP of the leading coordinator for three leadership leases
    StopLeader,
    /// kill -9 of a coordinator that stands by
    KillStandby,
    /// SIGSTOP of a coordinator that stands by, for three leadership leases
    StopStandby,
    /// kill -9 of a process that holds a contended lock
    KillHolder,
    /// SIGSTOP of a process that holds a contended lock, for three of its leases
    StopHolder,
    /// kill -9 of a process that waits for a contended lock
    KillWaiter,
    /// SIGSTOP of a process that waits for a contended lock, for three of its leases
    StopWaiter,
    /// kill -9 of the nats-server that leads the stream
    KillStreamLeader,
    /// SIGSTOP of the nats-server that leads the stream, for 15 s
    StopStreamLeader,
    /// kill -9 of a nats-server that follows
    KillFollower,
    /// SIGSTOP of a nats-server that follows, for 15 s
    StopFollower,
    /// Nothing from the leading coordinator reaches a server, for a leadership lease and 3 s
    MuteLeader,
    /// Nothing from any server reaches the leading coordinator, for a leadership lease and 3 s
    DeafLeader,
    /// Nothing from the contenders reaches a server, for two of their leases
    MuteClients,
    /// Nothing from any server reaches the contenders, for two of their leases
    DeafClients,
    /// Everything from all processes to the servers arrives 150 ms later, for 10 s
    SlowUp,
    /// Everything from the servers to all processes arrives 150 ms later, for 10 s
    SlowDown,
    /// All connections are cut every 2 s, five times
    CutConnections,
    /// SIGTERM and restart of one nats-server after another
    RollingRestart,
    /// kill -9 and restart of all nats-servers
    KillServers,
    /// No space is left on the disk of one nats-server, then on the disks of all (needs root)
    FullDisk,
    /// The bucket is deleted and made again
    RecreateBucket,
    /// One of those above but for the last two, drawn by lot each time
    Mixed,
}

impl Fault {
    /// All there is.
    pub(in crate::cli) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// As it is typed.
    pub(in crate::cli) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Any that a site lives through.
    fn by_lot() -> Self {
        let all = Self::value_variants();
        let fit = |fault: &&Self| !matches!(fault, Self::FullDisk | Self::RecreateBucket | Self::Mixed);
        let fit: Vec<_> = all.iter().filter(fit).collect();
        let lot = usize::try_from(CoordinatorId::random().0 % fit.len() as u64).unwrap_or(0);
        tracing::info!(fault = fit[lot].name(), "by lot");
        *fit[lot]
    }

    /// Does it once, and mends it. Returns how long it took until locks were granted again; nothing where they
    /// never were.
    pub(super) async fn round(self, site: &mut Site, round: u32) -> Result<Option<Duration>, CommandError> {
        let (lease, ttl) = (site.times.leader_lease, site.times.ttl);
        match self {
            Self::Calm => Ok(any(site, now()).await),
            Self::KillLeader => end_coordinator(site, Leads::Yes, Signal::KILL).await,
            Self::TermLeader => end_coordinator(site, Leads::Yes, Signal::TERM).await,
            Self::KillStandby => end_coordinator(site, Leads::No, Signal::KILL).await,
            Self::StopLeader => stop_coordinator(site, Leads::Yes, lease * 3).await,
            Self::StopStandby => stop_coordinator(site, Leads::No, lease * 3).await,
            Self::KillHolder | Self::KillWaiter => {
                kill_contender(site, self == Self::KillHolder, round).await
            }
            Self::StopHolder | Self::StopWaiter => {
                stop_contender(site, self == Self::StopHolder, round, ttl * 3).await
            }
            Self::KillStreamLeader => kill_server(site, Leads::Yes).await,
            Self::KillFollower => kill_server(site, Leads::No).await,
            Self::StopStreamLeader => stop_server(site, Leads::Yes).await,
            Self::StopFollower => stop_server(site, Leads::No).await,
            Self::MuteLeader => hold_leader(site, Direction::Up, lease + Duration::from_secs(3)).await,
            Self::DeafLeader => hold_leader(site, Direction::Down, lease + Duration::from_secs(3)).await,
            Self::MuteClients => hold_clients(site, Direction::Up, ttl * 2).await,
            Self::DeafClients => hold_clients(site, Direction::Down, ttl * 2).await,
            Self::SlowUp => slow(site, Direction::Up).await,
            Self::SlowDown => slow(site, Direction::Down).await,
            Self::CutConnections => cut_connections(site).await,
            Self::RollingRestart => rolling_restart(site).await,
            Self::KillServers => kill_servers(site).await,
            Self::FullDisk => disk::fill(site, round).await,
            Self::RecreateBucket => recreate::recreate(site).await,
            Self::Mixed => Box::pin(Self::by_lot().round(site, round)).await,
        }
    }
}

/// Whether the one that leads is meant, or one that does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leads {
    Yes,
    No,
}

impl Leads {
    fn choose(self, leader: usize, count: usize) -> usize {
        match self {
            Self::Yes => leader,
            Self::No => (leader + 1) % count,
        }
    }
}

/// How long after `at` the first lock was granted, of those that were asked for since.
pub(super) async fn any(site: &Site, at: u64) -> Option<Duration> {
    let mut granted = None;
    site.eventually(async |site: &Site| {
        granted = site.history().granted("", at);
        granted.is_some()
    })
    .await;
    granted.map(|granted| Duration::from_nanos(granted - at))
}

/// How long after `at` this lock was granted.
async fn next(site: &Site, lock: &str, at: u64) -> Option<Duration> {
    let mut granted = None;
    site.eventually(async |site: &Site| {
        granted = site.history().next_granted(lock, at);
        granted.is_some()
    })
    .await;
    granted.map(|granted| Duration::from_nanos(granted - at))
}

fn nobody(what: &str) -> CommandError {
    CommandError::new(Kind::Internal, format!("there is no {what} to be found"))
}

async fn coordinator(site: &Site, leads: Leads) -> Result<usize, CommandError> {
    let mut leader = None;
    site.eventually(async |site: &Site| {
        leader = site.leader().await;
        leader.is_some()
    })
    .await;
    let leader = leader.ok_or_else(|| nobody("leading coordinator"))?;
    Ok(leads.choose(leader, site.coordinators.len()))
}

async fn server(site: &Site, leads: Leads) -> Result<usize, CommandError> {
    let mut leader = None;
    site.eventually(async |site: &Site| {
        leader = site.stream_leader().await;
        leader.is_some()
    })
    .await;
    let leader = leader.ok_or_else(|| nobody("leader of the stream"))?;
    Ok(leads.choose(leader, NODES))
}

async fn end_coordinator(
    site: &mut Site,
    leads: Leads,
    signal: Signal,
) -> Result<Option<Duration>, CommandError> {
    let index = coordinator(site, leads).await?;
    let at = now();
    site.end_coordinator(index, signal).await;
    let recovered = any(site, at).await;
    site.start_coordinator(index).await?;
    Ok(recovered)
}

async fn stop_coordinator(
    site: &Site,
    leads: Leads,
    span: Duration,
) -> Result<Option<Duration>, CommandError> {
    let index = coordinator(site, leads).await?;
    let Some(process) = &site.coordinators[index].process else { return Err(nobody("coordinator")) };
    let at = now();
    process.stop().await;
    pause(span).await;
    process.signal(Signal::CONT);
    Ok(any(site, at).await)
}

/// The lock of a round, and a contender that holds it or waits for it.
async fn contender(site: &Site, holds: bool, round: u32) -> Result<(String, usize), CommandError> {
    let lock = format!("hot.{}", round as usize % HOT);
    let (holder, waiter) = site.contenders(&lock).await.ok_or_else(|| nobody("holder"))?;
    Ok((lock, if holds { holder } else { waiter }))
}

async fn kill_contender(site: &mut Site, holds: bool, round: u32) -> Result<Option<Duration>, CommandError> {
    let (lock, index) = contender(site, holds, round).await?;
    let (at, away) = (now(), site.times.ttl + AWAY);
    site.replace_worker(index, away).await?;
    Ok(next(site, &lock, at).await)
}

async fn stop_contender(
    site: &Site,
    holds: bool,
    round: u32,
    span: Duration,
) -> Result<Option<Duration>, CommandError> {
    let (lock, index) = contender(site, holds, round).await?;
    let at = now();
    site.stop_worker(index, span).await;
    Ok(next(site, &lock, at).await)
}

async fn kill_server(site: &mut Site, leads: Leads) -> Result<Option<Duration>, CommandError> {
    let index = server(site, leads).await?;
    let at = now();
    site.nodes.end(index, Signal::KILL).await;
    let recovered = any(site, at).await;
    site.nodes.resume(index).await?;
    Ok(recovered)
}

async fn stop_server(site: &Site, leads: Leads) -> Result<Option<Duration>, CommandError> {
    let index = server(site, leads).await?;
    let at = now();
    site.nodes.stop(index).await;
    pause(SERVER_STOP).await;
    site.nodes.cont(index);
    Ok(any(site, at).await)
}

async fn hold_leader(
    site: &Site,
    direction: Direction,
    span: Duration,
) -> Result<Option<Duration>, CommandError> {
    let index = coordinator(site, Leads::Yes).await?;
    let links = &site.coordinators[index].links;
    let at = now();
    links.set(direction, Way { held: true, delay: Duration::ZERO });
    pause(span).await;
    links.set(direction, Way::default());
    Ok(any(site, at).await)
}

async fn hold_clients(
    site: &Site,
    direction: Direction,
    span: Duration,
) -> Result<Option<Duration>, CommandError> {
    let contenders = || site.workers.iter().filter(|worker| worker.role == Role::Contend);
    let at = now();
    contenders().for_each(|worker| worker.links.set(direction, Way { held: true, delay: Duration::ZERO }));
    pause(span).await;
    contenders().for_each(|worker| worker.links.set(direction, Way::default()));
    contenders().for_each(|worker| site.history().disturbed(worker.id, at, now()));
    Ok(next(site, "hot.0", now()).await)
}

fn all_links(site: &Site) -> impl Iterator<Item = &super::site::Links> {
    let workers = site.workers.iter().map(|worker| &worker.links);
    site.coordinators.iter().map(|coordinator| &coordinator.links).chain(workers)
}

async fn slow(site: &Site, direction: Direction) -> Result<Option<Duration>, CommandError> {
    let at = now();
    all_links(site).for_each(|links| links.set(direction, Way { held: false, delay: DELAY }));
    pause(DELAY_FOR).await;
    all_links(site).for_each(|links| links.set(direction, Way::default()));
    Ok(any(site, at).await)
}

async fn cut_connections(site: &Site) -> Result<Option<Duration>, CommandError> {
    let mut at = now();
    for _ in 0..CUTS {
        at = now();
        all_links(site).for_each(super::site::Links::cut);
        pause(CUT_EVERY).await;
    }
    Ok(any(site, at).await)
}

async fn rolling_restart(site: &mut Site) -> Result<Option<Duration>, CommandError> {
    let at = now();
    for index in 0..NODES {
        site.nodes.end(index, Signal::TERM).await;
        site.nodes.resume(index).await?;
        if !site.is_whole().await {
            return Ok(None);
        }
    }
    Ok(any(site, at).await)
}

async fn kill_servers(site: &mut Site) -> Result<Option<Duration>, CommandError> {
    let at = now();
    site.nodes.kill_all().await;
    for index in 0..NODES {
        site.nodes.resume(index).await?;
    }
    Ok(any(site, at).await)
}
