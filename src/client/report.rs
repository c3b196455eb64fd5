//! What a client reports through the `metrics` facade. A program that installs no recorder pays nothing for it.
//!
//! | metric | what |
//! |---|---|
//! | `natslock_client_acquire_duration_seconds` {outcome} | from the call to the guard, or to the error; with the wait |
//! | `natslock_client_release_duration_seconds` {outcome} | from the call to the answer |
//! | `natslock_client_renewals_total` | leases that were renewed |
//! | `natslock_client_losses_total` {reason} | leases that were lost |

use std::time::Duration;

use super::core::{LostReason, Outcome};

pub(super) fn acquired(outcome: &Outcome, took: Duration) {
    let outcome = match outcome {
        Outcome::Granted { .. } => "granted",
        Outcome::Held { waited: Duration::ZERO, .. } => "held",
        Outcome::Held { .. } => "timeout",
        Outcome::Refused(_) => "refused",
        Outcome::NoCoordinator => "no_coordinator",
        Outcome::NoAnswer => "no_answer",
    };
    metrics::histogram!("natslock_client_acquire_duration_seconds", "outcome" => outcome).record(took);
}

/// `held` says how long it was held, where that was answered.
pub(super) fn released(held: Option<Duration>, took: Duration) {
    let outcome = if held.is_some() { "released" } else { "over" };
    metrics::histogram!("natslock_client_release_duration_seconds", "outcome" => outcome).record(took);
}

pub(super) fn renewed() {
    metrics::counter!("natslock_client_renewals_total").increment(1);
}

pub(super) fn lost(why: LostReason) {
    let reason = match why {
        LostReason::Unreachable => "unreachable",
        LostReason::Forbidden => "forbidden",
        LostReason::Expired => "expired",
        LostReason::Revoked => "revoked",
        LostReason::Released => "released",
    };
    metrics::counter!("natslock_client_losses_total", "reason" => reason).increment(1);
}

#[cfg(feature = "coordinator")]
#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use metrics::{
        Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString,
        Unit,
    };

    use crate::client::{AcquireOptions, Client};

    /// How often each metric was reported, with its labels.
    #[derive(Debug, Clone, Default)]
    struct Reports(Arc<Mutex<BTreeMap<String, u64>>>);

    struct Report(Reports, String);

    impl Report {
        fn add(&self, count: u64) {
            *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += count;
        }
    }

    impl CounterFn for Report {
        fn increment(&self, value: u64) {
            self.add(value);
        }
        fn absolute(&self, _: u64) {}
    }

    impl HistogramFn for Report {
        fn record(&self, seconds: f64) {
            assert!((0.0..20.0).contains(&seconds), "{seconds} s");
            self.add(1);
        }
    }

    impl Reports {
        fn report(&self, key: &Key) -> Arc<Report> {
            let labels: Vec<_> = key.labels().map(|label| label.value().to_owned()).collect();
            Arc::new(Report(
                self.clone(),
                format!("{} {}", key.name(), labels.join(" ")).trim_end().to_owned(),
            ))
        }
    }

    impl Recorder for Reports {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.report(key))
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.report(key))
        }
    }

    #[tokio::test]
    async fn what_a_client_does_is_reported() {
        let reports = Reports::default();
        // All tasks of this test run on this thread.
        let _installed = metrics::set_default_local_recorder(&reports);
        let client = Client::in_memory().await.unwrap();
        let held =
            client.acquire_with("a", AcquireOptions::new().ttl(super::Duration::from_secs(1))).await.unwrap();
        assert!(client.try_acquire("a").await.is_err());
        let told = || reports.0.lock().unwrap().clone();
        while !told().contains_key("natslock_client_renewals_total") {
            let at = crate::clock::SystemClock::boot() + super::Duration::from_millis(10);
            crate::clock::Clock::sleep_until(&crate::clock::SystemClock, at).await;
        }
        held.release().await.unwrap();
        let lost = client.acquire("a").await.unwrap();
        client.caller().admin_release(lost.name(), None).await.unwrap();
        lost.lost().await;
        let told = told();
        for (name, count) in [
            ("natslock_client_acquire_duration_seconds granted", 2),
            ("natslock_client_acquire_duration_seconds held", 1),
            ("natslock_client_release_duration_seconds released", 1),
            ("natslock_client_losses_total revoked", 1),
        ] {
            assert_eq!(told.get(name), Some(&count), "{name} in {told:?}");
        }
    }
}
