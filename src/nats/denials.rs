//! What the server did not allow.
//!
//! A server answers what a client may not do with an error of its own that names the subject but not the
//! message; the request itself just runs into its time-out. The connection collects these errors here, so that
//! a time-out can be told from a missing permission, and before it is over.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

/// So many are remembered.
const REMEMBERED_MAX: usize = 64;

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To publish to a subject.
    Publish,
    /// To subscribe to a subject.
    Subscribe,
}

/// One thing that the server did not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no permission to {} {subject}", match .action {
    Action::Publish => "publish to",
    Action::Subscribe => "subscribe to",
})]
pub struct Denial {
    /// What was tried.
    pub action: Action,
    /// On which subject.
    pub subject: String,
}

/// What the server did not allow one connection, newest last. Clones share it.
#[derive(Debug, Clone)]
pub struct Denials {
    seen: Arc<watch::Sender<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// How many there have been.
    count: u64,
    /// The connection itself was refused last.
    barred: bool,
    recent: VecDeque<(u64, Denial)>,
}

impl Denials {
    pub(super) fn new() -> Self {
        Self { seen: Arc::new(watch::Sender::new(Seen::default())) }
    }

    /// Takes an error of the server's; true where it tells of a missing permission.
    pub(super) fn note(&self, error: &str) -> bool {
        let Some(denial) = parse(error) else { return false };
        self.seen.send_modify(|seen| {
            seen.count += 1;
            seen.recent.push_back((seen.count, denial));
            if seen.recent.len() > REMEMBERED_MAX {
                seen.recent.pop_front();
            }
        });
        true
    }

    /// The server has refused to let the connection in, or has let it in.
    pub(super) fn bar(&self, barred: bool) {
        self.seen.send_modify(|seen| seen.barred = barred);
    }

    /// True where the connection is not let in, or was not allowed to publish to this subject or one below it.
    pub(super) fn concern(&self, subject: &str) -> bool {
        let below = |denied: &str| {
            denied.strip_prefix(subject).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let concerns = |denial: &Denial| denial.action == Action::Publish && below(&denial.subject);
        let seen = self.seen.borrow();
        seen.barred || seen.since(0, &concerns).is_some()
    }

    /// The last one.
    pub fn last(&self) -> Option<Denial> {
        self.seen.borrow().recent.back().map(|(_, denial)| denial.clone())
    }

    /// A mark of this moment for [`Denials::since`].
    pub(super) fn mark(&self) -> u64 {
        self.seen.borrow().count
    }

    #[cfg(feature = "coordinator")]
    /// The first one after the mark that `concerns` the caller.
    pub(super) fn since(&self, mark: u64, concerns: impl Fn(&Denial) -> bool) -> Option<Denial> {
        self.seen.borrow().since(mark, &concerns)
    }

    /// Waits for the first one after the mark that `concerns` the caller; for ever where none comes.
    pub(super) async fn wait(&self, mark: u64, concerns: impl Fn(&Denial) -> bool) -> Denial {
        let mut seen = self.seen.subscribe();
        loop {
            if let Some(denial) = seen.borrow_and_update().since(mark, &concerns) {
                return denial;
            }
            if seen.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Seen {
    fn since(&self, mark: u64, concerns: &impl Fn(&Denial) -> bool) -> Option<Denial> {
        let later = self.recent.iter().filter(|(number, _)| *number > mark);
        later.map(|(_, denial)| denial).find(|denial| concerns(denial)).cloned()
    }
}

/// `Permissions Violation for Publish to "a.b"`, and the like for subscriptions.
pub(super) fn parse(error: &str) -> Option<Denial> {
    let rest = error.strip_prefix("Permissions Violation for ")?;
    let action = match rest.split_once(' ')?.0 {
        "Publish" => Action::Publish,
        "Subscription" => Action::Subscribe,
        _ => return None,
    };
    let subject = rest.split('"').nth(1)?.to_owned();
    Some(Denial { action, subject })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_servers_words() {
        let publish = parse(r#"Permissions Violation for Publish to "$JS.API.STREAM.INFO.KV_x""#).unwrap();
        assert_eq!(publish.to_string(), "no permission to publish to $JS.API.STREAM.INFO.KV_x");
        let subscribe = parse(r#"Permissions Violation for Subscription to "a.>" using queue "q""#).unwrap();
        assert_eq!(subscribe.to_string(), "no permission to subscribe to a.>");
        assert_eq!(parse("Stale Connection"), None);
    }

    #[test]
    fn only_what_comes_after_the_mark_counts() {
        let denials = Denials::new();
        denials.note(r#"Permissions Violation for Publish to "a""#);
        let mark = denials.mark();
        assert_eq!(denials.since(mark, |denial| denial.subject == "a"), None);
        denials.note(r#"Permissions Violation for Publish to "b""#);
        assert!(denials.since(mark, |denial| denial.subject == "b").is_some());
    }

    #[test]
    fn a_connection_that_is_not_let_in_may_do_nothing() {
        let denials = Denials::new();
        denials.note(r#"Permissions Violation for Publish to "a.b""#);
        denials.note(r#"Permissions Violation for Subscription to "c""#);
        let concern = |denials: &Denials| ["a", "a.b", "a.b.c", "a.", "c", "x"].map(|s| denials.concern(s));
        assert_eq!(concern(&denials), [true, true, false, false, false, false]);
        denials.bar(true);
        assert_eq!(concern(&denials), [true; 6]);
        denials.bar(false);
        assert!(!denials.concern("x"));
    }

    #[test]
    fn remembers_so_many_and_no_more() {
        let denials = Denials::new();
        for number in 0..=REMEMBERED_MAX {
            denials.note(&format!(r#"Permissions Violation for Publish to "{number}""#));
        }
        assert_eq!(denials.since(0, |denial| denial.subject == "0"), None);
        assert_eq!(denials.last().unwrap().subject, REMEMBERED_MAX.to_string());
    }
}
