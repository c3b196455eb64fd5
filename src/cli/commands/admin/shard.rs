//! A shard whose store went back in time, was emptied or was made again.

use std::time::Duration;

use serde::Serialize;

use super::recover::{Place, explain};
use crate::cli::error::{CommandError, Kind};
use crate::cli::output::{BOLD, GREEN};
use crate::cli::session::explain_transport;
use crate::cli::text::{self, count, tame};
use crate::clock::SystemClock;
use crate::nats::NatsTransport;
use crate::service::recovery::{Findings, Plan, Recovery, Step, Wish, ask_around, survey};
use crate::types::{Token, Ttl};
use crate::wire::bucket::RECOVERY;
use crate::wire::report::Report;

/// How often to look whether a coordinator goes on; one look takes a second and a half.
const LOOKS: usize = 14;
/// How many locks are named.
const NAMED: usize = 5;

/// What was done, for programs.
#[derive(Serialize)]
struct Recovered<'a> {
    status: &'static str,
    shard: u16,
    reasons: &'a [String],
    highest_token: u64,
    first_token: u64,
    holder_count: usize,
    wait_ms: u64,
    leading: bool,
}

pub(super) async fn recover(place: &Place<'_>, wish: Wish, yes: bool) -> Result<(), CommandError> {
    let store = place.open().await?;
    let reports = ask(place).await?;
    let found = survey(&store, reports, SystemClock::wall()).await.map_err(|error| explain(&error))?;
    let Some(plan) = found.plan(wish) else {
        let message = format!("shard {} is sound: nothing to recover", place.shard);
        return Err(CommandError::new(Kind::NothingToRecover, message)
            .hint("if a backup was restored that no coordinator noticed: natslock admin recover --force"));
    };
    place.confirm(&words(place, &found, &plan, wish), yes, &again(wish)).await?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let output = place.context.output;
    let mut recovery = Recovery::new(store, SystemClock, plan.clone(), host);
    let done = recovery.carry_out(|step| {
        // Where nobody reads it, it is done all the same.
        let _ = output.aside(doing(step));
    });
    done.await.map_err(|error| {
        explain(&error).hint("nothing is served until it is finished: run the same command again")
    })?;
    let leading = goes_on(place, found.reports.is_empty()).await?;
    tell(place, &found, &plan, leading)
}

async fn ask(place: &Place<'_>) -> Result<Vec<Report>, CommandError> {
    let transport = NatsTransport::new(place.connection.clone());
    let namespace = &place.context.global.namespace;
    ask_around(&transport, &SystemClock, namespace, place.shard).await.map_err(explain_transport)
}

/// Waits a while for a coordinator that leads again. Where none runs there is nothing to wait for.
async fn goes_on(place: &Place<'_>, nobody_runs: bool) -> Result<bool, CommandError> {
    let looks = if nobody_runs { 1 } else { LOOKS };
    for _ in 0..looks {
        if ask(place).await?.iter().any(|report| report.leads && report.found.is_none()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn tell(place: &Place<'_>, found: &Findings, plan: &Plan, leading: bool) -> Result<(), CommandError> {
    let output = place.context.output;
    if output.json {
        let body = Recovered {
            status: "recovered",
            shard: place.shard.0,
            reasons: &plan.reasons,
            highest_token: Token::new(plan.known, u8::MAX).get(),
            first_token: Token::new(plan.floor, 0).get(),
            holder_count: found.holder_count(),
            wait_ms: u64::try_from(plan.embargo.as_millis()).unwrap_or(u64::MAX),
            leading,
        };
        return output.raw(&serde_json::to_vec(&body).unwrap_or_default());
    }
    let goes_on = if leading { "a coordinator leads again" } else { "no coordinator leads yet" };
    let wait = match plan.embargo {
        Duration::ZERO => String::new(),
        wait => format!("; it grants and renews nothing for {}", text::span(wait)),
    };
    output.line(format_args!("{GREEN}recovered{GREEN:#} shard {}: {goes_on}{wait}", place.shard))
}

const fn doing(step: Step) -> &'static str {
    match step {
        Step::MakeCopy => "making a bucket to keep the records in",
        Step::SetAside => "setting the shard's bucket aside",
        Step::Save => "keeping the records",
        Step::Raise => "raising the revisions",
        Step::Restore => "writing the records again",
        Step::Finish => "handing the shard back",
        Step::Readmit => "letting coordinators serve",
        Step::RemoveCopy => "removing the bucket that kept the records",
        Step::Done => "done",
    }
}

/// The words of this command line.
fn again(wish: Wish) -> Vec<String> {
    let mut words = vec!["admin".to_owned(), "recover".to_owned()];
    if wish.force {
        words.push("--force".into());
    }
    if let Some(wait) = wish.wait {
        words.extend(["--wait".to_owned(), humantime::format_duration(wait).to_string()]);
    }
    words
}

/// All that the operator has to know before the answer.
fn words(place: &Place<'_>, found: &Findings, plan: &Plan, wish: Wish) -> Vec<String> {
    let bucket = place.bucket.name();
    let mut lines =
        vec![format!("Shard {} needs recovery. What was found in {BOLD}{bucket}{BOLD:#}:", place.shard)];
    lines.extend(plan.reasons.iter().map(|reason| format!("  - {}", tame(reason))));
    lines.extend(records(found));
    lines.push(format!("  - tokens up to {} may have been given", Token::new(plan.known, u8::MAX)));
    lines.push("What will be done:".into());
    if plan.resumes {
        lines.push("  - the recovery that was begun is finished, with the records it has kept".into());
    }
    lines.push(format!("  - the records are kept in the bucket {bucket}{RECOVERY} until all is done"));
    lines.push(format!("  - tokens begin anew at {}, above all others", Token::new(plan.floor, 0)));
    lines.push("  - the records are written again: their holders keep locks and tokens".into());
    lines.push(format!("  - {}", waiting(plan, wish)));
    lines.push(format!("  - {}", going_on(&found.reports)));
    lines
}

fn records(found: &Findings) -> Vec<String> {
    let holders = count(found.holder_count(), "holder");
    let mut lines = vec![format!("  - {} with {holders}", count(found.locks.len(), "lock record"))];
    let garbled: Vec<String> = found.garbled().map(|name| tame(&name.to_string())).collect();
    if !garbled.is_empty() {
        let named = garbled.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let unread = count(garbled.len(), "record");
        lines.push(format!("  - {unread} that cannot be read and stay quarantined: {named}"));
    }
    lines
}

/// How long nobody is granted anything, and why.
fn waiting(plan: &Plan, wish: Wish) -> String {
    let wait = text::span(plan.embargo);
    match (wish.wait, plan.longest) {
        (Some(Duration::ZERO), _) => {
            "locks are granted at once, as you wish: whoever was granted one by a write \
             that is lost may still believe in it, beside the next holder"
                .into()
        }
        (Some(_), _) => format!(
            "nothing is granted or renewed for {wait}, as you wish: a lost lease that is longer may still be \
             believed in then"
        ),
        (None, Some(longest)) => format!(
            "nothing is granted or renewed for {wait}: leases of up to {} may be lost, and have run out by then",
            text::span(longest)
        ),
        (None, None) => format!(
            "nothing is granted or renewed for {wait}: no coordinator that led at the time answers, and a lost \
             lease may be as long as {}. If you know that none was longer than 30 s, give --wait 91s",
            text::span(Duration::from_millis(Ttl::MS_MAX))
        ),
    }
}

fn going_on(reports: &[Report]) -> String {
    if reports.is_empty() {
        return "no coordinator answers; start one afterwards: natslock serve".into();
    }
    let mut named: Vec<String> =
        reports.iter().map(|report| format!("{} (process {})", tame(&report.host), report.pid)).collect();
    let left = named.len().saturating_sub(NAMED);
    named.truncate(NAMED);
    let more = if left > 0 { format!(" and {left} more") } else { String::new() };
    format!("the coordinators go on by themselves: {}{more}", named.join(", "))
}
