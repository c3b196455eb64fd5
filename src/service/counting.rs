//! What is counted, and what of it is told.

use super::shard::Shard;
use crate::clock::Clock;
use crate::engine::Census;
use crate::engine::message::Code;
use crate::store::Store;
use crate::transport::Transport;
use crate::wire::stats::Stats;

impl<S: Store, T: Transport, C: Clock> Shard<S, T, C> {
    /// Takes in what the engine has done.
    pub(super) fn count(&mut self) {
        let Some(serving) = &mut self.serving else { return };
        for fact in serving.engine.take_facts() {
            self.measures.observe(fact);
        }
    }

    /// A request was refused that did not come to the engine.
    pub(super) fn count_refusal(&mut self, code: Code) {
        self.measures.refused(self.clock.now().boot, None, code);
    }

    /// The answer to the verb `stats`.
    pub(super) fn stats(&mut self, prefix: &str, top: usize) -> Stats {
        match &self.serving {
            Some(serving) => {
                let engine = &serving.engine;
                self.measures.stats(prefix, top, engine.census(), |name| engine.census_of(name))
            }
            None => self.measures.stats(prefix, top, Census::default(), |_| Census::default()),
        }
    }
}
