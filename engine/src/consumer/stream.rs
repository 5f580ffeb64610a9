//! Batches as a `Stream`.

use std::time::Duration;

use fairpoll_core::{Generation, OffsetRange, PartitionIndex};
use futures_util::stream::{self, Stream};

use crate::batch::Batch;
use crate::error::PollError;

use super::Consumer;

/// How long one of the stream's polls waits for records before the next one: nobody sees it.
const POLL: Duration = Duration::from_secs(1);

/// What a batch delivered; outlives it.
type Delivered = Vec<(PartitionIndex, Generation, OffsetRange)>;

impl Consumer {
    /// Batches one after the other, each with at least one record or error; at most `max_records`
    /// records each.
    ///
    /// Asking for the next batch says that the one before is processed: its offsets are committed,
    /// without waiting. So a batch comes again after a crash in the middle of it, and none is
    /// skipped. Dropped, the stream has lost no record; the last batch counts as not processed.
    ///
    /// Ends when the consumer is stopped, or after the error of a consumer that cannot go on.
    ///
    /// ```no_run
    /// use std::pin::pin;
    /// use fairpoll::{Config, Consumer};
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut consumer = Consumer::start(Config::new("localhost:9092", "my-service", ["orders"]))?;
    /// let mut batches = pin!(consumer.batches(None));
    /// while let Some(batch) = batches.try_next().await? {
    ///     println!("{} records", batch.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn batches(
        &mut self,
        max_records: Option<u32>,
    ) -> impl Stream<Item = Result<Batch, PollError>> + Send + '_ {
        stream::unfold(Some((self, Delivered::new())), move |state| async move {
            let (consumer, processed) = state?;
            for (index, generation, range) in processed {
                consumer.complete(index, generation, range);
            }
            consumer.commit_processed();
            loop {
                match consumer.get_many(POLL, max_records).await {
                    Ok(batch) if batch.is_empty() && batch.errors().is_empty() => {}
                    Ok(batch) => {
                        let delivered = delivered(&batch);
                        return Some((Ok(batch), Some((consumer, delivered))));
                    }
                    Err(PollError::Stopped) => return None,
                    // The next one tries again.
                    Err(error @ PollError::NoHandle { .. }) => {
                        return Some((Err(error), Some((consumer, Delivered::new()))));
                    }
                    Err(error) => return Some((Err(error), None)),
                }
            }
        })
    }
}

fn delivered(batch: &Batch) -> Delivered {
    let of = |group| batch.spans(group).map(|(first, last)| OffsetRange { first, last });
    batch
        .groups()
        .iter()
        .flat_map(|group| of(group).map(|range| (group.index, group.generation, range)))
        .collect()
}
