//! `serve --http`: figures for Prometheus, health, and a view for people.
//!
//! | path | what |
//! |---|---|
//! | `/` | the view: one page, its style and its script, all from here |
//! | `/live` | what the view shows, second by second, as server-sent events |
//! | `/metrics` | the figures as Prometheus reads them |
//! | `/healthz` | whether the process is alive |
//! | `/readyz` | whether it leads, or stands by and could |
//! | `/release` | POST: ends every lease of a lock, with `--http-admin` only |

mod admin;
mod health;
mod live;
mod page;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::client::Caller;
use crate::service::Observer;

/// How many views may be open at once.
const VIEWS_MAX: usize = 64;

/// What all handlers know.
#[derive(Clone)]
pub(super) struct Site {
    /// None until the coordinator has found NATS and JetStream.
    observer: watch::Receiver<Option<Observer>>,
    views: Arc<Semaphore>,
    /// Whoever ends leases, where that is allowed.
    admin: Option<watch::Receiver<Option<Caller>>>,
}

impl Site {
    pub(super) fn new(
        observer: watch::Receiver<Option<Observer>>,
        admin: Option<watch::Receiver<Option<Caller>>>,
    ) -> Self {
        Self { observer, views: Arc::new(Semaphore::new(VIEWS_MAX)), admin }
    }

    fn observer(&self) -> Option<Observer> {
        self.observer.borrow().clone()
    }
}

/// Serves the site until it is dropped.
pub(super) async fn serve(listener: TcpListener, site: Site) -> io::Result<()> {
    let router = Router::new()
        .route("/", get(page::page))
        .route("/view.css", get(page::style))
        .route("/view.js", get(page::script))
        .route("/live", get(live::live))
        .route("/metrics", get(metrics))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/release", post(admin::release))
        .with_state(site);
    axum::serve(listener, router).await
}

/// Begins to listen.
pub(super) async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

async fn metrics(State(site): State<Site>) -> Response {
    let Some(observer) = site.observer() else { return waiting() };
    match observer.metrics().await {
        Some(text) => text_of("text/plain; version=0.0.4; charset=utf-8", text),
        None => ended(),
    }
}

/// The coordinator has not begun.
fn waiting() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "waiting for NATS or JetStream\n").into_response()
}

/// The coordinator is over.
fn ended() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the coordinator has ended\n").into_response()
}

/// A text that is not to be kept, nor to be taken for anything else.
fn text_of(kind: &'static str, text: impl Into<axum::body::Body>) -> Response {
    const NOSNIFF: HeaderName = header::X_CONTENT_TYPE_OPTIONS;
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store"), (NOSNIFF, "nosniff")];
    (headers, text.into()).into_response()
}
