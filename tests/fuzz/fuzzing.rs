//! What every fuzzing program has: the targets, and an allocator that counts.

use std::alloc::System;

use cap::Cap;

#[path = "targets.rs"]
#[allow(dead_code, reason = "each program runs one of them")]
pub(crate) mod targets;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// A decoded value takes at most so many bytes for each byte of its body: the smallest value has one byte in
/// MessagePack, and lists grow by doubling.
const BYTES_PER_BYTE_MAX: usize = 256;
/// And so many that do not depend on the body: texts of errors, and small change.
const BYTES_FIXED_MAX: usize = 64 * 1024;

/// Runs one target on one input, and looks at what it allocates. The limit makes the program abort where a
/// decoder believes a length that the body only claims.
pub(crate) fn check(target: targets::Target, input: &[u8]) {
    let limit = ALLOCATOR.allocated() + input.len() * BYTES_PER_BYTE_MAX + BYTES_FIXED_MAX;
    ALLOCATOR.set_limit(limit).expect("more than there is now");
    target(input);
    ALLOCATOR.set_limit(usize::MAX).expect("no limit");
}
