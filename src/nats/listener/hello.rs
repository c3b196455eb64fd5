//! Who connects, as a server wants to hear it.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde::{Deserialize, Serialize};

use crate::nats::connect::ConnectError;
use crate::nats::options::{ConnectOptions, Credentials};

/// What a server says first, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(super) struct ServerHello {
    pub(super) server_id: String,
    #[serde(default)]
    pub(super) tls_required: bool,
    /// What to sign.
    #[serde(default)]
    nonce: String,
}

/// What it is answered.
#[derive(Default, Serialize)]
struct Hello<'a> {
    verbose: bool,
    pedantic: bool,
    /// Without them the server sends a message's body only.
    headers: bool,
    no_responders: bool,
    echo: bool,
    protocol: u8,
    lang: &'a str,
    version: &'a str,
    tls_required: bool,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

/// Who connects, with all that is needed to show it.
pub(super) enum Login {
    Nobody,
    User { name: String, password: String },
    Token(String),
    Key(KeyPair),
    Jwt { jwt: String, key: KeyPair },
}

impl Login {
    /// Reads what stands in files.
    pub(super) fn of(credentials: &Credentials) -> Result<Self, ConnectError> {
        Ok(match credentials {
            Credentials::None => Self::Nobody,
            Credentials::User { name, password } => {
                Self::User { name: name.clone(), password: password.clone() }
            }
            Credentials::Token(token) => Self::Token(token.clone()),
            Credentials::NkeySeed(seed) => Self::Key(key(seed)?),
            Credentials::File(path) => Self::read(path)?,
        })
    }

    fn read(path: &Path) -> Result<Self, ConnectError> {
        let unusable =
            |why: String| ConnectError::BadOption(format!("credentials {}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        let mut parts = armoured(&text);
        let (Some(jwt), Some(seed)) = (parts.next(), parts.next()) else {
            return Err(unusable("no JWT and key between lines of dashes".into()));
        };
        Ok(Self::Jwt { jwt: jwt.to_owned(), key: key(seed)? })
    }

    /// The answer to what a server said first.
    pub(super) fn answer(
        &self,
        server: &ServerHello,
        options: &ConnectOptions,
        tls: bool,
    ) -> Result<Vec<u8>, ConnectError> {
        let mut hello = Hello {
            protocol: 1,
            lang: "rust",
            version: env!("CARGO_PKG_VERSION"),
            tls_required: tls,
            name: format!("{} (requests)", options.name.as_deref().unwrap_or("natslock")),
            ..Hello::default()
        };
        match self {
            Self::Nobody => {}
            Self::User { name, password } => (hello.user, hello.pass) = (Some(name), Some(password)),
            Self::Token(token) => hello.auth_token = Some(token),
            Self::Key(key) => {
                (hello.nkey, hello.sig) = (Some(key.public_key()), Some(signed(key, server)?));
            }
            Self::Jwt { jwt, key } => (hello.jwt, hello.sig) = (Some(jwt), Some(signed(key, server)?)),
        }
        let hello = serde_json::to_string(&hello).unwrap_or_default();
        Ok(format!("CONNECT {hello}\r\nPING\r\n").into_bytes())
    }
}

/// What stands between a line of dashes and the next one: `-----BEGIN ...-----`, one line, `------END ...------`.
fn armoured(text: &str) -> impl Iterator<Item = &str> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines()
        .zip(lines().skip(1))
        .filter(|(above, line)| dashes(above) && !dashes(line))
        .filter_map(|(above, line)| above.contains("BEGIN").then_some(line))
}

fn dashes(line: &str) -> bool {
    line.starts_with("---")
}

fn key(seed: &str) -> Result<KeyPair, ConnectError> {
    KeyPair::from_seed(seed.trim())
        .map_err(|error| ConnectError::BadOption(format!("not the seed of a key: {error}")))
}

fn signed(key: &KeyPair, server: &ServerHello) -> Result<String, ConnectError> {
    let signed = key.sign(server.nonce.as_bytes());
    signed
        .map(|signature| URL_SAFE_NO_PAD.encode(signature))
        .map_err(|error| ConnectError::BadOption(format!("the key cannot sign: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = r#"{"server_id":"A","nonce":"once","port":4222}"#;

    fn said(credentials: &Credentials) -> serde_json::Value {
        let server = serde_json::from_str(SERVER).unwrap();
        let login = Login::of(credentials).unwrap();
        let answer = login.answer(&server, &ConnectOptions::default(), false).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let hello = answer.strip_prefix("CONNECT ").unwrap().strip_suffix("\r\nPING\r\n").unwrap();
        serde_json::from_str(hello).unwrap()
    }

    fn proves(key: &KeyPair, said: &serde_json::Value) {
        let signature = URL_SAFE_NO_PAD.decode(said["sig"].as_str().unwrap()).unwrap();
        key.verify(b"once", &signature).unwrap();
    }

    #[test]
    fn no_headers_are_wanted() {
        let said = said(&Credentials::None);
        assert_eq!((&said["headers"], &said["no_responders"]), (&false.into(), &false.into()));
        assert_eq!((said.get("user"), said.get("sig")), (None, None));
    }

    #[test]
    fn every_kind_of_credentials_is_shown() {
        let user = Credentials::User { name: "u".into(), password: "p".into() };
        assert_eq!((&said(&user)["user"], &said(&user)["pass"]), (&"u".into(), &"p".into()));
        assert_eq!(said(&Credentials::Token("t".into()))["auth_token"], "t");
        let key = KeyPair::new_user();
        let shown = said(&Credentials::NkeySeed(key.seed().unwrap()));
        assert_eq!(shown["nkey"], key.public_key());
        proves(&key, &shown);
    }

    #[test]
    fn a_credentials_file_has_a_jwt_and_a_key() {
        let key = KeyPair::new_user();
        let seed = key.seed().unwrap();
        let path = std::env::temp_dir().join(format!("natslock-hello-{}.creds", std::process::id()));
        let text = format!(
            "-----BEGIN NATS USER JWT-----\r\nabc.def\r\n------END NATS USER JWT------\r\n\n*** IMPORTANT ***\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        std::fs::write(&path, text).unwrap();
        let shown = said(&Credentials::File(path.clone()));
        assert_eq!((&shown["jwt"], shown.get("nkey")), (&"abc.def".into(), None));
        proves(&key, &shown);
        std::fs::write(&path, "abc").unwrap();
        let error = Login::of(&Credentials::File(path.clone())).err().unwrap();
        assert!(error.to_string().contains("no JWT and key"), "{error}");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_seed_that_is_none_is_told() {
        let error = Login::of(&Credentials::NkeySeed("SUAX".into())).err().unwrap();
        assert!(error.to_string().starts_with("not the seed of a key"), "{error}");
    }
}
