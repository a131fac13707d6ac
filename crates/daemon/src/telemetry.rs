//! Logging.

use std::error::Error;
use std::fmt;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error: `info` and above, or what `FIRETOWER_LOG` says (`debug`, `firetower_relay=trace`).
pub fn start_logging() {
    let filter = EnvFilter::try_from_env("FIRETOWER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // It would panic where standard error cannot be written either, as when it goes to a full disk.
        .log_internal_errors(false)
        .init();
}

/// Returns `error` and its sources as one line, `: ` between them.
pub fn chain(error: &dyn Error) -> impl fmt::Display + '_ {
    Chain(error)
}

struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
