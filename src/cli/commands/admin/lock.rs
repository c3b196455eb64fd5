//! A lock whose record does not decode.

use std::fmt::Write as _;

use super::recover::{Place, explain};
use crate::cli::error::{CommandError, Kind};
use crate::cli::output::{BOLD, GREEN};
use crate::cli::session::Session;
use crate::cli::text;
use crate::engine::message::Code;
use crate::store::{Entry, Store as _};
use crate::types::{Key, LockName};
use crate::wire::record::{RecordError, decode_lock};
use crate::wire::subject::Verb;

/// How many bytes of a record are shown.
const SHOWN: usize = 32;

/// Tells what is there, and lets the leader write it anew. Only the leader can: it is the one that must know of
/// it, and nobody else may end what may be a lease (S6).
pub(super) async fn recover(place: &Place<'_>, name: &LockName, yes: bool) -> Result<(), CommandError> {
    let store = place.open().await?;
    let entry = store.read(Key::Lock(name.clone())).await.map_err(|error| explain(&error))?;
    let shown = text::tame(&name.to_string());
    let session = place.context.open("admin recover").await?;
    let (plan, reason) = match garbled(entry, &shown)? {
        Some((entry, error)) => {
            (words(&shown, &entry, &error), format!("its record could not be read: {error}"))
        }
        None if is_quarantined(&session, name).await? => (gone(&shown), "its record is gone".into()),
        None => {
            let message = format!("lock {shown} has no record: nothing to recover");
            return Err(CommandError::new(Kind::NothingToRecover, message));
        }
    };
    place.confirm(&plan, yes, &["admin".into(), "recover".into(), name.to_string()]).await?;
    let released = session.caller().admin_release(name, Some(reason));
    if session.answer(Verb::AdminRelease, released).await?.is_some() {
        place
            .context
            .output
            .line(format_args!("{GREEN}recovered{GREEN:#} {BOLD}{shown}{BOLD:#}: nobody holds it"))?;
    }
    Ok(())
}

/// The record, and why it cannot be read; nothing where there is none. One that can be read is left alone.
fn garbled(entry: Option<Entry>, name: &str) -> Result<Option<(Entry, RecordError)>, CommandError> {
    let Some(entry) = entry else { return Ok(None) };
    let Some(value) = &entry.value else { return Ok(None) };
    match decode_lock(value) {
        Err(error) => Ok(Some((entry, error))),
        Ok(record) => {
            let held = if record.is_free() { "nobody holds it" } else { "it is held" };
            let message = format!("the record of lock {name} can be read, and {held}: nothing to recover");
            let error = CommandError::new(Kind::NothingToRecover, message);
            Err(if record.is_free() {
                error
            } else {
                error.hint("to take it from its holders: natslock admin release NAME")
            })
        }
    }
}

fn words(name: &str, entry: &Entry, error: &RecordError) -> Vec<String> {
    let value = entry.value.as_deref().unwrap_or_default();
    let more = if value.len() > SHOWN { " ..." } else { "" };
    let begins = &value[..value.len().min(SHOWN)];
    vec![
        format!("Lock {BOLD}{name}{BOLD:#} is quarantined. What is there:"),
        format!("  revision    {}", entry.revision),
        format!("  size        {}", text::count(value.len(), "byte")),
        format!("  begins      {}{more}", hex(begins)),
        format!("  as text     {}{more}", text::tame(&String::from_utf8_lossy(begins))),
        format!("  unreadable  {error}"),
        "What will be done: the leader writes it anew, held by nobody. Who held it cannot be known, and may"
            .into(),
        "believe in it until the lease runs out; tokens of later holders are higher.".into(),
    ]
}

/// A purge leaves no trace that the leader could hear of.
async fn is_quarantined(session: &Session<'_>, name: &LockName) -> Result<bool, CommandError> {
    match session.ask(Verb::Check, session.caller().check(name, 1)).await {
        Ok(_) => Ok(false),
        Err(error) if matches!(error.kind(), Kind::Refused(Some(Code::Quarantined), _)) => Ok(true),
        Err(error) => Err(error),
    }
}

fn gone(name: &str) -> Vec<String> {
    vec![
        format!(
            "Lock {BOLD}{name}{BOLD:#} is quarantined: its record could not be read, and is gone by now."
        ),
        "What will be done: the leader writes it anew, held by nobody. Who held it cannot be known, and may"
            .into(),
        "believe in it until the lease runs out; tokens of later holders are higher.".into(),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().enumerate().fold(String::new(), |mut text, (index, byte)| {
        let gap = if index > 0 { " " } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{gap}{byte:02x}");
        text
    })
}
