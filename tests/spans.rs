//! The spans of the Rust client: what they are called, what they carry, and that no id is in them.

use std::io;
use std::sync::{Arc, Mutex};

use natslock::client::{AcquireOptions, Client};
use tracing_subscriber::fmt::format::FmtSpan;

use crate::support::eventually;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The spans of this module that have ended.
    fn spans(&self, of: &str) -> Vec<serde_json::Value> {
        let text = self.text();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let closed = lines.filter(|line| line["fields"]["message"] == "close");
        let of = closed.filter(|line| line["target"].as_str().unwrap().starts_with(of));
        of.map(|line| line["span"].clone()).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Both leases have ended.
fn coordinator_tells_of_leases(spans: &[serde_json::Value], first_token: u64) {
    let [first, second] = spans else { panic!("{spans:?}") };
    for span in [first, second] {
        assert_eq!(
            (&span["name"], &span["lock"], &span["reason"]),
            (&"hold".into(), &"jobs.a".into(), &"released".into())
        );
        assert!(span["owner"].is_string() && span["epoch"].is_u64() && span["mode"] == "exclusive", "{span}");
    }
    assert!(first["token"] == first_token && second["token"].as_u64() > Some(first_token));
}

#[tokio::test]
async fn acquire_wait_hold_and_release_are_spans() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .finish();
    // All tasks of this test run on this thread.
    let _installed = tracing::subscriber::set_default(subscriber);
    let client = Client::in_memory().await.unwrap();
    let first = client.acquire("jobs.a").await.unwrap();
    let mut ids = vec![first.id().reveal().to_owned()];
    let (told, mut waits) = tokio::sync::mpsc::unbounded_channel();
    let waiting =
        client.acquire_reporting("jobs.a", AcquireOptions::new(), |progress| told.send(progress).unwrap());
    let (second, token) = tokio::join!(waiting, async {
        waits.recv().await.unwrap();
        let token = first.token().get();
        first.release().await;
        token
    });
    let second = second.unwrap();
    ids.push(second.id().reveal().to_owned());
    second.release().await;
    // A release that nobody waits for is answered before it is stored.
    eventually("both leases have ended", async || log.spans("natslock::service").len() == 2).await;
    coordinator_tells_of_leases(&log.spans("natslock::service"), token);
    let spans = log.spans("natslock::client");
    let text = log.text();
    for (name, count) in [("acquire", 2), ("wait", 1), ("hold", 2), ("release", 2)] {
        let found: Vec<_> = spans.iter().filter(|span| span["name"] == name).collect();
        assert_eq!(found.len(), count, "{name} in {text}");
        for span in found {
            assert_eq!((&span["lock"], span["owner"].is_string()), (&"jobs.a".into(), true), "{span}");
            let dated = span["token"].is_u64() && span["epoch"].is_u64();
            assert!(dated || name == "wait", "{span}");
        }
    }
    assert!(spans.iter().any(|span| span["name"] == "hold" && span["token"] == token));
    for id in ids {
        assert!(!text.contains(&id), "an id is in {text}");
    }
}
