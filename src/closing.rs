//! A channel whose receiver can tell "this was all" from "the sender is gone".
//!
//! So half of the expired rows of a merge that failed are never taken for all of them.

use std::future::Future;

use futures::{Stream, stream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::Instrument;

use crate::error::{Error, Result};

enum Item<T> {
    One(T),
    /// There are no more.
    End,
}

/// Sends items to a task that makes an `R` of them all. [`Self::close`] says that they were all;
/// where it is dropped instead, the task must give up what it has.
pub struct ClosingSender<T, R> {
    items: ItemSender<T>,
    task: JoinHandle<Result<R>>,
    /// What the task does, for the error of one that panics.
    action: &'static str,
}

/// Sends items, and cannot say that they were all.
pub struct ItemSender<T>(mpsc::Sender<Item<T>>);

/// The task's end.
pub struct ItemReceiver<T>(mpsc::Receiver<Item<T>>);

/// The two ends. `capacity` items may wait.
pub fn channel<T>(capacity: usize) -> (ItemSender<T>, ItemReceiver<T>) {
    let (sender, receiver) = mpsc::channel(capacity);
    (ItemSender(sender), ItemReceiver(receiver))
}

impl<T: Send + 'static, R: Send + 'static> ClosingSender<T, R> {
    /// Starts `task`, for which `capacity` items may wait. An error of its end is one of "`action`".
    pub fn spawn<F>(
        capacity: usize,
        action: &'static str,
        task: impl FnOnce(ItemReceiver<T>) -> F,
    ) -> Self
    where
        F: Future<Output = Result<R>> + Send + 'static,
    {
        let (items, receiver) = channel(capacity);
        Self {
            items,
            task: tokio::spawn(task(receiver).in_current_span()),
            action,
        }
    }

    /// The same for a task that blocks.
    pub fn spawn_blocking(
        capacity: usize,
        action: &'static str,
        task: impl FnOnce(ItemReceiver<T>) -> Result<R> + Send + 'static,
    ) -> Self {
        let (items, receiver) = channel(capacity);
        let span = tracing::Span::current();
        Self {
            items,
            task: tokio::task::spawn_blocking(move || span.in_scope(|| task(receiver))),
            action,
        }
    }

    /// A way to the task for somebody else.
    pub fn items(&self) -> ItemSender<T> {
        ItemSender(self.items.0.clone())
    }

    /// As [`ItemSender::send`].
    ///
    /// # Errors
    /// As there.
    pub fn send(&self, item: T) -> Result<()> {
        self.items.send(item)
    }

    /// Says that these were all items, and waits for what becomes of them.
    ///
    /// # Errors
    /// The task's own.
    pub async fn close(self) -> Result<R> {
        // A task that has ended already says why.
        let _ = self.items.0.send(Item::End).await;
        self.abort().await
    }

    /// Tells the task to give up, and waits until it has. One that had ended says how.
    ///
    /// # Errors
    /// The task's own.
    pub async fn abort(self) -> Result<R> {
        drop(self.items);
        self.task
            .await
            .unwrap_or_else(|e| Err(Error::local(self.action, e)))
    }

    /// [`Self::close`], from a thread of the runtime that may block.
    ///
    /// # Errors
    /// As there.
    pub fn blocking_close(self) -> Result<R> {
        Handle::current().block_on(self.close())
    }

    /// [`Self::abort`], from a thread of the runtime that may block.
    ///
    /// # Errors
    /// As there.
    pub fn blocking_abort(self) -> Result<R> {
        Handle::current().block_on(self.abort())
    }
}

impl<T> ItemSender<T> {
    /// Sends an item; blocks until there is room.
    ///
    /// # Errors
    /// [`Error::Stopped`] where the task has ended: its own error is the one that counts.
    pub fn send(&self, item: T) -> Result<()> {
        self.0
            .blocking_send(Item::One(item))
            .map_err(|_| Error::Stopped)
    }
}

impl<T> ItemReceiver<T> {
    /// The next item; none after the last.
    ///
    /// # Errors
    /// [`Error::Stopped`] where the sender has gone without saying that there are no more.
    pub async fn recv(&mut self) -> Result<Option<T>> {
        said(self.0.recv().await)
    }

    /// [`Self::recv`], on a thread that may block.
    ///
    /// # Errors
    /// As there.
    pub fn blocking_recv(&mut self) -> Result<Option<T>> {
        said(self.0.blocking_recv())
    }

    /// The items that are left. The last is an error where the sender goes without a word.
    pub fn into_stream(self) -> impl Stream<Item = Result<T>> {
        stream::try_unfold(self, |mut items| async move {
            Ok(items.recv().await?.map(|item| (item, items)))
        })
    }
}

fn said<T>(item: Option<Item<T>>) -> Result<Option<T>> {
    match item {
        Some(Item::One(item)) => Ok(Some(item)),
        Some(Item::End) => Ok(None),
        None => Err(Error::Stopped),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt;

    fn sums() -> ClosingSender<u64, u64> {
        ClosingSender::spawn(1, "cannot add", |items| {
            items
                .into_stream()
                .try_fold(0, |sum, n| async move { Ok(sum + n) })
        })
    }

    /// Sends from where it may block.
    async fn sent(sums: &ClosingSender<u64, u64>) {
        let items = sums.items();
        let send = move || (1..=4).try_for_each(|n| items.send(n));
        tokio::task::spawn_blocking(send).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn only_what_was_closed_counts() {
        let closed = sums();
        sent(&closed).await;
        assert_eq!(closed.close().await.unwrap(), 10);
        let aborted = sums();
        sent(&aborted).await;
        assert!(matches!(aborted.abort().await, Err(Error::Stopped)));
    }

    #[tokio::test]
    async fn a_sender_that_is_dropped_makes_the_task_give_up() {
        let ClosingSender { items, task, .. } = sums();
        drop(items);
        assert!(matches!(task.await.unwrap(), Err(Error::Stopped)));
    }

    #[tokio::test]
    async fn the_tasks_own_error_is_the_one_that_is_heard() {
        let failing: ClosingSender<u64, u64> =
            ClosingSender::spawn(1, "cannot add", |items| async move {
                drop(items);
                Err(Error::local("cannot add", "too much"))
            });
        assert!(
            failing
                .close()
                .await
                .unwrap_err()
                .to_string()
                .contains("too much")
        );
        let panicking: ClosingSender<u64, u64> =
            ClosingSender::spawn_blocking(1, "cannot add", |_| panic!("overflow"));
        let error = panicking.close().await.unwrap_err().to_string();
        assert!(
            error.contains("cannot add") && error.contains("overflow"),
            "{error}"
        );
    }
}
