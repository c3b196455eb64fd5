//! Subjects: what may be sent to, what may be subscribed to, and which of them meet.

use super::TransportError;

/// Checks that something may be sent to `subject`: tokens that are not empty, without white space, without
/// wildcards.
///
/// # Errors
/// Anything else. Servers take some of these subjects and lose the message, so this is checked here.
pub fn check_publishable(subject: &str) -> Result<(), TransportError> {
    check(subject, |token, _| token != "*" && token != ">")
}

/// Checks that `pattern` may be subscribed to: as [`check_publishable`], but `*` may stand for a token and `>`
/// for the last ones.
///
/// # Errors
/// Anything else.
pub fn check_subscribable(pattern: &str) -> Result<(), TransportError> {
    check(pattern, |token, is_last| token != ">" || is_last)
}

fn check(subject: &str, is_legal: impl Fn(&str, bool) -> bool) -> Result<(), TransportError> {
    let mut tokens = subject.split('.').peekable();
    while let Some(token) = tokens.next() {
        let is_last = tokens.peek().is_none();
        if token.is_empty() || token.contains(char::is_whitespace) || !is_legal(token, is_last) {
            return Err(TransportError::Refused(format!("{subject:?} is no subject for this")));
        }
    }
    Ok(())
}

/// True where what is sent to `subject` reaches a subscription to `pattern`.
pub fn matches(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_whole_tokens() {
        for (pattern, subject, meets) in [
            ("a.b", "a.b", true),
            ("a.b", "a", false),
            ("a", "a.b", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("*.b", "a.b", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
            ("a*", "ab", false),
        ] {
            assert_eq!(matches(pattern, subject), meets, "{pattern} {subject}");
        }
    }

    #[test]
    fn only_whole_subjects_pass() {
        for subject in ["a", "a.b", "a=20b.c/d", "订单", "a*b"] {
            assert!(check_publishable(subject).is_ok(), "{subject}");
        }
        for subject in ["", ".", "a.", ".a", "a..b", "a b", "a\r\nb", "a.*", "a.>"] {
            assert!(check_publishable(subject).is_err(), "{subject}");
        }
        for (pattern, legal) in
            [("a.*.b", true), ("a.>", true), (">", true), ("a.>.b", false), ("a..>", false)]
        {
            assert_eq!(check_subscribable(pattern).is_ok(), legal, "{pattern}");
        }
    }
}
