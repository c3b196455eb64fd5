//! The `natslock` command.

fn main() {}
