//! How to connect, and as whom.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

use super::connect::ConnectError;

/// How to connect.
#[derive(Clone)]
pub struct ConnectOptions {
    /// The servers, `nats://host:port` or `tls://host:port`; more are learnt from the first that answers.
    pub urls: Vec<String>,
    /// Who connects.
    pub credentials: Credentials,
    /// The certificates.
    pub tls: Tls,
    /// Where answers go: `_INBOX` where nothing is said.
    pub inbox_prefix: Option<String>,
    /// The name that the server shows.
    pub name: Option<String>,
    /// Do not deliver this connection's messages to its own subscriptions.
    pub no_echo: bool,
    /// How long the first connection may take. Later ones are tried for ever.
    pub timeout: Duration,
    /// Where the first connection fails for want of an answer, try again, for ever.
    pub keep_trying: bool,
}

/// Without the secrets: passwords may stand in URLs.
impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = parse_urls(&self.urls).map_or_else(|_| "?".to_owned(), |addresses| shown(&addresses));
        let Self { credentials, tls, inbox_prefix, name, no_echo, timeout, keep_trying, .. } = self;
        f.debug_struct("ConnectOptions")
            .field("urls", &urls)
            .field("credentials", credentials)
            .field("tls", tls)
            .field("inbox_prefix", inbox_prefix)
            .field("name", name)
            .field("no_echo", no_echo)
            .field("timeout", timeout)
            .field("keep_trying", keep_trying)
            .finish()
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            urls: vec!["nats://127.0.0.1:4222".into()],
            credentials: Credentials::None,
            tls: Tls::default(),
            inbox_prefix: None,
            name: None,
            no_echo: false,
            timeout: Duration::from_secs(5),
            keep_trying: false,
        }
    }
}

impl ConnectOptions {
    /// The defaults, for this server, or for several that are separated by commas.
    pub fn to(urls: &str) -> Self {
        Self { urls: urls.split(',').map(|url| url.trim().to_owned()).collect(), ..Self::default() }
    }

    /// Who connects: where nobody is named, the first that stands in an address, as `user:password` or as a token.
    pub(super) fn login(&self, addresses: &[ServerAddr]) -> Credentials {
        let text = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let named =
            addresses.iter().find_map(|address| Some((text(address.username()?), address.password())));
        match (&self.credentials, named) {
            (Credentials::None, Some((name, Some(password)))) => {
                Credentials::User { name, password: text(password) }
            }
            (Credentials::None, Some((token, None))) => Credentials::Token(token),
            (said, _) => said.clone(),
        }
    }
}

/// Who connects.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Nobody in particular, or who stands in a URL: `nats://user:password@host`, or `nats://token@host`.
    #[default]
    None,
    /// A credentials file with a JWT and a key.
    File(PathBuf),
    /// The seed of an nkey.
    NkeySeed(String),
    /// A user and a password.
    User {
        /// The user.
        name: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
}

/// Without the secrets.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::NkeySeed(_) => f.write_str("NkeySeed(..)"),
            Self::User { name, .. } => f.debug_struct("User").field("name", name).finish_non_exhaustive(),
            Self::Token(_) => f.write_str("Token(..)"),
        }
    }
}

/// The certificates of a connection. The system's authorities are trusted where none is named.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// The only authority to trust, as a PEM file.
    pub authority: Option<PathBuf>,
    /// This client's certificate and its key, as PEM files.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Refuse to connect without TLS.
    pub required: bool,
}
pub(super) fn parse_urls(urls: &[String]) -> Result<Vec<ServerAddr>, ConnectError> {
    if urls.is_empty() {
        return Err(ConnectError::BadOption("no NATS server is named".into()));
    }
    let parse = |url: &String| {
        // The text may hold a password: the error does not repeat it.
        url.parse::<ServerAddr>()
            .map_err(|error| ConnectError::BadOption(format!("not the URL of a NATS server: {error}")))
    };
    urls.iter().map(parse).collect()
}

pub(super) fn shown(addresses: &[ServerAddr]) -> String {
    let show = |address: &ServerAddr| format!("{}://{}:{}", address.scheme(), address.host(), address.port());
    addresses.iter().map(show).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let user = Credentials::User { name: "ada".into(), password: "hunter2".into() };
        let all = [Credentials::NkeySeed("hunter2".into()), Credentials::Token("hunter2".into()), user];
        assert!(!format!("{all:?}").contains("hunter2"));
        let addresses = parse_urls(&["nats://ada:hunter2@10.0.0.1:4333".into()]).unwrap();
        assert_eq!(shown(&addresses), "nats://10.0.0.1:4333");
        let options = ConnectOptions::to("nats://ada:hunter2@10.0.0.1:4333");
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn who_stands_in_a_url_connects_unless_somebody_is_named() {
        let login = |urls: &str, credentials: Credentials| {
            let options = ConnectOptions { credentials, ..ConnectOptions::to(urls) };
            match options.login(&parse_urls(&options.urls).unwrap()) {
                Credentials::User { name, password } => format!("{name}:{password}"),
                Credentials::Token(token) => token,
                other => format!("{other:?}"),
            }
        };
        assert_eq!(login("nats://a,nats://ada%20l:p%40ss@b", Credentials::None), "ada l:p@ss");
        assert_eq!(login("nats://sesame@a", Credentials::None), "sesame");
        assert_eq!(login("nats://a", Credentials::None), "None");
        assert_eq!(login("nats://ada:x@a", Credentials::Token("t".into())), "t");
    }
}
