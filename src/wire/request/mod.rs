//! What clients ask: subject and body to [`Asked`] and back (PROTOCOL.md section 2).

mod body;
#[cfg(test)]
mod tests;

use crate::engine::message::{Ask, Code, Refusal};
use crate::types::{LockName, OwnerName, ShardId};

use super::fields::Fields;
use super::format::{BODY_BYTES_MAX, Format};
use super::subject::{Directed, SubjectSpace, Verb};
use super::value::{self, DecodeError};

pub use body::{LEASES_MAX, encode, encode_info, encode_stats};

/// The version of the protocol that is spoken here.
pub const PROTOCOL_VERSION: u64 = 1;

/// A request that makes sense.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// How it is answered.
    pub format: Format,
    /// The shard that it was sent straight to; whether that is the right one is for the caller to check.
    pub shard: Option<ShardId>,
    /// Who asks.
    pub owner: OwnerName,
    /// What.
    pub asked: Asked,
}

/// What a request asks.
#[derive(Debug, Clone)]
pub enum Asked {
    /// Something that the engine answers.
    Engine(Ask),
    /// Who leads, and with which limits.
    Info,
    /// Numbers about the locks.
    Stats {
        /// Only names that begin so, in encoded form.
        prefix: String,
        /// The locks with the largest numbers, at most so many.
        top: usize,
    },
}

impl Asked {
    /// The verb in the subject.
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Engine(Ask::Acquire(_)) => Verb::Acquire,
            Self::Engine(Ask::Renew { .. } | Ask::RenewMany { .. }) => Verb::Renew,
            Self::Engine(Ask::Release { .. }) => Verb::Release,
            Self::Engine(Ask::Check { .. }) => Verb::Check,
            Self::Engine(Ask::List { .. }) => Verb::List,
            Self::Engine(Ask::AdminRelease { .. }) => Verb::AdminRelease,
            Self::Info => Verb::Info,
            Self::Stats { .. } => Verb::Stats,
        }
    }
}

/// A request that makes no sense.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// How it is answered.
    pub format: Format,
    /// With what.
    pub refusal: Refusal,
    /// The verb, where that much could be told: for the counters.
    pub verb: Option<Verb>,
    /// The owner, where that much could be told.
    pub owner: Option<OwnerName>,
}

/// Decodes a request.
///
/// The checks come in the protocol's order and the first that fails answers: size, decoding, version, verb,
/// owner, name, fields. The reply subject comes before them (`inbox::reply_allowed`), the shard after.
///
/// An acquire without an id gets a random one.
///
/// # Errors
/// The refusal to send, with the format to send it in.
pub fn decode(space: &SubjectSpace, subject: &str, payload: &[u8]) -> Result<Decoded, Rejected> {
    let format = Format::of(payload).unwrap_or_default();
    let target = Target::of(space, subject);
    let checked = target.checked(payload);
    checked.map(|(shard, owner, asked)| Decoded { format, shard, owner, asked }).map_err(|refusal| Rejected {
        format,
        refusal,
        verb: target.directed.ok().map(|directed| directed.verb),
        owner: target.owner.ok(),
    })
}

/// What the subject says. It is read before the body, so that a request with a bad body is counted for its
/// verb and owner, but complained about after it.
struct Target<'a> {
    directed: Result<Directed, Refusal>,
    owner: Result<OwnerName, Refusal>,
    name: Option<&'a str>,
}

impl<'a> Target<'a> {
    fn of(space: &SubjectSpace, subject: &'a str) -> Self {
        let parts = space.request_parts(subject);
        let verb = parts.map(|parts| parts.verb).unwrap_or_default();
        Self {
            directed: verb.parse().map_err(|error: String| bad_request(error)),
            owner: owner(parts.and_then(|parts| parts.owner)),
            name: parts.and_then(|parts| parts.name),
        }
    }

    fn checked(&self, payload: &[u8]) -> Result<(Option<ShardId>, OwnerName, Asked), Refusal> {
        let fields = fields(payload)?;
        let Directed { verb, shard } = self.directed.clone()?;
        let owner = self.owner.clone()?;
        let asked = match verb {
            Verb::Acquire => body::acquire(self.need_name(verb)?, &fields)?,
            Verb::Renew => match self.name {
                Some(name) => body::renew(lock_name(name)?, &fields)?,
                None => body::renew_many(&fields)?,
            },
            Verb::Release => body::release(self.need_name(verb)?, &fields)?,
            Verb::Check => body::check(self.need_name(verb)?, &fields)?,
            Verb::AdminRelease => body::admin_release(self.need_name(verb)?, &fields)?,
            Verb::List => self.no_name(verb).and_then(|()| body::list(&fields))?,
            Verb::Stats => self.no_name(verb).and_then(|()| body::stats(&fields))?,
            Verb::Info => self.no_name(verb).map(|()| Asked::Info)?,
        };
        Ok((shard, owner, asked))
    }

    fn need_name(&self, verb: Verb) -> Result<LockName, Refusal> {
        let missing =
            || bad_request(format!("{verb} needs the name of a lock behind the owner in the subject"));
        lock_name(self.name.ok_or_else(missing)?)
    }

    fn no_name(&self, verb: Verb) -> Result<(), Refusal> {
        match self.name {
            None => Ok(()),
            Some(_) => Err(bad_request(format!("the subject of {verb} ends with the owner"))),
        }
    }
}

/// The body's fields, after the checks of size, decoding and version.
fn fields(payload: &[u8]) -> Result<Fields<'_>, Refusal> {
    if payload.len() > BODY_BYTES_MAX {
        let message = format!("a body has at most {BODY_BYTES_MAX} bytes, this one has {}", payload.len());
        return Err(Refusal::new(Code::TooLarge, message).limit(BODY_BYTES_MAX as u64));
    }
    let fields = match Format::of(payload) {
        Some(format) => value::parse(format, payload)?,
        None if payload.is_empty() => Fields::default(),
        None => return Err(bad_request("the body must be a JSON object, a MessagePack map or empty")),
    };
    match fields.integer("v")? {
        None => Ok(fields),
        Some(version) if version == PROTOCOL_VERSION.into() => Ok(fields),
        Some(version) => Err(Refusal::new(
            Code::UnsupportedVersion,
            format!("version {version} of the protocol is not spoken here, only {PROTOCOL_VERSION}"),
        )),
    }
}

fn owner(token: Option<&str>) -> Result<OwnerName, Refusal> {
    let token = token.ok_or_else(|| bad_request("the subject must name the owner behind the verb"))?;
    OwnerName::from_encoded(token).map_err(|error| Refusal::new(Code::InvalidName, error.to_string()))
}

fn lock_name(encoded: &str) -> Result<LockName, Refusal> {
    LockName::from_encoded(encoded).map_err(|error| Refusal::new(Code::InvalidName, error.to_string()))
}

fn bad_request(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::BadRequest, message)
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        bad_request(error.to_string())
    }
}
