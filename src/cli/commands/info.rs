//! `natslock info`

use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::output::BOLD;
use crate::cli::text::tame;
use crate::wire::info::{Info, Leader};
use crate::wire::reply::Answer;
use crate::wire::subject::Verb;

pub(in crate::cli) async fn run(context: &Context) -> Result<(), CommandError> {
    let session = context.open("info").await?;
    let Some(answered) = session.answer(Verb::Info, session.caller().info()).await? else { return Ok(()) };
    if let Answer::Info(info) = answered.answer {
        show(&info, context)?;
    }
    Ok(())
}

fn show(info: &Info, context: &Context) -> Result<(), CommandError> {
    let output = context.output;
    output.line(format_args!("{BOLD}namespace {}{BOLD:#}", info.namespace.as_str()))?;
    output.fields([
        ("coordinator", format!("natslock {}, protocol {}", tame(&info.version), info.protocol)),
        ("server", format!("nats-server {}", tame(&info.server_version))),
        ("shards", info.shards.to_string()),
        ("highest token", info.highest_token.to_string()),
    ])?;
    output.line("")?;
    output.table(["shard", "leader", "host", "process", "epoch"], info.leaders.iter().map(leader))?;
    output.line("")?;
    let limits = info.limits.iter().map(|(name, limit)| [tame(name), limit.to_string()]);
    output.table(["limit", ""], limits)
}

fn leader(leader: &Leader) -> [String; 5] {
    [
        leader.shard.to_string(),
        leader.coordinator.to_string(),
        tame(&leader.host),
        leader.pid.to_string(),
        leader.epoch.to_string(),
    ]
}
