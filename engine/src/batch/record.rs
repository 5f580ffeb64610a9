//! One record: as the batch lends it, and as a copy.

use std::borrow::Cow;
use std::fmt;

use fairpoll_core::{Generation, PartitionIndex};

use crate::ffi::Message;

use super::Group;

/// One record, borrowed from its [`Batch`](crate::Batch).
#[derive(Clone, Copy)]
pub struct Record<'a> {
    pub(super) group: &'a Group,
    pub(super) message: &'a Message,
}

impl<'a> Record<'a> {
    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        &self.group.topic
    }

    /// The partition number.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.message.partition()
    }

    /// The offset in the partition.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.message.offset()
    }

    /// The key; `None` for a record without one.
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.message.key()
    }

    /// The value; `None` for a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.message.value()
    }

    /// The timestamp, ms since the epoch; `None` where the record has none.
    #[must_use]
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.message.timestamp_ms()
    }

    /// The headers in their order: name and value, which may be null. Names may repeat; what is not
    /// UTF-8 in a name is replaced.
    pub fn headers(&self) -> impl Iterator<Item = (Cow<'a, str>, Option<&'a [u8]>)> + use<'a> {
        self.message.headers()
    }

    /// What [`Consumer::ack`](crate::Consumer::ack) wants to know: small, and free of the batch, so
    /// that it can travel to whoever processes a copy of the record.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        Receipt { index: self.group.index, generation: self.group.generation, offset: self.offset() }
    }

    /// A copy that pins no fetch buffer and no handle.
    #[must_use]
    pub fn to_owned(&self) -> OwnedRecord {
        OwnedRecord {
            topic: self.topic().to_owned(),
            partition: self.partition(),
            offset: self.offset(),
            key: self.key().map(<[u8]>::to_vec),
            value: self.value().map(<[u8]>::to_vec),
            timestamp_ms: self.timestamp_ms(),
            headers: self
                .headers()
                .map(|(name, value)| (name.into_owned(), value.map(<[u8]>::to_vec)))
                .collect(),
            receipt: self.receipt(),
        }
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("topic", &self.topic())
            .field("partition", &self.partition())
            .field("offset", &self.offset())
            .finish_non_exhaustive()
    }
}

/// Which record was processed, for [`Consumer::ack`](crate::Consumer::ack). Good for the consumer that
/// delivered the record, as long as it owns the partition; later it has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Receipt {
    pub(crate) index: PartitionIndex,
    pub(crate) generation: Generation,
    pub(crate) offset: i64,
}

impl From<Record<'_>> for Receipt {
    fn from(record: Record<'_>) -> Self {
        record.receipt()
    }
}

impl From<&OwnedRecord> for Receipt {
    fn from(record: &OwnedRecord) -> Self {
        record.receipt
    }
}

/// A copy of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedRecord {
    /// The topic.
    pub topic: String,
    /// The partition number.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The timestamp, ms since the epoch.
    pub timestamp_ms: Option<i64>,
    /// The headers in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// For [`Consumer::ack`](crate::Consumer::ack).
    pub receipt: Receipt,
}
