//! How a bucket is recovered.
//!
//! Of a stream's sequence JetStream knows one way up: a purge up to a sequence that lies in the future. So the
//! records have to be kept elsewhere meanwhile, in a bucket beside this one, and the bucket's configuration does
//! not deny purges: that could never be taken back, and the other way, to delete the stream and make it again,
//! leaves a time in which anybody may make another one.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::STREAM_NOT_FOUND;
use super::bucket::{BucketConfig, RECOVERY_MARK};
use super::connect::Connection;
use super::record::Stored;
use super::store::NatsStore;
use crate::store::{Entry, Extent, Repair, StoreError};
use crate::types::Revision;
use crate::wire::bucket::RECOVERY;

const PATIENCE: Duration = Duration::from_secs(5);

impl NatsStore {
    /// Opens the bucket if it is there.
    ///
    /// # Errors
    /// As [`NatsStore::open`].
    pub async fn find(connection: Connection, config: BucketConfig) -> Result<Option<Self>, StoreError> {
        match config.info(&connection).await? {
            Some(_) => Self::open(connection, config).await.map(Some),
            None => Ok(None),
        }
    }

    async fn info(&self) -> Result<Value, StoreError> {
        let stream = self.stream();
        let info = self.config().info(self.connection()).await?;
        info.ok_or_else(|| StoreError::Refused(format!("the stream {stream} is gone")))
    }

    async fn change(&self, call: &str, stream: &str, body: &Value) -> Result<(), StoreError> {
        let asked = self.connection().ask(&format!("STREAM.{call}.{stream}"), body, PATIENCE).await;
        let what = format!("cannot {} the stream {stream}", call.to_lowercase());
        asked.map(drop).map_err(|error| error.explain(&what))
    }

    fn config_of_copy(&self, first_sequence: Revision, replicas: usize) -> BucketConfig {
        BucketConfig { bucket: format!("{}{RECOVERY}", self.config().bucket), replicas, first_sequence }
    }
}

impl Repair for NatsStore {
    async fn extent(&self) -> Result<Extent, StoreError> {
        let info = self.info().await?;
        let number = |value: &Value| value.as_u64().map(Revision::new);
        let unclear = || StoreError::Unavailable("the server did not say where the stream is".into());
        Ok(Extent {
            begun: number(&info["config"]["first_seq"]).unwrap_or(Revision::new(1)),
            last: number(&info["state"]["last_seq"]).ok_or_else(unclear)?,
            aside: info["config"]["metadata"].get(RECOVERY_MARK).is_some(),
        })
    }

    /// One question a record: there is no other way that says when all of them were there.
    async fn records(&self) -> Result<Vec<Entry>, StoreError> {
        let (stream, prefix) = (self.stream(), self.config().subject_prefix());
        let (mut records, mut next) = (Vec::new(), 1);
        loop {
            let query = json!({ "seq": next, "next_by_subj": format!("{prefix}>") });
            let found = Stored::get(self.connection(), stream, &query, PATIENCE).await;
            let found = found.map_err(|error| error.explain(&format!("cannot read the stream {stream}")))?;
            let Some(message) = found else { return Ok(records) };
            next = message.sequence + 1;
            records.extend(message.entry(&prefix));
        }
    }

    async fn raise(&self, first: Revision) -> Result<(), StoreError> {
        if self.info().await?["config"]["deny_purge"] == json!(true) {
            let why = "it must not be purged (deny_purge), and nothing else raises its sequence";
            let stream = self.stream();
            return Err(StoreError::Refused(format!("the stream {stream} cannot be recovered: {why}")));
        }
        self.change("PURGE", self.stream(), &json!({ "seq": first.get() })).await
    }

    async fn set_aside(&self, aside: bool) -> Result<(), StoreError> {
        let mut config = self.info().await?["config"].take();
        if config["metadata"].get(RECOVERY_MARK).is_some() == aside {
            return Ok(());
        }
        if !config["metadata"].is_object() {
            config["metadata"] = json!({});
        }
        if let Some(metadata) = config["metadata"].as_object_mut() {
            if aside {
                metadata.insert(RECOVERY_MARK.into(), json!("under way"));
            } else {
                metadata.remove(RECOVERY_MARK);
            }
        }
        self.change("UPDATE", self.stream(), &config).await
    }

    async fn copy(&self) -> Result<Option<Self>, StoreError> {
        let config = self.config_of_copy(Revision::new(1), self.config().replicas);
        Self::find(self.connection().clone(), config).await
    }

    async fn make_copy(&self, first: Revision) -> Result<Self, StoreError> {
        let replicas = self.info().await?["config"]["num_replicas"].as_u64();
        let replicas = replicas.and_then(|count| usize::try_from(count).ok());
        let config = self.config_of_copy(first, replicas.unwrap_or(1));
        Self::open(self.connection().clone(), config).await
    }

    async fn remove_copy(&self) -> Result<(), StoreError> {
        let stream = self.config_of_copy(Revision::NONE, 1).stream();
        let asked = self.connection().ask(&format!("STREAM.DELETE.{stream}"), &json!({}), PATIENCE).await;
        match asked {
            Err(error) if error.err_code() != Some(STREAM_NOT_FOUND) => {
                Err(error.explain(&format!("cannot delete the stream {stream}")))
            }
            _ => Ok(()),
        }
    }
}
