//! What an operation costs, by the counters of the connections, the NATS servers, the stream and the kernel.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::figure::Cost;

/// Everything that is counted, at one moment. What cannot be counted is not in it.
pub(super) type Counters = BTreeMap<Cost, u64>;

/// What the monitoring of a NATS server counts.
#[derive(Debug, Deserialize)]
struct Varz {
    in_msgs: u64,
    out_msgs: u64,
}

/// What one of so many operations took.
pub(super) fn per_operation(
    before: &Counters,
    after: &Counters,
    operations: u64,
) -> impl Iterator<Item = (Cost, f64)> {
    let took = before.iter().filter_map(move |(cost, before)| {
        let took = after.get(cost)?.checked_sub(*before)?;
        (operations > 0).then(|| (*cost, took as f64 / operations as f64))
    });
    took.collect::<Vec<_>>().into_iter()
}

/// Messages that these servers have received and sent; nothing where one does not tell.
pub(super) async fn messages(monitors: &[SocketAddr]) -> Option<(u64, u64)> {
    let (mut received, mut sent) = (0, 0);
    for monitor in monitors {
        let varz = varz(*monitor).await?;
        (received, sent) = (received + varz.in_msgs, sent + varz.out_msgs);
    }
    (!monitors.is_empty()).then_some((received, sent))
}

async fn varz(monitor: SocketAddr) -> Option<Varz> {
    let mut stream = TcpStream::connect(monitor).await.ok()?;
    stream.write_all(b"GET /varz HTTP/1.0\r\n\r\n").await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let body = answer.windows(4).position(|part| part == b"\r\n\r\n")?;
    serde_json::from_slice(&answer[body + 4..]).ok()
}

/// The processor time of a process with all its threads, in microseconds; nothing where the system has no
/// `/proc` for it.
pub(super) fn processor_time(pid: u32) -> Option<u64> {
    let tasks = std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task")).ok()?;
    let times = tasks.flatten().filter_map(|task| {
        let schedstat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        schedstat.split_whitespace().next()?.parse::<u64>().ok()
    });
    Some(times.sum::<u64>() / 1_000)
}

/// The memory that a process has in use, in bytes; nothing where the system has no `/proc` for it.
pub(super) fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_twice_is_told_by_operation() {
        let before = Counters::from([(Cost::Writes, 10), (Cost::ServerSent, 5), (Cost::ClientCpu, 7)]);
        let after = Counters::from([(Cost::Writes, 30), (Cost::ClientMessages, 5), (Cost::ClientCpu, 6)]);
        let costs: Vec<_> = per_operation(&before, &after, 10).collect();
        assert_eq!(costs, [(Cost::Writes, 2.0)]);
        assert_eq!(per_operation(&before, &after, 0).count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_used_a_processor() {
        assert!(processor_time(std::process::id()).is_some_and(|micros| micros > 0));
        assert!(resident(std::process::id()).is_some_and(|bytes| bytes > 100_000));
        assert_eq!((processor_time(u32::MAX), resident(u32::MAX)), (None, None));
    }
}
