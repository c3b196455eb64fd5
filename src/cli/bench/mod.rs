//! The parts of `natslock bench`: what is run, what it costs, and how that is told.
//!
//! Times of one machine say little about another, so everything is told beside what NATS itself takes in the same
//! run: L1, a request and its answer, and L2, a compare-and-set.

mod counters;
mod figure;
mod goals;
mod limits;
mod measure;
pub(super) mod overhead;
mod plot;
mod report;
pub(super) mod scale;
mod site;
mod stats;
mod step;
mod table;
mod trace;
mod workload;

pub(super) use self::measure::{Measurement, echo, measure};
pub(super) use self::report::Report;
pub(super) use self::site::{Demand, Site};
pub(super) use self::step::{Step, Workload};
pub(super) use self::table::print;
