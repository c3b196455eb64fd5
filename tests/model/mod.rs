//! The protocol core as a model: takeover, resignation, renewal, repeats, hand-over, taking away, 503, writes in
//! doubt, tokens. Everything within bounds is looked at, breadth first, and seeded walks go further:
//! `cargo test --release model -- --nocapture`. `MODEL_FAULTS`, `MODEL_IDS`, `MODEL_TAKEOVERS`, `MODEL_TICKS`,
//! `MODEL_STATES`, `WALKS` and `SEED` set the bounds, `STORY=1` tells how a missing rule is noticed.
//!
//! To be read beside DESIGN.md section 4: `rules` names the rules, each a switch; `store` is the bucket, `leader`
//! one term (with `lock`, what it does about its lock, and `answers`, how it answers), `client` a client, `world`
//! and `choices` what happens and what may go wrong, `properties` what must hold. `traces` shows that each rule is
//! needed, `everything` that nothing is broken with all of them.
//!
//! Two clients, one exclusive lock, TTL and T_L of 2 ticks where nothing else is said, clocks that agree. Each term
//! is an actor of its own, so a deposed leader lives on. What happens at once happens in one fixed order; every
//! departure from it is a fault and costs one of the budget, while acquiring, releasing, giving up, takeovers,
//! resignations, waking up and the arrival of what is late are free at any moment at which nothing else happens.
//!
//! Not in the model: shared and counting locks, and with them a token whose record was overwritten unheard
//! (`s8_record_skipped.txt`); several shards; a store that goes back (S11), stale reads, 10164, clock rates: the
//! simulator has them. Waiters wait for ever, and are forgotten only when they are given up.

mod answers;
mod choices;
mod client;
mod event;
mod everything;
mod explorer;
mod leader;
mod lock;
mod properties;
mod rules;
mod store;
mod traces;
mod walks;
mod world;
