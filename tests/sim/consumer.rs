//! The standing consumers (S5): in order, skipping what was overwritten, going on where they were cut off.

use std::collections::BTreeMap;

use natslock::store::Entry;
use natslock::types::{Key, Revision};

use super::clock::MS;
use super::coordinator::{Done, Input};
use super::stream::{Call, Follower, HISTORY, Purpose, time};
use super::world::{Event, World};

impl World {
    pub(super) fn follow(&mut self, call: Call) {
        let Purpose::Follow { term } = call.purpose else { return };
        let follower =
            Follower { node: call.node, inc: call.inc, term, position: Revision::NONE, armed: true };
        self.stream.followers.insert(call.id, follower);
        let id = call.id;
        self.answer(call, Done::Following);
        self.at(self.now + 2 * MS, Event::Pump { follower: id });
    }

    pub(super) fn wake_followers(&mut self) {
        let idle: Vec<u64> =
            self.stream.followers.iter().filter(|(_, f)| !f.armed).map(|(id, _)| *id).collect();
        for id in idle {
            let at = self.now + self.rng.range(100, 2 * MS);
            if let Some(follower) = self.stream.followers.get_mut(&id) {
                follower.armed = true;
            }
            self.at(at, Event::Pump { follower: id });
        }
    }

    /// Delivers what is new, in order, and skips what was overwritten meanwhile. A consumer that is cut off
    /// goes on where it was.
    pub(super) fn pump(&mut self, id: u64) {
        let Some(follower) = self.stream.followers.get_mut(&id) else { return };
        let (node, inc, term) = (follower.node, follower.inc, follower.term);
        let live =
            self.nodes[node].up && self.nodes[node].inc == inc && self.coords[node].term() == Some(term);
        if !live {
            self.stream.followers.remove(&id);
            return;
        }
        let cut = self.nodes[node].cut_down.until.max(self.nodes[node].cut_up.until);
        let held_until = cut.max(self.stream.consumers_until).max(self.stream.deleted_until.unwrap_or(0));
        if held_until > self.now {
            self.at(held_until + MS, Event::Pump { follower: id });
            return;
        }
        follower.armed = false;
        if self.script.storeless.contains(&node) || self.script.blind.contains(&node) {
            return;
        }
        let mut entries = Vec::new();
        while let Some(entry) = self.stream.core.next_after(time(self.now), follower.position) {
            follower.position = entry.revision;
            entries.push(entry);
        }
        for entry in entries {
            let arrives = self.in_order(usize::MAX, node, self.now + self.nodes[node].latency);
            self.at(arrives, Event::ToCoordinator { node, inc, input: Input::Record { term, entry } });
        }
    }

    /// The defect of loading by a read (S5).
    pub(super) fn load_by_read(&mut self, node: usize, term: u64, epoch: natslock::types::Epoch) {
        let cutoff = usize::try_from(self.rng.below(HISTORY as u64)).unwrap();
        let mut found: BTreeMap<Key, Entry> = BTreeMap::new();
        for (key, entry) in self.stream.history.iter().take(cutoff) {
            if matches!(key, Key::Lock(_)) {
                found.insert(key.clone(), entry.clone());
            }
        }
        let inc = self.nodes[node].inc;
        let seen = Entry { key: Key::Journal, revision: epoch.revision(), value: None };
        for entry in found.into_values().chain([seen]) {
            self.at(self.now + MS, Event::ToCoordinator { node, inc, input: Input::Record { term, entry } });
        }
        self.calls += 1;
        let follower = Follower { node, inc, term, position: epoch.revision(), armed: true };
        self.stream.followers.insert(self.calls, follower);
        self.at(self.now + 5 * MS, Event::Pump { follower: self.calls });
    }
}
