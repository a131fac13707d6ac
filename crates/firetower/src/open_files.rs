//! How many files and connections the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a monitor with all its targets and a flood on each of its ports needs; with fewer it still runs.
const ENOUGH: u64 = 10_000;

/// Raises the limit on open files to what the system allows: a connection to each target, and what others open to us.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = if raised.is_ok() { limit.maximum } else { limit.current };
    if now.is_some_and(|now| now < ENOUGH) {
        tracing::warn!(limit = now, enough = ENOUGH, "few files may be open: raise `ulimit -n`");
    }
}
