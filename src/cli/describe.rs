//! Sentences about locks.

use std::time::Duration;

use super::text::{count, span, tame};
use crate::engine::message::{HolderView, LockView};
use crate::types::{LockName, Mode, OwnerName};

/// A lock's name in a sentence.
pub(super) fn lock(name: &LockName) -> String {
    format!("lock `{}`", tame(&name.to_string()))
}

/// ``lock `jobs.nightly` is held by `worker-7` for another 12 s``
pub(super) fn held(name: &LockName, view: &LockView, me: &OwnerName) -> String {
    format!("{} is {}", lock(name), state(view, me))
}

/// ``held by `worker-7` for another 12 s``
pub(super) fn state(view: &LockView, me: &OwnerName) -> String {
    let who = who(view, me);
    let ends = view.holders.iter().filter_map(|holder| holder.expires_in).min();
    match (view.holder_count, ends) {
        (0, _) => format!("free, but {} in line for it", count(view.waiter_count, "request")),
        (1, Some(ends)) => format!("{who} for another {}", span(ends)),
        (1, None) => format!("{who}, until when is not known: a coordinator has just taken over"),
        (_, Some(ends)) => format!("{who}; the first of them for another {}", span(ends)),
        (_, None) => format!("{who}; until when is not known: a coordinator has just taken over"),
    }
}

fn who(view: &LockView, me: &OwnerName) -> String {
    let mine = view.holders.iter().any(|holder| holder.owner == *me);
    let first = match view.holders.first() {
        _ if mine => "yourself".to_owned(),
        Some(holder) => format!("`{}`", tame(&holder.owner.to_string())),
        None => "somebody".to_owned(),
    };
    let who = match view.holder_count {
        0 | 1 => first,
        all => format!("{first} and {}", count(all - 1, "other")),
    };
    match view.mode {
        Mode::Exclusive => format!("held by {who}"),
        Mode::Shared => format!("shared by {who}"),
        Mode::Counting { capacity } => match permits(view) {
            Some(permits) => format!("held by {who} ({permits} of {capacity} permits)"),
            None => format!("held by {who} (some of {capacity} permits)"),
        },
    }
}

/// The permits that are held, where every holder is listed.
pub(super) fn permits(view: &LockView) -> Option<usize> {
    let all_listed = view.holders.len() == view.holder_count;
    all_listed.then(|| view.holders.iter().map(|holder| usize::from(holder.permits.unwrap_or(1))).sum())
}

/// `exclusive`, or `counting, 2 of 5` for a holder of two permits.
pub(super) fn mode(mode: Mode, permits: Option<usize>) -> String {
    match (mode, permits) {
        (Mode::Counting { capacity }, Some(permits)) => format!("counting, {permits} of {capacity}"),
        (Mode::Counting { capacity }, None) => format!("counting, of {capacity}"),
        _ => mode.to_string(),
    }
}

/// Until when, or a question mark.
pub(super) fn expires(holder: Option<&HolderView>) -> String {
    holder.map_or_else(String::new, |holder| holder.expires_in.map_or_else(|| "?".to_owned(), span))
}

/// `next in line`, `number 3 in line`.
pub(super) fn place(position: usize) -> String {
    if position == 1 { "next in line".to_owned() } else { format!("number {position} in line") }
}

/// How long something took, in a sentence.
pub(super) fn waited(waited: Duration) -> String {
    format!("waited {}", span(waited))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Revision, Token};

    fn owner(name: &str) -> OwnerName {
        OwnerName::encode(name).unwrap()
    }

    fn holder(name: &str, seconds: Option<u64>, permits: Option<u16>) -> HolderView {
        HolderView {
            owner: owner(name),
            token: Token::new(Revision::new(1), 0),
            mode: Mode::Exclusive,
            permits,
            held: Duration::ZERO,
            expires_in: seconds.map(Duration::from_secs),
            note: None,
        }
    }

    fn said(mode: Mode, holders: Vec<HolderView>, waiter_count: usize) -> String {
        let holder_count = holders.len();
        let view = LockView { mode, holders, holder_count, waiters: Vec::new(), waiter_count };
        held(&LockName::encode("jobs.nightly").unwrap(), &view, &owner("me"))
    }

    #[test]
    fn who_holds_a_lock_is_told_in_a_sentence() {
        let one = |name| vec![holder(name, Some(12), None)];
        assert_eq!(
            said(Mode::Exclusive, one("worker-7"), 0),
            "lock `jobs.nightly` is held by `worker-7` for another 12 s"
        );
        assert_eq!(
            said(Mode::Exclusive, one("me"), 0),
            "lock `jobs.nightly` is held by yourself for another 12 s"
        );
        assert_eq!(
            said(Mode::Exclusive, Vec::new(), 2),
            "lock `jobs.nightly` is free, but 2 requests in line for it"
        );
        assert_eq!(
            said(Mode::Exclusive, vec![holder("a", None, None)], 0),
            "lock `jobs.nightly` is held by `a`, until when is not known: a coordinator has just taken over"
        );
        assert_eq!(
            said(Mode::Shared, vec![holder("a", Some(9), None), holder("b", Some(3), None)], 0),
            "lock `jobs.nightly` is shared by `a` and 1 other; the first of them for another 3 s"
        );
        let some = vec![holder("a", Some(9), Some(2)), holder("me", Some(3), Some(1))];
        assert_eq!(
            said(Mode::Counting { capacity: 3 }, some, 0),
            "lock `jobs.nightly` is held by yourself and 1 other (3 of 3 permits); the first of them for another 3 s"
        );
    }
}
