//! The hot operations of the engine, its queue and the codec, each prepared once and then run again and again.

mod codec;
mod engine;
mod shard;

/// One operation: running it leaves everything as it was, so that it can be run again.
pub struct Operation {
    pub name: &'static str,
    /// How often instruments that slow it down should run it.
    pub repetitions: usize,
    pub prepare: fn() -> Box<dyn FnMut()>,
}

/// All of them.
pub fn operations() -> Vec<Operation> {
    engine::OPERATIONS.iter().chain(codec::OPERATIONS).map(|operation| Operation { ..*operation }).collect()
}
