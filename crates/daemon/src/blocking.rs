//! The one way to block.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs `work`, which may block for longer than 500 µs, without holding up other tasks.
///
/// On a runtime of one thread it simply runs: there, simulated time stands still meanwhile.
///
/// # Panics
/// Outside of a runtime.
pub fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}
