//! Which subjects a coordinator may answer to.
//!
//! A coordinator may publish more than its clients may: without this check a request with the reply subject
//! `$KV.<bucket>.<key>` or `$JS.API.STREAM.PURGE...` would make it write there on the client's behalf.

use std::str::FromStr;

use super::value::shown;

const SUBJECT_BYTES_MAX: usize = 512;
/// Where a reply would be obeyed and not read.
const NEVER: [&str; 2] = ["$", "natslock"];

/// The prefix that every reply subject must have: whole tokens, `_INBOX.` where nothing is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyPrefix(String);

/// A text that is no prefix for reply subjects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a reply prefix is a subject without wildcards outside of $... and natslock... (such as _INBOX), not {given}"
)]
pub struct ReplyPrefixError {
    given: String,
}

impl Default for ReplyPrefix {
    fn default() -> Self {
        Self("_INBOX.".into())
    }
}

impl FromStr for ReplyPrefix {
    type Err = ReplyPrefixError;

    /// Takes a prefix with or without the dot at its end.
    fn from_str(text: &str) -> Result<Self, ReplyPrefixError> {
        let tokens = text.strip_suffix('.').unwrap_or(text);
        if is_plain(tokens) && !NEVER.iter().any(|start| tokens.starts_with(start)) {
            Ok(Self(format!("{tokens}.")))
        } else {
            Err(ReplyPrefixError { given: shown(text) })
        }
    }
}

impl ReplyPrefix {
    /// The prefix, with a dot at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// True where a reply may be published to this subject: it has the prefix and goes on, without wildcards,
/// white space, control characters and empty tokens, in at most 512 bytes.
pub fn reply_allowed(prefix: &ReplyPrefix, subject: &str) -> bool {
    subject.strip_prefix(prefix.as_str()).is_some_and(is_plain) && subject.len() <= SUBJECT_BYTES_MAX
}

/// The same where every owner has inboxes of its own: behind the prefix comes the owner's token. The reply of one
/// owner's request cannot reach another then.
pub fn reply_allowed_to(prefix: &ReplyPrefix, owner: &str, subject: &str) -> bool {
    let own = subject.strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_prefix(owner));
    !owner.is_empty() && own.is_some_and(|rest| rest.starts_with('.')) && reply_allowed(prefix, subject)
}

/// One subject, and nothing that a server could read as something else.
fn is_plain(subject: &str) -> bool {
    // The last is what bytes that are not UTF-8 arrive as.
    let harmless =
        |char: char| !char.is_control() && !char.is_whitespace() && !matches!(char, '*' | '>' | '\u{fffd}');
    subject.len() <= SUBJECT_BYTES_MAX
        && subject.split('.').all(|token| !token.is_empty() && token.chars().all(harmless))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inboxes_are_answered() {
        for subject in ["_INBOX.abc", "_INBOX.alice.Xy-1.7", "_INBOX.é"] {
            assert!(reply_allowed(&ReplyPrefix::default(), subject), "{subject}");
        }
        let longest = format!("_INBOX.{}", "a".repeat(505));
        assert!(reply_allowed(&ReplyPrefix::default(), &longest));
        assert!(!reply_allowed(&ReplyPrefix::default(), &format!("{longest}a")));
    }

    #[test]
    fn nothing_else_is() {
        for subject in [
            "",
            "_INBOX",
            "_INBOX.",
            "_INBOX..a",
            "_INBOX.a.",
            "_INBOX.a..b",
            "_INBOX.*",
            "_INBOX.>",
            "_INBOX.a*",
            "_INBOX.a b",
            "_INBOX.a\r\nPUB x 0",
            "_INBOX.a\0",
            "_INBOXES.a",
            "x._INBOX.a",
            "$KV.natslock_default_0.lock.a",
            "$JS.API.STREAM.PURGE.KV_natslock_default_0",
            "natslock.default.release.a.b",
        ] {
            assert!(!reply_allowed(&ReplyPrefix::default(), subject), "{subject:?} was allowed");
        }
        assert!(!reply_allowed(&ReplyPrefix::default(), &format!("_INBOX.{}", "a".repeat(5_000))));
    }

    #[test]
    fn owners_are_answered_in_their_own_inboxes() {
        let prefix = ReplyPrefix::default();
        assert!(reply_allowed_to(&prefix, "alice", "_INBOX.alice.x.7"));
        for (owner, subject) in [
            ("alice", "_INBOX.bob.x"),
            ("alice", "_INBOX.alice"),
            ("alice", "_INBOX.alice."),
            ("alice", "_INBOX.alicent.x"),
            ("alice", "_INBOX.alice.*"),
            ("alice", "_INBOX.alice..x"),
            ("alice", "$KV.alice.x"),
            ("", "_INBOX..x"),
            ("", "_INBOX.x"),
            ("*", "_INBOX.*.x"),
            ("alice.x", "_INBOX.alice.x"),
        ] {
            assert!(!reply_allowed_to(&prefix, owner, subject), "{owner:?} {subject:?} was allowed");
        }
    }

    #[test]
    fn a_prefix_is_whole_tokens() {
        let prefix: ReplyPrefix = "_INBOX.team".parse().unwrap();
        assert_eq!(prefix.as_str(), "_INBOX.team.");
        assert_eq!("_INBOX.team.".parse(), Ok(prefix.clone()));
        assert!(reply_allowed(&prefix, "_INBOX.team.a") && !reply_allowed(&prefix, "_INBOX.teammate.a"));
        for bad in
            ["", ".", "..", "a..", "_INBOX.*", "_INBOX.>", "a b", "$KV", "$", "natslock", "natslock-int.x"]
        {
            assert!(bad.parse::<ReplyPrefix>().is_err(), "{bad:?} was taken");
        }
    }
}
