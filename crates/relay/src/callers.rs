//! Asking children: which of them can be asked, and what each says.

mod asked;
mod gaps;
mod open;
mod serve;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use firetower_daemon::chain;
use firetower_model::{AskError, Incarnation, Inquiry, NodeStatus};
use firetower_wire::{AnswerDown, Hello, Opening, ParentControl, check_inquiry};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::callers::gaps::Gaps;
use crate::callers::open::Open;
use crate::inbound::SessionId;
use crate::metrics::RelayMetrics;

pub use asked::{Asked, Failed, Heard};

/// How long after its last heartbeat a child is not asked: three of them are missing.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// The children that let themselves be asked; clones share them.
#[derive(Clone)]
pub struct Callers(Arc<Inner>);

struct Inner {
    children: Mutex<BTreeMap<String, Child>>,
    last_id: AtomicU64,
    metrics: RelayMetrics,
}

/// A child that is, or was, here.
struct Child {
    session: SessionId,
    incarnation: Incarnation,
    has_queries: bool,
    /// To its `Control`; `None` once that has ended.
    out: Option<mpsc::Sender<ParentControl>>,
    heard_at: Instant,
    status: Option<Arc<NodeStatus>>,
    call: Option<Arc<Open>>,
    gaps: Arc<Mutex<Gaps>>,
}

/// A child, as whoever asks sees it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its name.
    pub name: String,
    /// What it last said of itself; `None` before it has.
    pub status: Option<Arc<NodeStatus>>,
    /// Whether it can be asked; why not, for people.
    pub can_answer: Result<(), &'static str>,
}

impl Callers {
    /// Nobody yet: [`crate::keep`] tells of those that come.
    pub fn new(metrics: RelayMetrics) -> Callers {
        Callers(Arc::new(Inner { children: Mutex::default(), last_id: AtomicU64::new(0), metrics }))
    }

    /// Returns all children that are, or were, here, in order of their names.
    pub fn children(&self) -> Vec<Caller> {
        let caller = |(name, child): (&String, &Child)| Caller {
            name: name.clone(),
            status: child.status.clone(),
            can_answer: child.way().map(drop),
        };
        self.lock().iter().map(caller).collect()
    }

    /// Asks `child`; what it says is to be had from what is returned.
    ///
    /// # Errors
    /// [`AskError::Unavailable`] if it cannot be asked now; [`AskError::Execution`] if the question is over one of
    /// [`firetower_wire::limits`].
    pub fn ask(&self, child: &str, inquiry: Arc<Inquiry>) -> Result<Asked, AskError> {
        let unavailable = |reason: &str| AskError::Unavailable { reason: reason.to_owned() };
        check_inquiry(&inquiry).map_err(|error| AskError::Execution { reason: chain(&error).to_string() })?;
        let children = self.lock();
        let way = children.get(child).map_or(Err(NOT_CONNECTED), Child::way);
        let (out, call) = way.map_err(unavailable)?;
        let room = out.try_reserve().map_err(|_| unavailable("does not read what it is told"))?;
        let id = self.0.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let asked = Asked::begin(id, call).map_err(unavailable)?;
        room.send(ParentControl::Query { id, inquiry });
        Ok(asked)
    }

    /// Notes that a child was let in; it is here until what is returned is dropped.
    pub(crate) fn let_in(&self, session: SessionId, hello: &Hello, out: mpsc::Sender<ParentControl>) -> Here {
        let mut children = self.lock();
        if children.get(&hello.node).is_none_or(|before| before.session < session) {
            let before = children.remove(&hello.node);
            let (status, gaps) = before.map_or_else(Default::default, |before| {
                before.close();
                (before.status, before.gaps)
            });
            let child = Child {
                session,
                incarnation: hello.incarnation,
                has_queries: hello.features.queries,
                out: Some(out),
                heard_at: Instant::now(),
                status,
                call: None,
                gaps,
            };
            children.insert(hello.node.clone(), child);
        }
        Here { callers: self.clone(), name: hello.node.clone(), session }
    }

    /// Opens the way for a child's answers, in place of the one before; `None` if it was not let in.
    fn open(&self, opening: &Opening, down: mpsc::Sender<AnswerDown>) -> Option<Arc<Open>> {
        let mut children = self.lock();
        let child = children.get_mut(&opening.node)?;
        if child.out.is_none() || child.incarnation != opening.incarnation {
            return None;
        }
        child.close();
        let open = Arc::new(Open::new(opening.node.clone(), down, Arc::clone(&child.gaps), self.0.metrics.clone()));
        child.call = Some(Arc::clone(&open));
        Some(open)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Child>> {
        self.0.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const NOT_CONNECTED: &str = "not connected";

impl Child {
    /// Returns the way to it and back; why there is none, for people.
    fn way(&self) -> Result<(&mpsc::Sender<ParentControl>, &Arc<Open>), &'static str> {
        let out = self.out.as_ref().ok_or(NOT_CONNECTED)?;
        if self.heard_at.elapsed() >= SILENCE_MAX {
            return Err("no heartbeat for 3 s");
        }
        if !self.has_queries {
            return Err("release without queries");
        }
        let call = self.call.as_ref().filter(|call| !call.has_ended()).ok_or("no open call for answers")?;
        Ok((out, call))
    }

    fn close(&self) {
        if let Some(call) = &self.call {
            call.end();
        }
    }
}

/// A child's open `Control` call.
pub(crate) struct Here {
    callers: Callers,
    name: String,
    session: SessionId,
}

impl Here {
    /// Notes that it lives, and how it is.
    pub(crate) fn heard(&self, status: &NodeStatus) {
        self.with(|child| {
            child.heard_at = Instant::now();
            child.status = Some(Arc::new(status.clone()));
        });
    }

    /// Does something to the child, unless a later call of it has taken its place.
    fn with(&self, change: impl FnOnce(&mut Child)) {
        if let Some(child) = self.callers.lock().get_mut(&self.name).filter(|child| child.session == self.session) {
            change(child);
        }
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.with(|child| {
            child.close();
            (child.out, child.call) = (None, None);
        });
    }
}
