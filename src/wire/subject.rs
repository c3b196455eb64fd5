//! The subjects of requests, events and heartbeats. Every subject of natslock is built and taken apart here,
//! in [`bucket`](super::bucket) or in [`inbox`](super::inbox).

use std::fmt;
use std::str::FromStr;

use crate::engine::message::EventKind;
use crate::types::{LockName, Namespace, OwnerName, ShardId};

use super::bucket::Bucket;
use super::value::shown;

/// What a request asks for: the third token of its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// To hold a lock.
    Acquire,
    /// To keep leases alive.
    Renew,
    /// To give a lock back.
    Release,
    /// Who holds a lock.
    Check,
    /// The locks that are held or waited for.
    List,
    /// Numbers about the locks.
    Stats,
    /// To take a lock from its holders.
    AdminRelease,
    /// Who leads, and with which limits.
    Info,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Acquire,
        Self::Renew,
        Self::Release,
        Self::Check,
        Self::List,
        Self::Stats,
        Self::AdminRelease,
        Self::Info,
    ];

    /// The word in subjects.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::Renew => "renew",
            Self::Release => "release",
            Self::Check => "check",
            Self::List => "list",
            Self::Stats => "stats",
            Self::AdminRelease => "admin_release",
            Self::Info => "info",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A verb, and the shard that a request was sent straight to (`acquire-3`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directed {
    pub(super) verb: Verb,
    pub(super) shard: Option<ShardId>,
}

impl FromStr for Directed {
    type Err = String;

    fn from_str(token: &str) -> Result<Self, String> {
        let known = |word: &str| Verb::ALL.into_iter().find(|verb| verb.as_str() == word);
        if let Some(verb) = known(token) {
            return Ok(Self { verb, shard: None });
        }
        if let Some((word, number)) = token.split_once('-')
            && let Some(verb) = known(word)
        {
            return match shard(number) {
                Some(shard) => Ok(Self { verb, shard: Some(shard) }),
                None => Err(format!("behind `{verb}-` stands the number of a shard, not {}", shown(number))),
            };
        }
        let verbs = Verb::ALL.map(Verb::as_str).join(", ");
        Err(format!("unknown verb {}; there are {verbs}", shown(token)))
    }
}

/// The number of a shard as `Display` writes it: no sign, no leading zeros.
fn shard(number: &str) -> Option<ShardId> {
    let shard = ShardId(number.parse().ok()?);
    (shard.to_string() == number).then_some(shard)
}

/// The parts of a request's subject behind the namespace, not yet parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestParts<'a> {
    pub(super) verb: &'a str,
    pub(super) owner: Option<&'a str>,
    pub(super) name: Option<&'a str>,
}

/// What an event's subject says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventSubject {
    /// Something happened to this lock.
    Lock(EventKind, LockName),
    /// This shard has a new leader.
    Leader(ShardId),
}

/// The subjects of one namespace.
///
/// ```
/// use natslock::types::{LockName, OwnerName};
/// use natslock::wire::subject::{SubjectSpace, Verb};
///
/// let space = SubjectSpace::new("prod".parse().unwrap());
/// let (alice, name) = (OwnerName::encode("alice").unwrap(), LockName::encode("orders.42").unwrap());
/// assert_eq!(space.request(Verb::Acquire, None, &alice, Some(&name)), "natslock.prod.acquire.alice.orders.42");
/// ```
#[derive(Debug, Clone)]
pub struct SubjectSpace {
    namespace: Namespace,
    requests: String,
    events: String,
    internal: String,
}

impl SubjectSpace {
    /// The subjects of this namespace.
    pub fn new(namespace: Namespace) -> Self {
        Self {
            requests: format!("natslock.{namespace}."),
            events: format!("natslock-event.{namespace}."),
            internal: format!("natslock-int.{namespace}."),
            namespace,
        }
    }

    /// The namespace.
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The bucket of a shard.
    pub fn bucket(&self, shard: ShardId) -> Bucket {
        Bucket::new(&self.namespace, shard)
    }

    /// Where a request is sent; with a shard, straight to that one.
    pub fn request(
        &self,
        verb: Verb,
        shard: Option<ShardId>,
        owner: &OwnerName,
        name: Option<&LockName>,
    ) -> String {
        let mut subject = format!("{}{verb}", self.requests);
        if let Some(shard) = shard {
            subject.push_str(&format!("-{shard}"));
        }
        for token in [Some(owner.as_str()), name.map(LockName::as_str)].into_iter().flatten() {
            subject.push('.');
            subject.push_str(token);
        }
        subject
    }

    /// All requests of this verb and owner for names below `parent`, or for any name: what a permission lists.
    pub fn requests_below(&self, verb: Verb, owner: &OwnerName, parent: Option<&LockName>) -> String {
        format!("{}.>", self.request(verb, None, owner, parent))
    }

    /// What a coordinator subscribes to: every request of the namespace.
    pub fn requests(&self) -> String {
        format!("{}*.>", self.requests)
    }

    /// Takes the subject of a request apart; `None` where it is of another namespace or no request.
    pub(super) fn request_parts<'a>(&self, subject: &'a str) -> Option<RequestParts<'a>> {
        let mut tokens = subject.strip_prefix(&self.requests)?.splitn(3, '.');
        Some(RequestParts { verb: tokens.next()?, owner: tokens.next(), name: tokens.next() })
    }

    /// What a request asks for and whose it is by its subject, before anything of it is parsed: the word of the verb,
    /// without the number of a shard, and the owner's token.
    pub fn asked<'a>(&self, subject: &'a str) -> Option<(&'a str, &'a str)> {
        let RequestParts { verb, owner, .. } = self.request_parts(subject)?;
        Some((verb.split_once('-').map_or(verb, |(word, _)| word), owner?))
    }

    /// Where an event about a lock is published. The one of kind `released` is the lock's release channel.
    pub fn event(&self, kind: EventKind, name: &LockName) -> String {
        // There is one for each change of a lock, so it is put together without formatting.
        [self.events.as_str(), kind.as_str(), ".", name.as_str()].concat()
    }

    /// Where a new leader of this shard is announced.
    pub fn leader_event(&self, shard: ShardId) -> String {
        format!("{}leader.{shard}", self.events)
    }

    /// All events of the namespace, those about leaders too.
    pub fn events(&self) -> String {
        format!("{}>", self.events)
    }

    /// The events of one kind about all locks.
    pub fn events_of_kind(&self, kind: EventKind) -> String {
        format!("{}{}.>", self.events, kind.as_str())
    }

    /// The revocations of all locks.
    pub fn revocations(&self) -> String {
        self.events_of_kind(EventKind::Revoked)
    }

    /// Events of all kinds about the locks whose encoded names match a subject with wildcards.
    pub fn events_matching(&self, names: &str) -> String {
        format!("{}*.{names}", self.events)
    }

    /// The events about leaders of all shards.
    pub fn leader_events(&self) -> String {
        format!("{}leader.*", self.events)
    }

    /// Events of all kinds about one lock. (A lock whose name is a number shares this with the leader of that
    /// shard: look at the kind.)
    pub fn events_of(&self, name: &LockName) -> String {
        format!("{}*.{}", self.events, name.as_str())
    }

    /// Events of all kinds about the locks whose names begin with these tokens and go on.
    pub fn events_below(&self, parent: &LockName) -> String {
        format!("{}*.{}.>", self.events, parent.as_str())
    }

    /// What an event's subject says; `None` where it is of another namespace or a later version's.
    pub fn parse_event(&self, subject: &str) -> Option<EventSubject> {
        let (kind, rest) = subject.strip_prefix(&self.events)?.split_once('.')?;
        if kind == "leader" {
            return shard(rest).map(EventSubject::Leader);
        }
        Some(EventSubject::Lock(event_kind(kind)?, LockName::from_encoded(rest).ok()?))
    }

    /// Where the leader of a shard shows that it is alive.
    pub fn heartbeat(&self, shard: ShardId) -> String {
        format!("{}heartbeat.{shard}", self.internal)
    }

    /// Where an operator asks the coordinators of a shard what they know of it: among the heartbeats, to which
    /// coordinators are admitted anyway.
    pub fn inquiry(&self, shard: ShardId) -> String {
        format!("{}heartbeat.ask-{shard}", self.internal)
    }

    /// The heartbeats of all shards.
    pub fn heartbeats(&self) -> String {
        format!("{}heartbeat.*", self.internal)
    }

    /// What the inboxes of coordinators begin with, without a dot at its end. They are outside of whatever replies
    /// may go to, so no client can make a coordinator answer itself, as the store would.
    pub fn coordinator_inboxes(&self) -> String {
        format!("{}inbox", self.internal)
    }

    /// Whose heartbeat this subject carries.
    pub fn parse_heartbeat(&self, subject: &str) -> Option<ShardId> {
        shard(subject.strip_prefix(&self.internal)?.strip_prefix("heartbeat.")?)
    }
}

/// The kind of a lock's event by its word.
pub(super) fn event_kind(word: &str) -> Option<EventKind> {
    [EventKind::Granted, EventKind::Released, EventKind::Expired, EventKind::Revoked]
        .into_iter()
        .find(|kind| kind.as_str() == word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::arbitrary;

    fn space() -> SubjectSpace {
        SubjectSpace::new("prod".parse().unwrap())
    }

    #[test]
    fn subscriptions_and_permissions_are_as_the_protocol_says() {
        let (space, alice) = (space(), OwnerName::encode("alice").unwrap());
        let orders = LockName::encode("orders").unwrap();
        assert_eq!(space.requests(), "natslock.prod.*.>");
        assert_eq!(space.request(Verb::Info, None, &alice, None), "natslock.prod.info.alice");
        assert_eq!(
            space.requests_below(Verb::Acquire, &alice, Some(&orders)),
            "natslock.prod.acquire.alice.orders.>"
        );
        assert_eq!(space.requests_below(Verb::Renew, &alice, None), "natslock.prod.renew.alice.>");
        assert_eq!(space.event(EventKind::Released, &orders), "natslock-event.prod.released.orders");
        assert_eq!(space.events(), "natslock-event.prod.>");
        assert_eq!(space.events_of(&orders), "natslock-event.prod.*.orders");
        assert_eq!(space.events_below(&orders), "natslock-event.prod.*.orders.>");
        assert_eq!(space.leader_events(), "natslock-event.prod.leader.*");
        assert_eq!(space.heartbeat(ShardId(3)), "natslock-int.prod.heartbeat.3");
        assert_eq!(space.inquiry(ShardId(3)), "natslock-int.prod.heartbeat.ask-3");
        assert_eq!(space.heartbeats(), "natslock-int.prod.heartbeat.*");
    }

    #[test]
    fn a_verb_may_name_a_shard() {
        let directed = |token: &str| token.parse::<Directed>();
        assert_eq!(directed("renew"), Ok(Directed { verb: Verb::Renew, shard: None }));
        let third = Some(ShardId(3));
        assert_eq!(directed("admin_release-3"), Ok(Directed { verb: Verb::AdminRelease, shard: third }));
        for bad in
            ["", "Acquire", "acquire-", "acquire-x", "acquire-03", "acquire-+3", "acquire-65536", "-3", "a-3"]
        {
            assert!(directed(bad).is_err(), "{bad:?} was taken");
        }
        assert!(
            directed("fetch").unwrap_err().starts_with("unknown verb \"fetch\"; there are acquire, renew")
        );
    }

    #[test]
    fn what_is_not_ours_is_not_taken() {
        let space = space();
        for foreign in
            ["natslock.dev.acquire.a.b", "natslock.production.acquire.a.b", "natslock.prod", "x", ""]
        {
            assert_eq!(space.request_parts(foreign), None, "{foreign:?}");
        }
        for foreign in [
            "natslock-event.dev.granted.a",
            "natslock-event.prod.granted",
            "natslock-event.prod.granted.a..b",
            "natslock-event.prod.borrowed.a",
            "natslock-event.prod.leader.x",
            "natslock-event.prod.leader.0.0",
        ] {
            assert_eq!(space.parse_event(foreign), None, "{foreign:?}");
        }
        assert_eq!(space.parse_heartbeat("natslock-int.prod.heartbeat.01"), None);
        assert_eq!(space.parse_heartbeat("natslock-int.prod.grant.1"), None);
    }

    proptest! {
        #[test]
        fn requests_round_trip(
            verb in prop::sample::select(Verb::ALL.to_vec()),
            shard in prop::option::of(any::<u16>().prop_map(ShardId)),
            owner in arbitrary::owner(),
            name in prop::option::of(arbitrary::lock_name()),
        ) {
            let subject = space().request(verb, shard, &owner, name.as_ref());
            let space = space();
            let parts = space.request_parts(&subject).unwrap();
            prop_assert_eq!(parts.verb.parse(), Ok(Directed { verb, shard }));
            prop_assert_eq!(parts.owner, Some(owner.as_str()));
            prop_assert_eq!(parts.name, name.as_ref().map(LockName::as_str));
        }

        #[test]
        fn events_and_heartbeats_round_trip(
            kind in arbitrary::event_kind(),
            name in arbitrary::lock_name(),
            shard in any::<u16>().prop_map(ShardId),
        ) {
            let space = space();
            let subject = space.event(kind, &name);
            prop_assert_eq!(space.parse_event(&subject), Some(EventSubject::Lock(kind, name)));
            let subject = space.leader_event(shard);
            prop_assert_eq!(space.parse_event(&subject), Some(EventSubject::Leader(shard)));
            prop_assert_eq!(space.parse_heartbeat(&space.heartbeat(shard)), Some(shard));
        }
    }
}
