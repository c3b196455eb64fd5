//! Connections, with the settings of the client library that would hurt set right.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ClientError, ConnectErrorKind, Event, ServerAddr, ServerError};

use super::denials::{Action, Denial, Denials};
use super::options::{ConnectOptions, Credentials, parse_urls, shown};
use super::transport::WHO_AM_I;
use super::version::ServerVersion;
use crate::clock::{Clock as _, SystemClock, within};
use crate::transport::SUBSCRIPTION_MESSAGES_MAX;
use crate::transport::subject::check_publishable;

/// A dead server is noticed after about three of these; the library's own 60 s would be minutes.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(1);
/// Between two attempts to connect again: at most this, where the library goes up to 4 s.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(250);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// One address may take so long, so that a dead one in a list does not use up the time of all.
pub(super) const ADDRESS_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that could not be made.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No server answered.
    #[error("no NATS server at {urls}: {reason}")]
    Unreachable {
        /// Which were tried, without the secrets in them.
        urls: String,
        /// What happened to the last one.
        reason: String,
    },
    /// The server does not know these credentials.
    #[error("the NATS server at {urls} refused the credentials")]
    Unauthorized {
        /// Which were tried, without the secrets in them.
        urls: String,
    },
    /// An option that cannot be used.
    #[error("{0}")]
    BadOption(String),
    /// A server that lacks what natslock needs.
    #[error(
        "the NATS server has version {found}, natslock needs {needed} or newer (nats/install gets one)",
        needed = ServerVersion::LEAST
    )]
    TooOld {
        /// What the server said.
        found: String,
    },
}

impl ConnectError {
    /// True where the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// A connection to NATS. Clones share it.
#[derive(Debug, Clone)]
pub struct Connection {
    client: Client,
    denials: Denials,
}

/// A connection that somebody else made, with whatever settings. It tells missing permissions by their time-outs
/// only, and its pings decide when a dead server is noticed.
impl From<Client> for Connection {
    fn from(client: Client) -> Self {
        Self { client, denials: Denials::new() }
    }
}

impl Connection {
    /// The client of the library.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// What the server did not allow this connection.
    pub const fn denials(&self) -> &Denials {
        &self.denials
    }

    /// Checks that the server is new enough.
    ///
    /// # Errors
    /// [`ConnectError::TooOld`], also where the server's version cannot be read.
    pub fn check_version(&self) -> Result<(), ConnectError> {
        let found = self.client.server_info().version;
        match found.parse::<ServerVersion>() {
            Ok(version) if version >= ServerVersion::LEAST => Ok(()),
            _ => Err(ConnectError::TooOld { found }),
        }
    }

    /// Sends what was published and ends the connection.
    pub async fn close(&self) {
        // Both fail only where the connection is closed already.
        let _ = self.client.drain().await;
    }

    /// Waits until the server refuses to let this connection publish to a subject that `concerns` the caller;
    /// for ever where it does not.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn denied(&self, concerns: impl Fn(&str) -> bool) -> Denial {
        let published = |denial: &Denial| denial.action == Action::Publish && concerns(&denial.subject);
        self.denials().wait(0, published).await
    }

    /// False while the connection is cut off.
    pub fn is_connected(&self) -> bool {
        self.client().connection_state() == State::Connected
    }
}

/// Connects.
///
/// # Errors
/// See [`ConnectError`]. With `keep_trying`, [`ConnectError::Unreachable`] never comes.
///
/// # Cancel safety
/// Dropping it leaves nothing behind.
pub async fn connect(options: &ConnectOptions) -> Result<Connection, ConnectError> {
    let addresses = parse_urls(&options.urls)?;
    loop {
        match attempt(options, &addresses).await {
            Err(error) if options.keep_trying && error.is_retryable() => {
                tracing::warn!(%error, "cannot connect, trying again");
                SystemClock.sleep_until(SystemClock::boot() + RECONNECT_DELAY_MAX).await;
            }
            done => return done,
        }
    }
}

/// Tries each server once.
async fn attempt(options: &ConnectOptions, addresses: &[ServerAddr]) -> Result<Connection, ConnectError> {
    let denials = Denials::new();
    let library = library_options(options, addresses, denials.clone()).await?;
    let urls = || shown(addresses);
    let connected = within(&SystemClock, options.timeout, library.connect(addresses)).await;
    let client = match connected {
        Some(Ok(client)) => client,
        Some(Err(error)) => return Err(explain(&error, urls())),
        None => {
            let reason = format!("no answer within {:?}", options.timeout);
            return Err(ConnectError::Unreachable { urls: urls(), reason });
        }
    };
    let connection = Connection { client, denials };
    connection.check_version()?;
    Ok(connection)
}

fn explain(error: &async_nats::ConnectError, urls: String) -> ConnectError {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation => ConnectError::Unauthorized { urls },
        ConnectErrorKind::Authentication => ConnectError::BadOption(format!("the key cannot sign: {error}")),
        ConnectErrorKind::ServerParse | ConnectErrorKind::Tls => ConnectError::BadOption(error.to_string()),
        _ => ConnectError::Unreachable { urls, reason: error.to_string() },
    }
}

async fn library_options(
    options: &ConnectOptions,
    addresses: &[ServerAddr],
    denials: Denials,
) -> Result<async_nats::ConnectOptions, ConnectError> {
    let inboxes = options.inbox_prefix.clone().unwrap_or_else(|| "_INBOX".into());
    let mut library = async_nats::ConnectOptions::new()
        .ping_interval(PING_INTERVAL)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .connection_timeout(options.timeout.min(ADDRESS_TIMEOUT))
        .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
        .reconnect_delay_callback(reconnect_delay)
        .event_callback(move |event| {
            note(&event, &denials, &inboxes);
            std::future::ready(())
        })
        .require_tls(options.tls.required);
    if let Some(prefix) = &options.inbox_prefix {
        check_publishable(prefix)
            .map_err(|error| ConnectError::BadOption(format!("inbox prefix: {error}")))?;
        library = library.custom_inbox_prefix(prefix);
    }
    if let Some(name) = &options.name {
        library = library.name(name);
    }
    if options.no_echo {
        library = library.no_echo();
    }
    if let Some(path) = &options.tls.authority {
        library = library.add_root_certificates(path.clone());
    }
    if let Some((certificate, key)) = &options.tls.identity {
        library = library.add_client_certificate(certificate.clone(), key.clone());
    }
    with_credentials(library, &options.login(addresses)).await
}

async fn with_credentials(
    library: async_nats::ConnectOptions,
    credentials: &Credentials,
) -> Result<async_nats::ConnectOptions, ConnectError> {
    Ok(match credentials {
        Credentials::None => library,
        Credentials::File(path) => library
            .credentials_file(path)
            .await
            .map_err(|error| ConnectError::BadOption(format!("credentials {}: {error}", path.display())))?,
        Credentials::NkeySeed(seed) => library.nkey(seed.clone()),
        Credentials::User { name, password } => library.user_and_password(name.clone(), password.clone()),
        Credentials::Token(token) => library.token(token.clone()),
    })
}

/// At once the first time, then 50 to 250 ms, so that the clients of a server that comes back do not come all
/// together.
pub(super) fn reconnect_delay(attempts: usize) -> Duration {
    if attempts <= 1 {
        return Duration::ZERO;
    }
    // Each RandomState has other keys: the hash of nothing is random enough to spread clients out.
    let random = RandomState::new().build_hasher().finish();
    Duration::from_millis(50 + random % (RECONNECT_DELAY_MAX.as_millis() as u64 - 49))
}

/// Logs what happens to the connection and remembers missing permissions.
fn note(event: &Event, denials: &Denials, inboxes: &str) {
    match event {
        Event::ServerError(ServerError::Other(error)) if denials.note(error) => {
            // Whoever confirms a subscription is content with a refusal, and so is a claim to an inbox.
            let confirms = |denial: &Denial| {
                let content = denial.subject == WHO_AM_I || denial.subject.starts_with(inboxes);
                denial.action == Action::Publish && content
            };
            if !denials.last().is_some_and(|denial| confirms(&denial)) {
                tracing::error!(%error, "the NATS server does not allow what natslock needs");
            }
        }
        Event::Connected => {
            denials.bar(false);
            tracing::info!("connected to NATS");
        }
        event if bars(event) => {
            denials.bar(true);
            tracing::error!(%event, "the NATS server does not let this user in, or no longer");
        }
        Event::Disconnected => tracing::warn!("disconnected from NATS"),
        Event::SlowConsumer(subscription) => {
            tracing::warn!(subscription, "messages were lost: more came in than were handled");
        }
        other => tracing::warn!(event = %other, "NATS"),
    }
}

/// True for what a server says to a user that it does not know, when it comes and, after a change of the server's
/// configuration, while it is there.
fn bars(event: &Event) -> bool {
    let violation = ConnectErrorKind::AuthorizationViolation.to_string();
    match event {
        Event::ServerError(ServerError::AuthorizationViolation) => true,
        // Of a JWT: revoked, or expired.
        Event::ServerError(ServerError::Other(error)) => error.to_lowercase().contains("authentication"),
        Event::ClientError(ClientError::Other(error)) => *error == violation,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnects_at_once_and_then_within_a_quarter_of_a_second() {
        assert_eq!(reconnect_delay(1), Duration::ZERO);
        for attempts in 2..200 {
            let delay = reconnect_delay(attempts);
            assert!((Duration::from_millis(50)..=RECONNECT_DELAY_MAX).contains(&delay), "{delay:?}");
        }
    }

    #[tokio::test]
    async fn bad_options_are_told_before_connecting() {
        let none = ConnectOptions { urls: Vec::new(), ..ConnectOptions::default() };
        let scheme = ConnectOptions { urls: vec!["http://a:b@x".into()], ..ConnectOptions::default() };
        let prefix = ConnectOptions { inbox_prefix: Some("a..b".into()), ..ConnectOptions::default() };
        let file = Credentials::File("/nonexistent/x.creds".into());
        let file = ConnectOptions { credentials: file, keep_trying: true, ..ConnectOptions::default() };
        for options in [none, scheme, prefix, file] {
            let error = connect(&options).await.unwrap_err();
            assert!(matches!(error, ConnectError::BadOption(_)) && !error.is_retryable(), "{error}");
        }
    }
}
