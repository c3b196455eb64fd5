//! The stream behind a bucket: made where it is missing, checked where it is there.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::api::{STREAM_NAME_IN_USE, STREAM_NOT_FOUND};
use super::connect::Connection;
use crate::store::StoreError;
use crate::types::Revision;

/// How long JetStream may take: to make a stream it has to find servers for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer about a stream that is there may take. A new leader serves nobody before it has one, and a
/// connection that is cut loses it: asked again it comes sooner than it could be waited for.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);

/// The mark in the stream's metadata that a recovery has begun and not ended: nobody may serve what is there.
pub(super) const RECOVERY_MARK: &str = "natslock-recovery";

/// Which bucket, and how it is made where it does not exist.
#[derive(Debug, Clone)]
pub struct BucketConfig {
    /// Its name: letters, digits, `_` and `-`.
    pub bucket: String,
    /// On how many servers its records are kept: 1, 3 or 5.
    pub replicas: usize,
    /// The revision of its first record: above any that a bucket of this name has given before, so that tokens
    /// go on rising. Milliseconds since 1970 times eight will do. Of no account where the bucket exists.
    pub first_sequence: Revision,
}

impl BucketConfig {
    /// The name of the stream.
    pub(super) fn stream(&self) -> String {
        format!("KV_{}", self.bucket)
    }

    /// What the subject of a key begins with.
    pub(super) fn subject_prefix(&self) -> String {
        format!("$KV.{}.", self.bucket)
    }

    fn check(&self) -> Result<(), StoreError> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if self.bucket.is_empty() || !self.bucket.bytes().all(legal) {
            return Err(StoreError::Refused(format!("{:?} is no name for a bucket", self.bucket)));
        }
        if !matches!(self.replicas, 1 | 3 | 5) {
            return Err(StoreError::Refused(format!("1, 3 or 5 replicas, not {}", self.replicas)));
        }
        Ok(())
    }

    /// The fields that natslock depends on, by their names in the server's configuration, with the values that
    /// they must have.
    fn required(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("subjects", json!([format!("{}>", self.subject_prefix())])),
            ("retention", json!("limits")),
            ("storage", json!("file")),
            ("discard", json!("new")),
            ("max_msgs_per_subject", json!(1)),
            ("max_msgs", json!(-1)),
            ("max_bytes", json!(-1)),
            ("max_msg_size", json!(-1)),
            ("max_age", json!(0)),
            ("max_consumers", json!(-1)),
            ("deny_delete", json!(true)),
            ("allow_atomic", json!(true)),
            ("allow_msg_ttl", json!(true)),
            ("allow_direct", json!(false)),
            ("allow_rollup_hdrs", json!(false)),
            // With these no write would be acknowledged, or none where it belongs.
            ("no_ack", json!(false)),
            ("sealed", json!(false)),
            ("subject_transform", Value::Null),
            // With these a record is not what was acknowledged, not only here, or not durable.
            ("mirror", Value::Null),
            ("sources", Value::Null),
            ("republish", Value::Null),
            ("persist_mode", json!("default")),
        ]
    }

    fn creation(&self) -> Value {
        let mut config: Map<String, Value> = self
            .required()
            .into_iter()
            .filter(|(field, value)| *value != if_absent(field))
            .map(|(field, value)| (field.to_owned(), value))
            .collect();
        config.insert("name".into(), json!(self.stream()));
        config.insert("num_replicas".into(), json!(self.replicas));
        config.insert("first_seq".into(), json!(self.first_sequence.get()));
        Value::Object(config)
    }

    /// Makes the bucket where it is missing, checks it where it is there, and returns when it was made.
    ///
    /// # Errors
    /// Retryable while JetStream is not ready. Otherwise: a bucket that is configured differently, a missing
    /// permission, JetStream not enabled, too old a server.
    ///
    /// # Cancel safety
    /// Dropping it may leave a bucket that was just made.
    pub(super) async fn open(&self, connection: &Connection) -> Result<String, StoreError> {
        self.check()?;
        connection.check_version().map_err(|error| StoreError::Refused(error.to_string()))?;
        let info = match self.info(connection).await? {
            Some(info) => info,
            None => self.create(connection).await?,
        };
        self.verify(&info["config"])?;
        self.warn_of_one_replica(&info["config"]);
        created(&info)
    }

    /// When the bucket was made; it tells a bucket from another of the same name.
    pub(super) async fn identity(&self, connection: &Connection) -> Result<String, StoreError> {
        match self.look(connection, LOOK_PATIENCE).await? {
            Some(info) if info["config"]["metadata"].get(RECOVERY_MARK).is_some() => {
                let why = "a recovery is under way, or was interrupted and has to be run again";
                Err(StoreError::Unavailable(format!("{why}: natslock admin recover")))
            }
            Some(info) => created(&info),
            None => Err(StoreError::Refused(format!("the stream {} is gone", self.stream()))),
        }
    }

    pub(super) async fn info(&self, connection: &Connection) -> Result<Option<Value>, StoreError> {
        self.look(connection, PATIENCE).await
    }

    async fn look(&self, connection: &Connection, patience: Duration) -> Result<Option<Value>, StoreError> {
        let stream = self.stream();
        match connection.ask(&format!("STREAM.INFO.{stream}"), &json!({}), patience).await {
            Ok(info) => Ok(Some(info)),
            Err(error) if error.err_code() == Some(STREAM_NOT_FOUND) => Ok(None),
            Err(error) => Err(error.explain(&format!("cannot look at the stream {stream}"))),
        }
    }

    async fn create(&self, connection: &Connection) -> Result<Value, StoreError> {
        let stream = self.stream();
        match connection.ask(&format!("STREAM.CREATE.{stream}"), &self.creation(), PATIENCE).await {
            Ok(info) => {
                tracing::info!(%stream, replicas = self.replicas, "made the bucket");
                Ok(info)
            }
            // Another coordinator was first: its bucket is as good as ours, if it is as it should be.
            Err(error) if error.err_code() == Some(STREAM_NAME_IN_USE) => {
                let gone = || StoreError::Unavailable(format!("the stream {stream} came and went"));
                self.info(connection).await?.ok_or_else(gone)
            }
            Err(error) => Err(error.explain(&format!("cannot make the stream {stream}"))),
        }
    }

    /// Whether the server writes lazily cannot be seen from here.
    fn warn_of_one_replica(&self, config: &Value) {
        if present(config, "num_replicas") == json!(1) {
            tracing::warn!(
                stream = self.stream(),
                "one replica: where the server's `sync_interval` is not `always`, a power cut can undo \
                 acknowledged grants of the last two minutes, and their tokens may be given again; set it, or \
                 use three servers and --replicas 3"
            );
        }
    }

    fn verify(&self, config: &Value) -> Result<(), StoreError> {
        let stream = self.stream();
        let differences: Vec<String> = self
            .required()
            .into_iter()
            .filter_map(|(field, wanted)| {
                let found = present(config, field);
                (found != wanted).then(|| format!("{field} is {found} and must be {wanted}"))
            })
            .collect();
        if !differences.is_empty() {
            let text = differences.join(", ");
            return Err(StoreError::Refused(format!("the stream {stream} is not fit for locks: {text}")));
        }
        let replicas = present(config, "num_replicas");
        if replicas != json!(self.replicas) {
            tracing::warn!(%stream, found = %replicas, wanted = self.replicas, "num_replicas differs");
        }
        Ok(())
    }
}

/// The value of a field, with what stands for nothing made one.
fn present(config: &Value, field: &str) -> Value {
    match config.get(field) {
        None | Some(Value::Null) => if_absent(field),
        Some(Value::Array(values)) if values.is_empty() => if_absent(field),
        Some(value) => value.clone(),
    }
}

/// What a field counts as that the server leaves out.
fn if_absent(field: &str) -> Value {
    match field {
        "deny_delete" | "allow_atomic" | "allow_msg_ttl" | "allow_direct" | "allow_rollup_hdrs"
        | "no_ack" | "sealed" => json!(false),
        "max_age" => json!(0),
        "persist_mode" => json!("default"),
        _ => Value::Null,
    }
}

fn created(info: &Value) -> Result<String, StoreError> {
    let created = info["created"].as_str().map(str::to_owned);
    created.ok_or_else(|| StoreError::Unavailable("the server did not say when the stream was made".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> BucketConfig {
        BucketConfig { bucket: "natslock_dev_0".into(), replicas: 3, first_sequence: Revision::new(800) }
    }

    #[test]
    fn what_is_made_passes_the_check() {
        let made = config().creation();
        config().verify(&made).unwrap();
        assert_eq!((&made["name"], &made["first_seq"]), (&json!("KV_natslock_dev_0"), &json!(800)));
        assert_eq!(made["subjects"], json!(["$KV.natslock_dev_0.>"]));
    }

    #[test]
    fn a_difference_is_named_with_both_values() {
        let mut other = config().creation();
        other["storage"] = json!("memory");
        other["persist_mode"] = json!("async");
        other["a_field_of_the_future"] = json!(true);
        other["num_replicas"] = json!(1);
        let error = config().verify(&other).unwrap_err();
        assert!(!error.is_retryable());
        assert_eq!(
            error.to_string(),
            r#"the stream KV_natslock_dev_0 is not fit for locks: storage is "memory" and must be "file", persist_mode is "async" and must be "default""#
        );
    }

    #[test]
    fn names_and_replicas_are_checked() {
        for (bucket, replicas) in [("", 1), ("a.b", 1), ("a", 2)] {
            let config = BucketConfig { bucket: bucket.into(), replicas, ..config() };
            assert!(config.check().is_err(), "{bucket:?} {replicas}");
        }
    }
}
