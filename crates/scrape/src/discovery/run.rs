//! The task of a role that keeps its list of targets.

use std::collections::BTreeSet;

use firetower_daemon::blocking;
use firetower_model::JobSources;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Discovery, Found};

/// What is made of what was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Made<T> {
    /// What is sent on, if anything.
    pub list: Option<T>,
    /// A sentence for each thing that was left out; each is logged once for as long as it holds.
    pub complaints: Vec<String>,
}

/// Follows the sources of jobs until `cancel`, and sends to `lists` what `make` makes of the jobs and of what is found.
///
/// Jobs that come from `reloaded` take the place of those before. `sources` says where a set of jobs has its targets.
pub async fn discover<J, T>(
    mut discovery: Discovery,
    mut jobs: J,
    mut reloaded: mpsc::Receiver<J>,
    sources: impl Fn(&J) -> Vec<JobSources>,
    mut make: impl FnMut(&J, &Found) -> Made<T>,
    lists: mpsc::Sender<T>,
    cancel: CancellationToken,
) {
    let mut said = BTreeSet::new();
    discovery.follow(&sources(&jobs));
    loop {
        let found = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            Some(newer) = reloaded.recv() => {
                jobs = newer;
                discovery.follow(&sources(&jobs));
                continue;
            }
            found = discovery.changed() => found,
        };
        let made = blocking(|| make(&jobs, &found));
        let complaints = BTreeSet::from_iter(made.complaints);
        for complaint in complaints.difference(&said) {
            tracing::warn!(complaint, "target left out");
        }
        said = complaints;
        let Some(list) = made.list else { continue };
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            sent = lists.send(list) => if sent.is_err() { return },
        }
    }
}
