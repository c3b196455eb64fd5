//! The view's page, style and script: part of the program, so that it needs nothing from elsewhere.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::{Site, text_of};

const PAGE: &str = include_str!("view.html");
const STYLE: &str = include_str!("view.css");
const SCRIPT: &str = include_str!("view.js");

/// Nothing but what is served here may be loaded, run or spoken to.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn page(State(site): State<Site>) -> Response {
    let admin = if site.admin.is_some() { "true" } else { "false" };
    let page = PAGE.replace("{version}", env!("CARGO_PKG_VERSION")).replace("{admin}", admin);
    let policy = [(header::CONTENT_SECURITY_POLICY, POLICY), (header::REFERRER_POLICY, "no-referrer")];
    (policy, text_of("text/html; charset=utf-8", page)).into_response()
}

pub(super) async fn style() -> Response {
    text_of("text/css; charset=utf-8", STYLE)
}

pub(super) async fn script() -> Response {
    text_of("text/javascript; charset=utf-8", SCRIPT)
}
