//! Who may do what on a NATS server: the subjects that each role needs, and nothing else.
//!
//! A server that is given a list of what is allowed refuses the rest. Verbs are listed one by one, so that a verb
//! of a later version is not allowed by a list of today.

use std::fmt;
use std::str::FromStr;

use super::transport::WHO_AM_I;
use crate::types::{LockName, NAME_BYTES_MAX, Namespace, OwnerName, ShardId};
use crate::wire::bucket::Bucket;
use crate::wire::inbox::ReplyPrefix;
use crate::wire::micro::Inquiry;
use crate::wire::subject::{SubjectSpace, Verb};

/// What a user is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// To look at everything and to take locks from their holders.
    Operator,
    /// To serve: requests, answers and the store.
    Coordinator,
    /// To serve with two users: the connection that hears and answers clients, which cannot write a record.
    CoordinatorFront,
    /// The other connection of those: the store, and nothing else.
    CoordinatorStore,
    /// To hold locks of some names in the name of one owner.
    Client,
    /// To look at everything.
    Observer,
}

/// One user.
#[derive(Debug, Clone)]
pub struct User {
    /// What it is there for.
    pub role: Role,
    /// In which namespace.
    pub namespace: Namespace,
    /// In whose name its requests are; of no account for a coordinator.
    pub owner: OwnerName,
    /// The names that it may use or, as an observer, check.
    pub names: Vec<NamePattern>,
    /// What all inboxes begin with; this user's begin with that and the owner.
    pub inboxes: ReplyPrefix,
    /// Whether a client may see all locks of the namespace. The other roles that ask at all may.
    pub lists: bool,
    /// Whether an operator may recover what is quarantined. It then can write, purge and change the bucket.
    pub recovers: bool,
}

/// What a user may do. Everything else is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// The subjects that it may publish to.
    pub publish: Vec<String>,
    /// The subjects that it may subscribe to.
    pub subscribe: Vec<String>,
}

impl User {
    /// What it may do.
    pub fn permissions(&self) -> Permissions {
        let space = SubjectSpace::new(self.namespace.clone());
        let mut permissions = self.permissions_of_role(&space);
        // By which a connection makes sure of its subscriptions. The answer tells nobody but this user what it may do;
        // a refusal would do as well, but each would stand in the server's log beside those that mean something.
        permissions.publish.push(WHO_AM_I.to_owned());
        permissions
    }

    fn permissions_of_role(&self, space: &SubjectSpace) -> Permissions {
        match self.role {
            Role::Operator => {
                let asks = self.asks(space, &[Verb::Check, Verb::AdminRelease], true);
                if self.recovers { asks.and(recovery(space)) } else { asks }
            }
            Role::Observer => self.asks(space, &[Verb::Check], true),
            Role::Client => {
                let verbs = [Verb::Acquire, Verb::Renew, Verb::Release, Verb::Check];
                let mut permissions = self.asks(space, &verbs, self.lists);
                permissions.publish.push(space.request(Verb::Renew, None, &self.owner, None));
                permissions
            }
            Role::Coordinator => front(space, &self.inboxes).and(store(space)),
            Role::CoordinatorFront => front(space, &self.inboxes),
            Role::CoordinatorStore => store(space),
        }
    }

    /// The inboxes of this user alone: what it gives as `--inbox-prefix`.
    pub fn inbox_prefix(&self) -> String {
        format!("{}{}", self.inboxes.as_str(), self.owner.as_str())
    }

    fn asks(&self, space: &SubjectSpace, verbs: &[Verb], lists: bool) -> Permissions {
        let about = |verb: &Verb| {
            let subject = space.request(*verb, None, &self.owner, None);
            self.names.iter().map(move |name| format!("{subject}.{name}"))
        };
        let mut publish: Vec<String> = verbs.iter().flat_map(about).collect();
        let mut plain = vec![Verb::Info];
        if lists {
            plain.extend([Verb::List, Verb::Stats]);
        }
        publish.extend(plain.into_iter().map(|verb| space.request(verb, None, &self.owner, None)));
        let mut subscribe = vec![format!("{}.>", self.inbox_prefix())];
        if lists {
            subscribe.push(space.events());
            publish.extend(Inquiry::asked_on());
        } else {
            // What the library listens to on behalf of its guards, and the events of the names.
            subscribe.extend([space.revocations(), space.leader_events()]);
            subscribe.extend(self.names.iter().map(|name| space.events_matching(name.as_str())));
        }
        Permissions { publish, subscribe }
    }
}

impl Permissions {
    fn and(mut self, other: Self) -> Self {
        self.publish.extend(other.publish);
        let more = other.subscribe.into_iter().filter(|subject| !self.subscribe.contains(subject));
        self.subscribe.extend(more.collect::<Vec<_>>());
        self
    }
}

/// Requests in, answers and events out.
fn front(space: &SubjectSpace, inboxes: &ReplyPrefix) -> Permissions {
    let answers = format!("{}>", inboxes.as_str());
    let mut subscribe =
        vec![space.requests(), space.heartbeats(), format!("{}.>", space.coordinator_inboxes())];
    subscribe.extend(Inquiry::heard_on("*"));
    Permissions { publish: vec![answers, space.events(), space.heartbeats()], subscribe }
}

/// The bucket, and what JetStream has to be asked for it.
fn store(space: &SubjectSpace) -> Permissions {
    let bucket = space.bucket(ShardId(0));
    let stream = bucket.stream();
    let call = |call: &str| format!("$JS.API.{call}.{stream}");
    Permissions {
        publish: vec![
            bucket.subjects(),
            call("STREAM.INFO"),
            call("STREAM.CREATE"),
            call("STREAM.MSG.GET"),
            format!("{}.>", call("CONSUMER.CREATE")),
            format!("{}.*", call("CONSUMER.MSG.NEXT")),
        ],
        subscribe: vec![format!("{}.>", space.coordinator_inboxes())],
    }
}

/// To ask the coordinators what they know, and to rewrite the bucket with the help of one beside it. What is answered
/// comes to the inboxes of whoever recovers.
fn recovery(space: &SubjectSpace) -> Permissions {
    let shard = ShardId(0);
    let bucket = space.bucket(shard);
    let copy = bucket.recovery();
    let call = |bucket: &Bucket, call: &str| format!("$JS.API.{call}.{}", bucket.stream());
    let mut publish = vec![space.inquiry(shard)];
    for bucket in [&bucket, &copy] {
        publish.push(bucket.subjects());
        publish.extend(["STREAM.INFO", "STREAM.MSG.GET"].map(|name| call(bucket, name)));
    }
    publish.extend(["STREAM.UPDATE", "STREAM.PURGE"].map(|name| call(&bucket, name)));
    publish.extend(["STREAM.CREATE", "STREAM.DELETE"].map(|name| call(&copy, name)));
    Permissions { publish, subscribe: Vec::new() }
}

/// As a `permissions` block of a server's configuration.
impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "permissions: {{")?;
        for (action, subjects) in [("publish", &self.publish), ("subscribe", &self.subscribe)] {
            writeln!(f, "    {action}: {{ allow: [")?;
            for subject in subjects {
                writeln!(f, "        {}", quoted(subject))?;
            }
            writeln!(f, "    ] }}")?;
        }
        f.write_str("}")
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Names that a user may use: a name, in which `*` stands for any one token and `>` at the end for any that
/// follow. Everything else is encoded as in a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(String);

/// A text that is no pattern for names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NamePatternError(String);

impl NamePattern {
    /// All names.
    pub fn all() -> Self {
        Self(">".into())
    }

    /// As it stands in subjects.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NamePattern {
    type Err = NamePatternError;

    fn from_str(typed: &str) -> Result<Self, NamePatternError> {
        let count = typed.split('.').count();
        let encode = |(at, token): (usize, &str)| match token {
            "*" => Ok(token.to_owned()),
            ">" if at + 1 == count => Ok(token.to_owned()),
            ">" => Err("`>` stands for all that follows, so nothing can follow it".to_owned()),
            _ => LockName::encode(token).map(|name| name.as_str().to_owned()).map_err(|e| e.to_string()),
        };
        let tokens: Result<Vec<String>, String> = typed.split('.').enumerate().map(encode).collect();
        let pattern = tokens.map_err(NamePatternError)?.join(".");
        if pattern.len() > NAME_BYTES_MAX {
            let text = format!("a name has at most {NAME_BYTES_MAX} bytes, this one has {}", pattern.len());
            return Err(NamePatternError(text));
        }
        Ok(Self(pattern))
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: [Role; 6] = [
        Role::Operator,
        Role::Coordinator,
        Role::CoordinatorFront,
        Role::CoordinatorStore,
        Role::Client,
        Role::Observer,
    ];

    fn user(role: Role) -> User {
        User {
            role,
            namespace: "prod".parse().unwrap(),
            owner: OwnerName::encode("alice@db").unwrap(),
            names: vec!["orders".parse().unwrap(), "orders.>".parse().unwrap()],
            inboxes: ReplyPrefix::default(),
            lists: false,
            recovers: false,
        }
    }

    #[test]
    fn no_role_may_use_verbs_of_later_versions() {
        for role in ROLES {
            let Permissions { publish, .. } = user(role).permissions();
            for subject in publish.iter().filter(|subject| subject.starts_with("natslock.")) {
                let verb = subject.split('.').nth(2).unwrap();
                assert!(Verb::ALL.iter().any(|known| known.as_str() == verb), "{role:?}: {subject}");
            }
            assert!(publish.iter().all(|subject| subject != ">" && subject != "$JS.API.>"), "{role:?}");
        }
    }

    #[test]
    fn only_the_store_connection_reaches_the_store() {
        for role in ROLES {
            let Permissions { publish, subscribe } = user(role).permissions();
            let store = |subject: &String| subject.starts_with("$JS") || subject.starts_with("$KV");
            let reaches = publish.iter().chain(&subscribe).any(store);
            let may = matches!(role, Role::Coordinator | Role::CoordinatorStore);
            assert_eq!(reaches, may, "{role:?}");
        }
    }

    #[test]
    fn only_an_operator_that_may_recover_can_purge_and_only_the_copy_is_deleted() {
        for role in ROLES {
            let Permissions { publish, .. } = User { recovers: true, ..user(role) }.permissions();
            let may = |call: &str| publish.iter().any(|subject| subject.contains(call));
            assert_eq!(may("PURGE"), role == Role::Operator, "{role:?}");
            assert_eq!(may("DELETE.KV_natslock_prod_0_recovery"), role == Role::Operator, "{role:?}");
            assert!(!publish.contains(&"$JS.API.STREAM.DELETE.KV_natslock_prod_0".to_owned()), "{role:?}");
        }
    }

    #[test]
    fn one_user_of_a_coordinator_may_do_what_its_two_may() {
        let both = user(Role::Coordinator).permissions();
        let (front, store) =
            (user(Role::CoordinatorFront).permissions(), user(Role::CoordinatorStore).permissions());
        for subject in front.publish.iter().chain(&store.publish) {
            assert!(both.publish.contains(subject), "{subject}");
        }
        assert_eq!(both.subscribe, front.subscribe);
        assert!(store.subscribe.iter().all(|subject| both.subscribe.contains(subject)));
    }

    #[test]
    fn a_client_speaks_in_its_own_name_and_hears_its_own_inboxes() {
        let Permissions { publish, subscribe } = user(Role::Client).permissions();
        let own = |subject: &String| subject == WHO_AM_I || subject.split('.').nth(3) == Some("alice=40db");
        assert!(publish.iter().all(own), "{publish:?}");
        assert!(subscribe.contains(&"_INBOX.alice=40db.>".to_owned()), "{subscribe:?}");
        assert!(!publish.iter().any(|subject| subject.contains(".list.")));
        let listing = User { lists: true, ..user(Role::Client) }.permissions();
        assert!(listing.publish.contains(&"natslock.prod.list.alice=40db".to_owned()));
    }

    #[test]
    fn patterns_are_names_with_wildcards() {
        let pattern = |typed: &str| typed.parse::<NamePattern>().map(|pattern| pattern.0);
        assert_eq!(pattern("订.*.a b.>"), Ok("=E8=AE=A2.*.a=20b.>".into()));
        assert_eq!(pattern("a*b.c>"), Ok("a=2Ab.c=3E".into()), "only whole tokens are wildcards");
        for bad in ["", "a..b", ".a", "a.", ">.a", &"a".repeat(256)] {
            assert!(pattern(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn texts_cannot_leave_their_quotes() {
        assert_eq!(quoted(r#"a"b\"#), r#""a\"b\\""#);
    }
}
