//! `natslock admin permissions`

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nkeys::{KeyPair, KeyPairType};
use serde_json::json;

use crate::cli::Context;
use crate::cli::error::{CommandError, Kind};
use crate::nats::permissions::{NamePattern, Role, User};
use crate::wire::inbox::ReplyPrefix;

const EXAMPLE: &str = "\
Into the `users` of a server's configuration (see nats/secure.conf):
  natslock admin permissions --role client --owner alice --names orders --names 'orders.>' --make-nkey alice.nk
Alice then connects with:
  natslock --nkey alice.nk --owner alice --inbox-prefix _INBOX.alice acquire orders.42";

/// Print what a user of the NATS server needs for its role, to be put into the server's configuration
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Permissions {
    /// What the user is there for
    #[arg(long, value_name = "ROLE")]
    role: RoleName,
    /// Allow these locks: a name, in which `*` stands for any token and `>` at the end for all that follow
    #[arg(long, value_name = "NAME")]
    names: Vec<NamePattern>,
    /// Let a client see all locks of the namespace: list, stats and all events
    #[arg(long)]
    may_list: bool,
    /// Let an operator recover what is quarantined: it can then write and purge the bucket
    #[arg(long)]
    may_recover: bool,
    /// The user with this public nkey
    #[arg(long, value_name = "PUBLIC", value_parser = public_nkey)]
    public_nkey: Option<String>,
    /// Make a key pair for the user, and write its seed to this file, which only you can read
    #[arg(long, value_name = "FILE", conflicts_with = "public_nkey")]
    make_nkey: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum RoleName {
    /// Look at everything, take locks from their holders
    Operator,
    /// Serve, with one user for all of it
    Coordinator,
    /// Serve with two users: the one that hears and answers clients
    CoordinatorFront,
    /// Serve with two users: the one for the store (serve --store-nkey)
    CoordinatorStore,
    /// Hold locks of these names
    Client,
    /// Look at everything
    Observer,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Operator => Self::Operator,
            RoleName::Coordinator => Self::Coordinator,
            RoleName::CoordinatorFront => Self::CoordinatorFront,
            RoleName::CoordinatorStore => Self::CoordinatorStore,
            RoleName::Client => Self::Client,
            RoleName::Observer => Self::Observer,
        }
    }
}

pub(in crate::cli) fn run(asked: Permissions, context: &Context) -> Result<(), CommandError> {
    let user = user(&asked, context)?;
    let nkey = match &asked.make_nkey {
        Some(path) => Some(make_nkey(path)?),
        None => asked.public_nkey,
    };
    let permissions = user.permissions();
    if context.output.json {
        let body = json!({
            "nkey": nkey, "publish": permissions.publish, "subscribe": permissions.subscribe,
        });
        return context.output.raw(body.to_string().as_bytes());
    }
    context.output.line(format_args!("# {}", described(&user)))?;
    match nkey {
        None => context.output.line(permissions),
        Some(nkey) => {
            let block = permissions.to_string().replace('\n', "\n    ");
            context.output.line(format_args!("{{\n    nkey: {nkey}\n    {block}\n}}"))
        }
    }
}

fn user(asked: &Permissions, context: &Context) -> Result<User, CommandError> {
    let role = Role::from(asked.role);
    if role == Role::Client && asked.names.is_empty() {
        return Err(CommandError::new(
            Kind::Usage,
            "a client needs the --names of the locks that it may use",
        )
        .hint("--names '>' stands for all"));
    }
    if asked.may_recover && role != Role::Operator {
        return Err(CommandError::new(Kind::Usage, "only an operator may recover: --role operator"));
    }
    let inboxes = context.global.access.inbox_prefix.as_deref().map(str::parse).transpose();
    let inboxes: Option<ReplyPrefix> =
        inboxes.map_err(|error| CommandError::new(Kind::Usage, format!("{error}")))?;
    Ok(User {
        role,
        namespace: context.global.namespace.clone(),
        owner: context.owner(),
        names: if asked.names.is_empty() { vec![NamePattern::all()] } else { asked.names.clone() },
        inboxes: inboxes.unwrap_or_default(),
        lists: asked.may_list,
        recovers: asked.may_recover,
    })
}

fn described(user: &User) -> String {
    let namespace = &user.namespace;
    let what = match user.role {
        Role::Coordinator => return format!("a coordinator of {namespace}: natslock serve"),
        Role::CoordinatorFront => return format!("a coordinator of {namespace}: natslock serve --nkey"),
        Role::CoordinatorStore => return "its store: natslock serve --store-nkey".into(),
        Role::Operator => "an operator",
        Role::Client => "a client",
        Role::Observer => "an observer",
    };
    let (owner, inboxes) = (user.owner.as_str(), user.inbox_prefix());
    format!("{owner}, {what} of {namespace}: connects with --inbox-prefix {inboxes}")
}

fn public_nkey(typed: &str) -> Result<String, &'static str> {
    let wrong = "not the public nkey of a user: 56 letters and digits that begin with U";
    let pair = KeyPair::from_public_key(typed).map_err(|_| wrong)?;
    if pair.key_pair_type() == KeyPairType::User { Ok(typed.to_owned()) } else { Err(wrong) }
}

/// Makes a key pair, keeps the seed in a new file that only its owner can read, and returns the public key.
fn make_nkey(path: &Path) -> Result<String, CommandError> {
    let pair = KeyPair::new_user();
    let seed = pair.seed().map_err(|error| CommandError::internal("cannot make a key pair", error))?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| {
        writeln!(file, "{seed}")?;
        file.sync_all()
    });
    written.map_err(|error| {
        CommandError::new(Kind::Usage, format!("cannot write the nkey to {}: {error}", path.display()))
            .hint("give a file that is not there yet")
    })?;
    Ok(pair.public_key())
}
