//! `natslock top`

use std::time::Duration;

use super::list::{Prefix, beginning};
use crate::cli::error::{CommandError, Kind};
use crate::cli::output::Output;
use crate::cli::{Context, duration, top};

/// Watch the busiest locks, who holds them and who waits, in a view that is kept up to date
#[derive(Debug, clap::Args)]
pub(crate) struct Top {
    /// Only locks whose names begin so; the totals are always those of all
    #[arg(default_value = "", hide_default_value = true, value_parser = beginning)]
    prefix: Prefix,
    /// Ask so often
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::every)]
    every: Duration,
    /// Begin in this order
    #[arg(long, value_name = "ORDER", value_enum, default_value_t)]
    sort: top::Sort,
}

pub(in crate::cli) async fn run(top: Top, context: &Context) -> Result<(), CommandError> {
    if context.output.json || !Output::is_terminal() {
        let what = if context.output.json { "top shows no JSON" } else { "top needs a terminal" };
        return Err(CommandError::new(Kind::Usage, what).hint("use natslock stats --watch"));
    }
    let session = context.open("top").await?;
    let settings = top::Settings {
        namespace: context.global.namespace.clone(),
        owner: context.owner(),
        colours: Output::has_colour(),
        filter: top.prefix,
        every: top.every,
        sort: top.sort,
    };
    top::run(&session, settings).await
}
