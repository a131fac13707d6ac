//! Children that hold the same series, of which one is asked.

use std::sync::Arc;

use firetower_model::{AskError, Ending, Inquiry, Missing, Piece};
use firetower_relay::{Callers, Failed, Heard};
use tokio::sync::{mpsc, watch};

use crate::tree::Known;

/// Replicas of one holder of series.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// What they hold.
    pub(super) holds: String,
    /// In the order in which they are asked.
    members: Vec<String>,
    targets: Option<u64>,
}

/// What comes of a group.
#[derive(Debug)]
pub(super) enum Said {
    /// Which targets moved; before anything else.
    Moved(Vec<u64>),
    Piece(Piece),
    /// Groups of an aggregation, all at once, and the end.
    End(Vec<Piece>, Ending),
    /// Nobody answers.
    Missing(Vec<Missing>),
    /// The question has no answer.
    Refused(String),
}

impl Group {
    /// Puts those children that are `wanted` together by what they hold, in its order.
    pub(super) fn of(children: &[Known], wanted: impl Fn(&Known) -> bool) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for child in children.iter().filter(|child| wanted(child)) {
            match groups.iter_mut().find(|group| group.holds == child.holds) {
                Some(group) => {
                    group.members.push(child.node.clone());
                    group.targets = group.targets.max(child.targets);
                }
                None => groups.push(Group {
                    holds: child.holds.clone(),
                    members: vec![child.node.clone()],
                    targets: child.targets,
                }),
            }
        }
        groups.sort_by(|a, b| a.holds.cmp(&b.holds));
        groups
    }

    /// Asks one member after the other until one has answered, and tells `to` what it says; what is not known before all
    /// others have said which targets moved waits for `may_go_on`.
    pub(super) async fn ask(
        self,
        place: usize,
        callers: Callers,
        inquiry: Arc<Inquiry>,
        mut may_go_on: watch::Receiver<bool>,
        to: mpsc::Sender<(usize, Said)>,
    ) {
        let mut missing = Vec::new();
        for member in &self.members {
            let mut talk = Talk { to: &to, place, may_go_on: &mut may_go_on, has_said: false, groups: Vec::new() };
            let reason = match talk.listen(&callers, member, &inquiry).await {
                Ok(()) => return,
                Err(Failed::Error(AskError::Gone)) => return,
                Err(Failed::Error(AskError::Execution { reason })) => {
                    return drop(to.send((place, Said::Refused(reason))).await);
                }
                Err(Failed::Error(AskError::Unavailable { reason })) => reason,
                Err(failed @ Failed::Hung { .. }) => failed.to_string(),
            };
            let has_said = talk.has_said;
            missing.push(Missing { node: member.clone(), targets: None, reason });
            if has_said {
                // What was handed on cannot be taken back.
                break;
            }
        }
        if let Some(first) = missing.first_mut() {
            first.targets = self.targets;
        }
        drop(to.send((place, Said::Missing(missing))).await);
    }
}

/// What one member says.
struct Talk<'a> {
    to: &'a mpsc::Sender<(usize, Said)>,
    place: usize,
    may_go_on: &'a mut watch::Receiver<bool>,
    /// Whether something was handed on that another would say again.
    has_said: bool,
    groups: Vec<Piece>,
}

impl Talk<'_> {
    async fn listen(&mut self, callers: &Callers, member: &str, inquiry: &Arc<Inquiry>) -> Result<(), Failed> {
        let mut asked = callers.ask(member, Arc::clone(inquiry))?;
        let mut is_first = true;
        loop {
            let heard = asked.next().await?;
            if std::mem::take(&mut is_first) {
                let moved = if let Heard::Piece(Piece::Moved(moved)) = &heard { moved.clone() } else { Vec::new() };
                self.say(Said::Moved(moved)).await?;
                // Whoever asked may have begun anew.
                self.may_go_on.wait_for(|may| *may).await.map_err(|_| AskError::Gone)?;
            }
            match heard {
                Heard::Piece(Piece::Moved(_)) => {}
                Heard::Piece(piece @ Piece::Groups(_)) => self.groups.push(piece),
                Heard::Piece(piece) => {
                    self.has_said = true;
                    self.say(Said::Piece(piece)).await?;
                }
                Heard::End(ending) => {
                    let groups = std::mem::take(&mut self.groups);
                    return self.say(Said::End(groups, ending)).await;
                }
            }
        }
    }

    async fn say(&mut self, said: Said) -> Result<(), Failed> {
        self.to.send((self.place, said)).await.map_err(|_| AskError::Gone.into())
    }
}
