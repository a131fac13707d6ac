//! Finds targets where a job says that they are listed: files, servers, names. What is in a list is read elsewhere.
//!
//! Each source is followed by a task of its own, which keeps what it found last for as long as it cannot find out
//! anything newer, and says once why not.

mod files;
mod names;
mod run;
mod servers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use firetower_daemon::Names;
use firetower_model::{DnsSd, FileSd, HttpSd, JobSources, TargetGroup};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::buffers::Buffers;
use crate::fetch::Client;
use crate::metrics::DiscoveryMetrics;

pub use run::{Made, discover};

/// How long changes are gathered before they are told.
const LINGER: Duration = Duration::from_secs(1);
/// How long is waited, after a start or a reload, for sources that have not been heard.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// Reports that wait to be taken; more make their sources wait.
const REPORTS_MAX: usize = 64;

/// Reads a list of targets; takes where it comes from and its text, and returns a sentence for each fault.
pub type ReadGroups = fn(&str, &str) -> Result<Vec<TargetGroup>, String>;

/// What sources are followed with.
#[derive(Clone, Debug)]
pub struct DiscoverySetup {
    /// Gets lists from servers.
    pub client: Client,
    /// Looks names up.
    pub names: Names,
    /// Folder that files are looked for under.
    pub folder: PathBuf,
    /// Reads a file of targets.
    pub read_file: ReadGroups,
    /// Reads a server's list of targets.
    pub read_list: ReadGroups,
    /// What is counted.
    pub metrics: DiscoveryMetrics,
}

/// Follows the sources of all jobs; what was found last stands until something newer is.
pub struct Discovery {
    setup: Arc<DiscoverySetup>,
    buffers: Buffers,
    sources: Vec<Followed>,
    tasks: JoinSet<()>,
    reports: mpsc::Receiver<Report>,
    reporter: mpsc::Sender<Report>,
    next_number: u64,
    due: Option<Instant>,
}

/// One source of one job.
struct Followed {
    job_name: String,
    source: Source,
    number: u64,
    task: AbortHandle,
    is_heard: bool,
    /// `None` as long as it could not say what there is.
    groups: Option<Vec<TargetGroup>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Source {
    Files(FileSd),
    Server(Box<HttpSd>),
    /// One name only.
    Name(DnsSd),
}

/// What a source says: all that it has, or that it never could say so.
struct Report {
    number: u64,
    groups: Option<Vec<TargetGroup>>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// By job; jobs without sources have no entry.
    pub groups: BTreeMap<String, Vec<TargetGroup>>,
    /// Jobs of which a source has not been able to say anything since it is followed: what they have is not known.
    pub unknown: BTreeSet<String>,
}

impl Discovery {
    /// Starts without sources.
    pub fn new(setup: DiscoverySetup) -> Discovery {
        let (reporter, reports) = mpsc::channel(REPORTS_MAX);
        Discovery {
            setup: Arc::new(setup),
            buffers: Buffers::default(),
            sources: Vec::new(),
            tasks: JoinSet::new(),
            reports,
            reporter,
            next_number: 0,
            due: None,
        }
    }

    /// Follows the sources of these jobs and no others; a source followed before is not disturbed.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn follow(&mut self, jobs: &[JobSources]) {
        let mut before = std::mem::take(&mut self.sources);
        for job in jobs {
            for source in sources_of(job) {
                let same = before.iter().position(|old| old.job_name == job.job_name && old.source == source);
                let followed = match same {
                    Some(at) => before.swap_remove(at),
                    None => self.start(&job.job_name, source),
                };
                self.sources.push(followed);
            }
        }
        before.iter().for_each(|gone| gone.task.abort());
        while self.tasks.try_join_next().is_some() {}
        self.due = Some(Instant::now() + if self.are_all_heard() { Duration::ZERO } else { FIRST_WAIT });
    }

    /// Waits until there is news, and returns all that is known.
    ///
    /// After [`Discovery::follow`] it returns once every source was heard, or 5 s later; changes after that are gathered
    /// for 1 s.
    ///
    /// # Cancel safety
    /// Nothing is lost if it is dropped.
    pub async fn changed(&mut self) -> Found {
        loop {
            let due = self.due;
            tokio::select! {
                biased;
                Some(report) = self.reports.recv() => self.take(report),
                () = async { tokio::time::sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {
                    self.due = None;
                    return self.found();
                }
            }
        }
    }

    fn take(&mut self, report: Report) {
        let was_all_heard = self.are_all_heard();
        let Some(followed) = self.sources.iter_mut().find(|followed| followed.number == report.number) else { return };
        followed.is_heard = true;
        followed.groups = report.groups;
        let now = Instant::now();
        let is_last_heard = !was_all_heard && self.are_all_heard();
        self.due = if is_last_heard { Some(now) } else { Some(self.due.unwrap_or(now + LINGER)) };
    }

    fn are_all_heard(&self) -> bool {
        self.sources.iter().all(|followed| followed.is_heard)
    }

    fn found(&self) -> Found {
        let mut found = Found::default();
        for followed in &self.sources {
            let groups = found.groups.entry(followed.job_name.clone()).or_default();
            groups.extend(followed.groups.iter().flatten().cloned());
            if followed.groups.is_none() {
                found.unknown.insert(followed.job_name.clone());
            }
        }
        found
    }

    fn start(&mut self, job_name: &str, source: Source) -> Followed {
        let number = self.next_number;
        self.next_number += 1;
        let voice =
            Voice { job_name: job_name.into(), number, reporter: self.reporter.clone(), told: None, fault: None };
        let setup = Arc::clone(&self.setup);
        let task = match source.clone() {
            Source::Files(wanted) => self.tasks.spawn(files::follow(setup, wanted, voice)),
            Source::Server(wanted) => self.tasks.spawn(servers::follow(setup, self.buffers.clone(), *wanted, voice)),
            Source::Name(wanted) => self.tasks.spawn(names::follow(setup, wanted, voice)),
        };
        Followed { job_name: job_name.into(), source, number, task, is_heard: false, groups: None }
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Discovery of {} sources", self.sources.len())
    }
}

fn sources_of(job: &JobSources) -> Vec<Source> {
    let mut sources: Vec<Source> = job.files.iter().cloned().map(Source::Files).collect();
    sources.extend(job.servers.iter().cloned().map(Box::new).map(Source::Server));
    for wanted in &job.names {
        let one = |name: &String| Source::Name(DnsSd { names: vec![name.clone()], ..wanted.clone() });
        sources.extend(wanted.names.iter().map(one));
    }
    sources
}

/// What a source speaks with.
struct Voice {
    job_name: String,
    number: u64,
    reporter: mpsc::Sender<Report>,
    /// `None` before anything was told.
    told: Option<Option<Vec<TargetGroup>>>,
    fault: Option<String>,
}

impl Voice {
    /// Tells what there is, if that is news.
    async fn tell(&mut self, groups: Vec<TargetGroup>) {
        self.report(Some(groups)).await;
    }

    /// Tells that nothing newer is known.
    async fn tell_nothing_new(&mut self) {
        self.report(self.told.clone().flatten()).await;
    }

    async fn report(&mut self, groups: Option<Vec<TargetGroup>>) {
        if self.told.as_ref() != Some(&groups) {
            self.told = Some(groups.clone());
            // Nobody listens only when all is being stopped.
            let _ = self.reporter.send(Report { number: self.number, groups }).await;
        }
    }

    /// Says once what is wrong, and again only when that changes.
    fn complain(&mut self, fault: Option<String>) {
        if let Some(fault) = fault.as_ref().filter(|fault| Some(*fault) != self.fault.as_ref()) {
            tracing::warn!(job = self.job_name, fault, "discovery keeps what it found last");
        }
        self.fault = fault;
    }
}

#[cfg(test)]
mod tests;
