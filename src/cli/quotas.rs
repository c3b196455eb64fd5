//! What a coordinator allows each owner.

use std::num::NonZeroU32;

use crate::engine::Limits;
use crate::service::Config;

/// How much of the shard one owner may use.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Quotas {
    /// Let each owner send at most so many requests a second [default: as many as it likes]
    #[arg(long, env = "NATSLOCK_OWNER_RATE", hide_env_values = true, value_name = "N")]
    owner_rate: Option<NonZeroU32>,
    /// Let each owner have at most so many leases and waiting requests at a time
    #[arg(
        long,
        env = "NATSLOCK_OWNER_LEASES",
        hide_env_values = true,
        value_name = "N",
        default_value_t = Limits::default().leases_per_owner_max
    )]
    owner_leases: usize,
    /// Let each owner wait at most so many times at once, in all queues together
    #[arg(
        long,
        env = "NATSLOCK_OWNER_WAITERS",
        hide_env_values = true,
        value_name = "N",
        default_value_t = Limits::default().waiters_per_owner_max
    )]
    owner_waiters: usize,
    /// Let each owner use at most so many names at a time; one that it gives back counts for two minutes more
    #[arg(
        long,
        env = "NATSLOCK_OWNER_NAMES",
        hide_env_values = true,
        value_name = "N",
        default_value_t = Limits::default().names_per_owner_max
    )]
    owner_names: usize,
}

impl Quotas {
    /// The same with these quotas.
    pub(in crate::cli) fn apply(&self, config: Config) -> Config {
        let limits = Limits {
            leases_per_owner_max: self.owner_leases,
            waiters_per_owner_max: self.owner_waiters,
            names_per_owner_max: self.owner_names,
            ..config.limits.clone()
        };
        config.owner_rate(self.owner_rate).limits(limits)
    }
}
