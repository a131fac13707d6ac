//! Tasks with names and an owner.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How a task ended.
#[derive(Debug)]
pub struct Ended<E> {
    /// Its name.
    pub name: &'static str,
    /// What it returned; `Err(None)` if it panicked.
    pub result: Result<(), Option<E>>,
}

/// The named tasks of a role, in the order in which data flows through them.
///
/// The first to end, well or badly, stops all; then they are stopped one after the other in that order, each once the
/// one before it has ended, all within a grace period.
pub struct Tasks<E> {
    tasks: Vec<Task<E>>,
}

struct Task<E> {
    name: &'static str,
    cancel: CancellationToken,
    handle: JoinHandle<Result<(), E>>,
}

impl<E: Send + 'static> Tasks<E> {
    /// No tasks.
    #[expect(clippy::new_without_default, reason = "an empty set of tasks is nobody's default")]
    pub fn new() -> Tasks<E> {
        Tasks { tasks: Vec::new() }
    }

    /// Starts a task after those already there in the flow of data; it ends when its token is cancelled.
    pub fn start<F>(&mut self, name: &'static str, run: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        let cancel = CancellationToken::new();
        let handle = tokio::spawn(run(cancel.clone()));
        self.tasks.push(Task { name, cancel, handle });
    }

    /// Waits until `stop` is cancelled or a task ends, then stops them in order within `grace`.
    ///
    /// Returns how each ended that did not end well, and the names of those that overran and were dropped.
    pub async fn join(mut self, stop: CancellationToken, grace: Duration) -> (Vec<Ended<E>>, Vec<&'static str>) {
        let mut failed = Vec::new();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            at = first_ended(&mut self.tasks) => {
                let task = self.tasks.remove(at);
                if !stop.is_cancelled() {
                    tracing::warn!(task = task.name, "task ended, stopping the others");
                }
                failed.extend(ending(task).await);
            }
        }
        let deadline = Instant::now() + grace;
        let mut overran = Vec::new();
        for mut task in self.tasks {
            task.cancel.cancel();
            match tokio::time::timeout_at(deadline, &mut task.handle).await {
                Err(_) => {
                    task.handle.abort();
                    overran.push(task.name);
                }
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => failed.push(Ended { name: task.name, result: Err(Some(error)) }),
                Ok(Err(_)) => failed.push(Ended { name: task.name, result: Err(None) }),
            }
        }
        (failed, overran)
    }
}

async fn ending<E>(task: Task<E>) -> Option<Ended<E>> {
    let result = match task.handle.await {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => Err(Some(error)),
        Err(_) => Err(None),
    };
    Some(Ended { name: task.name, result })
}

/// Returns the place of the first task that has ended; leaves its result in its handle.
async fn first_ended<E>(tasks: &mut [Task<E>]) -> usize {
    loop {
        if let Some(at) = tasks.iter().position(|task| task.handle.is_finished()) {
            return at;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_to_end_stops_the_others_in_order_and_names_who_overran() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks: Tasks<&'static str> = Tasks::new();
        for name in ["intake", "drain"] {
            let order = Arc::clone(&order);
            tasks.start(name, |cancel| async move {
                cancel.cancelled().await;
                order.lock().unwrap().push(name);
                Ok(())
            });
        }
        tasks.start("stuck", |_| std::future::pending());
        tasks.start("broken", |_| async { Err("boom") });
        let (failed, overran) = tasks.join(CancellationToken::new(), Duration::from_secs(5)).await;
        assert_eq!(*order.lock().unwrap(), ["intake", "drain"]);
        assert_eq!(overran, ["stuck"]);
        assert!(matches!(failed[..], [Ended { name: "broken", result: Err(Some("boom")) }]), "{failed:?}");
    }
}
