//! What the tests stand on.

pub(crate) mod model;
pub(crate) mod world;
