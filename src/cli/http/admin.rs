//! A forced release from the view, with `--http-admin` only.
//!
//! A browser sends requests that other sites make up, too. What comes here must say that the view itself sent it
//! (`Sec-Fetch-Site`, `Origin`), carry a header that a foreign site cannot add without being asked, and speak to
//! this machine by an address or `localhost`: a foreign name that was made to lead here is refused.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use super::Site;
use crate::types::LockName;

/// The header that only the view sends.
const MARK: &str = "x-natslock-view";

#[derive(Deserialize)]
pub(super) struct Wanted {
    /// The lock, as it was listed.
    lock: String,
}

pub(super) async fn release(
    State(site): State<Site>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> (StatusCode, String) {
    let Some(admin) = &site.admin else {
        return (StatusCode::FORBIDDEN, "this view only shows: serve with --http-admin to release\n".into());
    };
    if let Err(why) = from_the_view(&headers) {
        return (StatusCode::FORBIDDEN, format!("refused: {why}\n"));
    }
    let name = match LockName::from_encoded(&wanted.lock) {
        Ok(name) => name,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    let Some(caller) = admin.borrow().clone() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "not connected\n".into());
    };
    tracing::warn!(lock = name.as_str(), "a forced release from the view");
    match caller.admin_release(&name, Some("from the view".into())).await {
        Ok(_) => (StatusCode::OK, "released\n".into()),
        Err(error) => (StatusCode::CONFLICT, format!("{error}\n")),
    }
}

fn from_the_view(headers: &HeaderMap) -> Result<(), &'static str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST.as_str()).ok_or("no Host")?;
    if !is_address(host) {
        return Err("open the view by an IP address or localhost");
    }
    if text(MARK).is_none() {
        return Err("not sent by the view");
    }
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin") {
        return Err("sent by another site");
    }
    match text(header::ORIGIN.as_str()).and_then(|origin| origin.split_once("://")) {
        Some((_, origin)) if origin == host => Ok(()),
        _ => Err("sent by another origin"),
    }
}

/// True for `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` and the like.
fn is_address(host: &str) -> bool {
    let name = host.strip_prefix('[').and_then(|rest| rest.split_once(']').map(|(name, _)| name));
    let name = name.unwrap_or_else(|| host.rsplit_once(':').map_or(host, |(name, _)| name));
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(headers: &[(&'static str, &str)]) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (axum::http::HeaderName::from_static(name), value.parse().unwrap()));
        from_the_view(&headers.collect()).is_ok()
    }

    #[test]
    fn only_the_view_may_release() {
        let (host, origin) = (("host", "127.0.0.1:80"), ("origin", "http://127.0.0.1:80"));
        let mark = ("x-natslock-view", "1");
        assert!(sent(&[host, origin, mark, ("sec-fetch-site", "same-origin")]));
        assert!(sent(&[("host", "[::1]:80"), ("origin", "http://[::1]:80"), mark]));
        assert!(!sent(&[host, origin]), "without the mark");
        assert!(!sent(&[host, mark]), "without an origin");
        assert!(!sent(&[host, ("origin", "http://evil.example"), mark]));
        assert!(!sent(&[host, ("origin", "null"), mark]));
        assert!(!sent(&[host, origin, mark, ("sec-fetch-site", "cross-site")]));
        let (host, origin) = (("host", "evil.example:80"), ("origin", "http://evil.example:80"));
        assert!(!sent(&[host, origin, mark]), "a name that was made to lead here");
    }
}
