//! What the view shows, second by second: one server-sent event each, in JSON.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;

use super::Site;
use crate::cli::commands::list::beginning;
use crate::clock::{Clock as _, SystemClock};
use crate::engine::message::Reply;
use crate::measures::Second;
use crate::service::{Picture, Status, Wish};
use crate::types::{LockName, Timestamp};
use crate::wire::{Format, reply, stats};

const EVERY: Duration = Duration::from_secs(1);
/// How many locks are listed.
const LISTED: usize = 100;

/// What a view wants to see.
#[derive(Deserialize)]
pub(super) struct Wanted {
    /// Locks whose names begin so, as typed.
    #[serde(default)]
    prefix: String,
    /// One lock, as it was listed.
    #[serde(default)]
    lock: String,
}

/// One view that is open.
struct View {
    site: Site,
    wish: Wish,
    /// The latest second that was told.
    told: Option<u64>,
    next: Timestamp,
    _open: OwnedSemaphorePermit,
}

pub(super) async fn live(State(site): State<Site>, Query(wanted): Query<Wanted>) -> Response {
    let Ok(open) = site.views.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many views are open\n").into_response();
    };
    // What no name begins with matches nothing.
    let prefix = beginning(&wanted.prefix).map_or_else(|_| "?".to_owned(), |prefix| prefix.encoded);
    let detail = LockName::from_encoded(&wanted.lock).ok();
    let wish = Wish { prefix, limit: LISTED, detail, events_seen: 0 };
    let view = View { site, wish, told: None, next: SystemClock::boot(), _open: open };
    Sse::new(stream::unfold(view, |view| async { Some(view.tick().await) })).into_response()
}

impl View {
    async fn tick(mut self) -> (Result<Event, Infallible>, Self) {
        SystemClock.sleep_until(self.next).await;
        self.next = SystemClock::boot() + EVERY;
        let picture = match self.site.observer() {
            Some(observer) => observer.picture(self.wish.clone()).await,
            None => None,
        };
        let data = match &picture {
            Some(picture) => self.body(picture),
            None => r#"{"status":"waiting for NATS or JetStream"}"#.to_owned(),
        };
        (Ok(Event::default().data(data)), self)
    }

    fn body(&mut self, picture: &Picture) -> String {
        let news = picture.recent.iter().filter(|second| self.told.is_none_or(|told| second.number > told));
        let seconds: Vec<_> = news.map(SecondBody::of).collect();
        self.told = picture.recent.last().map(|second| second.number).or(self.told);
        self.wish.events_seen = picture.events_seen;
        let list = Reply::List { locks: picture.locks.clone(), next: None };
        let encode = |reply: &Reply| reply::encode(Format::Json, picture.epoch, reply);
        let (stats, list) = (stats::encode(Format::Json, picture.epoch, &picture.stats), encode(&list));
        let detail = picture.detail.clone().map(|view| encode(&Reply::Held(view)));
        let body = Body {
            namespace: picture.namespace.as_str(),
            status: status(picture),
            epoch: picture.epoch.get(),
            at_ms: picture.at.0,
            stats: raw(&stats),
            list: raw(&list),
            more: picture.more,
            detail: detail.as_deref().map(raw),
            seconds,
            events: picture.events.iter().map(|event| raw(event)).collect(),
        };
        serde_json::to_string(&body).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Body<'a> {
    namespace: &'a str,
    status: String,
    epoch: u64,
    at_ms: u64,
    stats: &'a RawValue,
    list: &'a RawValue,
    more: bool,
    detail: Option<&'a RawValue>,
    seconds: Vec<SecondBody>,
    events: Vec<&'a RawValue>,
}

#[derive(Serialize)]
struct SecondBody {
    second: u64,
    acquires: u64,
    contended: u64,
    grants: u64,
    ended: u64,
    refused: u64,
    acquire_p50_ms: Option<f64>,
    acquire_p99_ms: Option<f64>,
    wait_p99_ms: Option<f64>,
}

impl SecondBody {
    fn of(second: &Second) -> Self {
        let ms = |span: Option<Duration>| span.map(|span| span.as_micros() as f64 / 1e3);
        Self {
            second: second.number,
            acquires: second.acquires,
            contended: second.contended,
            grants: second.grants,
            ended: second.ended,
            refused: second.refused,
            acquire_p50_ms: ms(second.acquire_p50),
            acquire_p99_ms: ms(second.acquire_p99),
            wait_p99_ms: ms(second.wait_p99),
        }
    }
}

fn status(picture: &Picture) -> String {
    match &picture.status {
        Status::Leading { .. } if picture.sure => "leading".into(),
        Status::Leading { .. } => "silent".into(),
        Status::Standby => "standby".into(),
        Status::Quarantined { why } => format!("quarantined: {why}"),
        Status::Stopped => "ended".into(),
    }
}

/// JSON that was made here, as a part of other JSON.
fn raw(json: &[u8]) -> &RawValue {
    serde_json::from_slice(json).unwrap_or(RawValue::NULL)
}
