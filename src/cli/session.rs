//! A command's connection and client, and what their failures mean to whoever typed the command.

use std::path::Path;

use super::Context;
use super::args::{Access, Global};
use super::error::{CommandError, Kind};
use crate::client::{Answered, CallError, Caller, Client, ClientOptions, default_owner};
use crate::nats::{ConnectError, ConnectOptions, Connection, Credentials, NatsTransport, Tls, connect};
use crate::transport::{SharedTransport, TransportError};
use crate::types::OwnerName;
use crate::wire::subject::Verb;

const START_SERVER: &str = "start one: natslock dev   (or ./nats/run ..., or give --nats URL)";

const TRUST_SERVER: &str = "give --tls-ca FILE with the authority of the server's certificate, and a URL with a name \
                            that stands in it; a server that asks for one wants --tls-cert and --tls-key too";

/// A connection that asks in the name of its owner.
pub(super) struct Session<'a> {
    pub(super) client: Client,
    connection: Connection,
    context: &'a Context,
}

impl Context {
    /// In whose name.
    pub(super) fn owner(&self) -> OwnerName {
        self.global.owner.clone().unwrap_or_else(default_owner)
    }

    /// How to connect; `command` is shown by the server.
    pub(super) fn connect_options(&self, command: &str) -> Result<ConnectOptions, CommandError> {
        let Global { nats, access, .. } = &self.global;
        let identity = access.tls_cert.clone().zip(access.tls_key.clone());
        let required = access.tls_ca.is_some() || identity.is_some();
        Ok(ConnectOptions {
            urls: nats.clone(),
            credentials: credentials(access)?,
            tls: Tls { authority: access.tls_ca.clone(), identity, required },
            inbox_prefix: access.inbox_prefix.clone(),
            name: Some(format!("natslock {command}")),
            ..ConnectOptions::default()
        })
    }

    /// Connects.
    pub(super) async fn open(&self, command: &str) -> Result<Session<'_>, CommandError> {
        let connection = connect(&self.connect_options(command)?).await.map_err(explain_connect)?;
        let options = ClientOptions::new(self.owner()).namespace(self.global.namespace.clone());
        let transport = SharedTransport::new(NatsTransport::new(connection.clone()));
        let client = Client::over(transport, options).await.map_err(explain_transport)?;
        Ok(Session { client, connection, context: self })
    }
}

impl Session<'_> {
    /// Asks without a guard.
    pub(super) const fn caller(&self) -> &Caller {
        self.client.caller()
    }

    /// False while the connection is cut off.
    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_connected()
    }

    /// Waits for an answer, or for the server to say that such a request is not allowed.
    pub(super) async fn ask<V, E: Into<Failure>>(
        &self,
        verb: Verb,
        call: impl Future<Output = Result<V, E>>,
    ) -> Result<V, CommandError> {
        let denied = self.connection.denied(|subject| subject.split('.').nth(2) == Some(verb.as_str()));
        tokio::select! {
            biased;
            answer = call => answer.map_err(|error| self.explain(error.into())),
            denial = denied => Err(forbidden(denial.to_string())),
        }
    }

    /// Waits for an answer, and prints it where it is for programs; else it is left to the caller.
    pub(super) async fn answer(
        &self,
        verb: Verb,
        call: impl Future<Output = Result<Answered, CallError>>,
    ) -> Result<Option<Answered>, CommandError> {
        let answered = self.ask(verb, call).await?;
        if self.context.output.json {
            self.context.output.raw(&answered.raw)?;
            return Ok(None);
        }
        Ok(Some(answered))
    }

    /// Sends what is on its way and ends the connection.
    pub(super) async fn close(self) {
        self.connection.close().await;
    }

    fn explain(&self, failure: Failure) -> CommandError {
        match failure {
            Failure::Told(error) => error,
            Failure::Unanswered { .. } if !self.connection.is_connected() => {
                CommandError::new(Kind::NoServer, "the connection to the NATS server is lost")
                    .hint(START_SERVER)
            }
            Failure::Unanswered { message, nobody: false } => CommandError::new(Kind::NoAnswer, message)
                .hint("the coordinator or its store is busy: try again, with the same id where there is one"),
            Failure::Unanswered { message, nobody: true } => {
                CommandError::new(Kind::NoCoordinator, message).hint(self.start_coordinator())
            }
        }
    }

    fn start_coordinator(&self) -> String {
        let urls = self.context.global.nats.join(",");
        let again = &self.context.again;
        if again.names_servers() || urls.contains('@') {
            return format!("start one: {}", again.command_of_anybody(&["serve"]));
        }
        format!("start one: {}", again.command_of_anybody(&["serve", "--nats", &urls]))
    }
}

/// What went wrong with a request.
pub(super) enum Failure {
    /// All is said.
    Told(CommandError),
    /// No answer; why, the connection may know.
    Unanswered { message: String, nobody: bool },
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::NoAnswer { .. } => Self::Unanswered { message, nobody: false },
            CallError::NoCoordinator { .. } => Self::Unanswered { message, nobody: true },
            CallError::Refused(refused, raw) => Self::Told(CommandError::refused(refused, raw)),
            CallError::Name(_) => Self::Told(CommandError::new(Kind::Usage, message)),
            CallError::Transport(error) => Self::Told(explain_transport(error)),
            CallError::Protocol(_) => Self::Told(
                CommandError::new(Kind::Internal, message)
                    .hint("the coordinator is of another version? natslock info shows it"),
            ),
        }
    }
}

/// A connection that could not be made.
pub(super) fn explain_connect(error: ConnectError) -> CommandError {
    let message = error.to_string();
    match error {
        ConnectError::Unreachable { .. } if message.contains("certificate") => {
            CommandError::new(Kind::NoServer, message).hint(TRUST_SERVER)
        }
        ConnectError::Unreachable { .. } => CommandError::new(Kind::NoServer, message).hint(START_SERVER),
        ConnectError::Unauthorized { .. } => CommandError::new(Kind::Forbidden, message)
            .hint("give --creds FILE, --nkey FILE or --user NAME --password PASSWORD"),
        ConnectError::BadOption(_) => CommandError::new(Kind::Usage, message),
        ConnectError::TooOld { .. } => CommandError::new(Kind::Unfit, message),
    }
}

pub(super) fn explain_transport(error: TransportError) -> CommandError {
    let message = error.to_string();
    match error {
        TransportError::Refused(_) => forbidden(message),
        TransportError::Closed | TransportError::Unavailable(_) => {
            CommandError::new(Kind::NoServer, message).hint(START_SERVER)
        }
    }
}

fn forbidden(message: String) -> CommandError {
    // As `admin permissions` makes users: each has one owner, and inboxes of its own.
    let hint = if message.contains("subscribe to _INBOX.") {
        "users of `natslock admin permissions` hear their own inboxes only: give --inbox-prefix _INBOX.OWNER"
    } else {
        "the user's permissions must allow it, in the configuration of the NATS server; --owner must be whom they \
         are for"
    };
    CommandError::new(Kind::Forbidden, message).hint(hint)
}

fn credentials(access: &Access) -> Result<Credentials, CommandError> {
    let user = access.user.as_deref().zip(access.password.as_deref());
    let named = named_credentials(access.creds.as_deref(), access.nkey.as_deref(), user)?;
    Ok(named.unwrap_or_default())
}

/// Those that are named, if any.
pub(super) fn named_credentials(
    creds: Option<&Path>,
    nkey: Option<&str>,
    user: Option<(&str, &str)>,
) -> Result<Option<Credentials>, CommandError> {
    if let Some(path) = creds {
        return Ok(Some(Credentials::File(path.to_owned())));
    }
    if let Some(nkey) = nkey {
        return seed(nkey).map(|seed| Some(Credentials::NkeySeed(seed)));
    }
    Ok(user.map(|(name, password)| Credentials::User { name: name.into(), password: password.into() }))
}

/// True for the seed of an nkey, as opposed to the path of a file.
pub(super) fn is_seed(text: &str) -> bool {
    text.len() == 58 && text.starts_with("SU") && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The seed itself, or the line of the file that is one.
fn seed(given: &str) -> Result<String, CommandError> {
    if is_seed(given) {
        return Ok(given.to_owned());
    }
    let path = Path::new(given);
    let text = std::fs::read_to_string(path).map_err(|error| {
        CommandError::new(Kind::Usage, format!("cannot read the nkey in {}: {error}", path.display()))
    })?;
    let line = text.lines().map(str::trim).find(|line| is_seed(line));
    line.map(str::to_owned).ok_or_else(|| {
        CommandError::new(Kind::Usage, format!("there is no seed of a user's nkey in {}", path.display()))
    })
}
