//! Whether the process is alive, and whether it does what it is there for.

use axum::extract::State;
use axum::http::StatusCode;

use super::Site;
use crate::service::{Status, Wish};

/// True as long as this is answered.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// A leader that is sure of its leadership, or a standby whose store answers.
pub(super) async fn ready(State(site): State<Site>) -> (StatusCode, String) {
    let (ready, said) = readiness(&site).await;
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, format!("{said}\n"))
}

async fn readiness(site: &Site) -> (bool, String) {
    let Some(observer) = site.observer() else {
        return (false, "waiting for NATS or JetStream".into());
    };
    match observer.status() {
        Status::Leading { epoch } => {
            let sure = observer.picture(Wish::default()).await.is_some_and(|picture| picture.sure);
            let doubt =
                if sure { "" } else { ", but not sure of it: its own record is not acknowledged in time" };
            (sure, format!("leading in epoch {epoch}{doubt}"))
        }
        Status::Standby if observer.store_answers().await => (true, "standing by".into()),
        Status::Standby => (false, "standing by, but the store does not answer".into()),
        Status::Quarantined { why } => (false, format!("quarantined: {why}")),
        Status::Stopped => (false, "ended".into()),
    }
}
