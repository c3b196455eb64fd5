//! `natslock admin`

mod lock;
mod recover;
mod release;
mod shard;

use crate::cli::Context;
use crate::cli::commands::permissions::{self, Permissions};
use crate::cli::error::CommandError;

/// Do what only an administrator should
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Admin {
    Release(release::Release),
    Recover(recover::Recover),
    Permissions(Permissions),
}

pub(in crate::cli) async fn run(admin: Admin, context: &Context) -> Result<(), CommandError> {
    match admin {
        Admin::Release(release) => release::run(release, context).await,
        Admin::Recover(recover) => recover::run(recover, context).await,
        Admin::Permissions(asked) => permissions::run(asked, context),
    }
}
