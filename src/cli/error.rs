//! What a command that did not do what was asked says, and what may help.

use std::error::Error;
use std::io::{self, Write as _};

use anstyle::{AnsiColor, Style};
use bytes::Bytes;
use serde::Serialize;

use super::exit::Exit;
use crate::engine::message::Code;
use crate::wire::reply::Refused;

const RED: Style = AnsiColor::Red.on_default().bold();
const CYAN: Style = AnsiColor::Cyan.on_default().bold();

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Others hold the lock.
    Held,
    /// A signal ended the wait.
    Interrupted,
    /// The coordinator refused.
    Refused(Option<Code>, String),
    /// The command line makes no sense.
    Usage,
    /// There is nothing wrong.
    NothingToRecover,
    /// The operator did not say yes.
    Unconfirmed,
    /// No NATS server.
    NoServer,
    /// No coordinator.
    NoCoordinator,
    /// No answer in time.
    NoAnswer,
    /// The NATS server does not allow it.
    Forbidden,
    /// The NATS server or the bucket cannot be used.
    Unfit,
    /// A fault of natslock or of its surroundings.
    Internal,
    /// Whoever read the output has gone. That is no failure.
    NobodyReads,
}

/// A command that did not do what was asked.
#[derive(Debug)]
pub(super) struct CommandError(Box<Fault>);

#[derive(Debug)]
struct Fault {
    kind: Kind,
    message: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
    hints: Vec<String>,
    reply: Option<Bytes>,
}

/// The same for programs, where there is no reply to show.
#[derive(Serialize)]
struct Body<'a> {
    status: &'static str,
    code: &'a str,
    message: &'a str,
}

impl Kind {
    fn exit(&self) -> Exit {
        match self {
            Self::Held | Self::Interrupted | Self::NothingToRecover | Self::Unconfirmed => Exit::Refused,
            Self::Refused(code, _) => code.map_or(Exit::Internal, exit_of),
            Self::Usage => Exit::Usage,
            Self::NoServer | Self::NoCoordinator | Self::NoAnswer | Self::Forbidden | Self::Unfit => {
                Exit::Unreachable
            }
            Self::Internal => Exit::Internal,
            Self::NobodyReads => Exit::Done,
        }
    }

    fn word(&self) -> &str {
        match self {
            Self::Held => "held",
            Self::Interrupted => "interrupted",
            Self::Refused(_, word) => word,
            Self::Usage => "usage",
            Self::NothingToRecover => "nothing_to_recover",
            Self::Unconfirmed => "not_confirmed",
            Self::NoServer => "no_server",
            Self::NoCoordinator => "no_coordinator",
            Self::NoAnswer => "no_answer",
            Self::Forbidden => "forbidden",
            Self::Unfit => "unfit",
            Self::Internal | Self::NobodyReads => "internal",
        }
    }
}

/// A refusal is about the lock, about what was typed, or about the coordinator.
const fn exit_of(code: Code) -> Exit {
    match code {
        Code::BadRequest
        | Code::InvalidName
        | Code::InvalidTtl
        | Code::InvalidWait
        | Code::TooLarge
        | Code::IdConflict => Exit::Usage,
        Code::Forbidden
        | Code::RateLimited
        | Code::QueueFull
        | Code::Finished
        | Code::NotHolder
        | Code::Quarantined => Exit::Refused,
        Code::Unavailable | Code::ShuttingDown => Exit::Unreachable,
        Code::UnsupportedVersion | Code::WrongShard => Exit::Internal,
    }
}

impl CommandError {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Fault { kind, message: message.into(), cause: None, hints: Vec::new(), reply: None }))
    }

    /// What the coordinator refused, in its own words.
    pub(super) fn refused(refused: Refused, reply: Bytes) -> Self {
        Self::new(Kind::Refused(refused.code, refused.word), refused.message).reply(reply)
    }

    /// A fault, with what caused it.
    pub(super) fn internal(
        message: impl Into<String>,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let mut error = Self::new(Kind::Internal, message);
        error.0.cause = Some(cause.into());
        error
    }

    /// The same with something that may help.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    /// The same with the reply that says so: what programs get.
    #[must_use]
    pub(super) fn reply(mut self, reply: Bytes) -> Self {
        self.0.reply = Some(reply);
        self
    }

    pub(super) fn message(&self) -> &str {
        &self.0.message
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.0.kind
    }

    pub(super) fn exit(&self) -> Exit {
        self.0.kind.exit()
    }

    /// One line for programs.
    pub(super) fn json(&self) -> Bytes {
        if let Some(reply) = &self.0.reply {
            return reply.clone();
        }
        let body = Body { status: "error", code: self.0.kind.word(), message: &self.0.message };
        serde_json::to_vec(&body).unwrap_or_default().into()
    }

    /// Lines for people.
    pub(super) fn write_to(&self, out: &mut impl io::Write) -> io::Result<()> {
        match &self.0.kind {
            // Being refused is an answer, not an error.
            Kind::Held | Kind::Interrupted | Kind::NothingToRecover | Kind::Unconfirmed => {
                writeln!(out, "{}", self.0.message)?
            }
            Kind::Refused(_, word) => writeln!(out, "{RED}error[{word}]:{RED:#} {}", self.0.message)?,
            _ => writeln!(out, "{RED}error:{RED:#} {}", self.0.message)?,
        }
        let mut cause: Option<&(dyn Error + 'static)> = match &self.0.cause {
            Some(cause) => Some(cause.as_ref()),
            None => None,
        };
        while let Some(error) = cause {
            writeln!(out, "  caused by: {error}")?;
            cause = error.source();
        }
        for hint in &self.0.hints {
            writeln!(out, "{CYAN}hint:{CYAN:#} {hint}")?;
        }
        Ok(())
    }

    /// Tells people, on the standard error stream.
    pub(super) fn report(&self) {
        // Where that stream is closed too, the exit code still tells.
        let _ = self.write_to(&mut anstream::stderr().lock()).and_then(|()| anstream::stderr().flush());
    }
}

/// Output that cannot be written.
impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Kind::NobodyReads, "nobody reads the output"),
            _ => Self::internal("cannot write the output", error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_and_hints_have_lines_of_their_own() {
        let error = CommandError::internal("cannot start", io::Error::other("no such file"))
            .hint("look elsewhere")
            .hint("or here");
        let mut text = Vec::new();
        error.write_to(&mut anstream::StripStream::new(&mut text)).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "error: cannot start\n  caused by: no such file\nhint: look elsewhere\nhint: or here\n"
        );
        assert_eq!(error.json(), r#"{"status":"error","code":"internal","message":"cannot start"}"#);
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        let gone = CommandError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(gone.exit(), Exit::Done);
        assert_eq!(CommandError::from(io::Error::other("disk full")).exit(), Exit::Internal);
    }
}
