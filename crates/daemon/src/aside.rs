//! Work that may take long, beside what must be punctual.

use std::thread;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// How much lower than the process itself such work ranks: where both want a processor it gets about a tenth of it.
///
/// Source: `man 7 sched`, of the nice value: each step counts for a factor of about 1.25.
const NICENESS: i32 = 10;

/// Runs `work` on a thread of its own, of low priority, inside the runtime of the caller; it goes on if what is returned is
/// dropped, and the runtime awaits it when it ends. `None` if `work` panicked, or there was no thread to be had.
///
/// How many there are at a time is for the caller to limit.
///
/// # Panics
/// Outside of a runtime.
pub fn aside<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<Option<T>> {
    let runtime = Handle::current();
    let run = move || {
        let _inside = runtime.enter();
        // Of the calling thread alone, on Linux. Without it the work is only less polite.
        let lower = |priority| rustix::process::setpriority_process(None, priority + NICENESS);
        if let Err(error) = rustix::process::getpriority_process(None).and_then(lower) {
            tracing::debug!(%error, name, "thread keeps its priority");
        }
        work()
    };
    // A thread of the runtime's own would keep the low priority for whatever it does next.
    tokio::task::spawn_blocking(move || match thread::Builder::new().name(name.into()).spawn(run) {
        Ok(thread) => thread.join().ok(),
        Err(error) => {
            tracing::error!(%error, name, "no thread can be started");
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is lower counts as this.
    const LOWEST: i32 = 19;

    #[tokio::test]
    async fn work_aside_has_a_low_priority_and_its_runtime() {
        let work = || {
            let priority = rustix::process::getpriority_process(None).unwrap();
            (priority, thread::current().name().map(str::to_owned), Handle::try_current().is_ok())
        };
        let before = rustix::process::getpriority_process(None).unwrap();
        let (priority, name, is_inside) = aside("query", work).await.unwrap().unwrap();
        assert_eq!((priority, name.as_deref(), is_inside), ((before + NICENESS).min(LOWEST), Some("query"), true));
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), before);
        assert_eq!(aside::<()>("query", || panic!("on purpose")).await.unwrap(), None);
    }
}
