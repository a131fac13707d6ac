//! Answering those above from the store.

use std::collections::HashSet;
use std::sync::Arc;

use firetower_model::{
    Answered, Ask, AskError, Ending, Inquiry, Labels, Listing, Matcher, Piece, Select, TargetId, TimeRange,
};
use firetower_query::{DAMAGE, Entry, Lister, answer_part, part_range};
use firetower_relay::{Answers, Out};
use firetower_store::Store;
use firetower_topology::QueryLimits;
use tokio::sync::watch;

use crate::listed::Listed;

/// How many entries of a list go into one piece.
const PIECE_ENTRIES: usize = 1_024;

/// The targets that are this secondary's.
pub(crate) type Owned = Arc<HashSet<TargetId>>;

/// Answers from the store.
pub(crate) struct Holder {
    pub(crate) store: Arc<Store>,
    pub(crate) owned: watch::Receiver<Owned>,
    pub(crate) limits: QueryLimits,
}

impl Answers for Holder {
    fn answer(&self, inquiry: &Inquiry, out: &mut Out) -> Result<Ending, AskError> {
        let owned = Arc::clone(&self.owned.borrow());
        let mut ending = match &inquiry.ask {
            Ask::Labels { what, selected, range } => {
                out.say(Piece::Moved(Vec::new()))?;
                self.list(what, selected, *range, out)?;
                Ending::default()
            }
            Ask::Kinds => {
                out.say(Piece::Moved(Vec::new()))?;
                let kinds: Vec<_> = self.store.kinds().into_iter().collect();
                kinds.chunks(PIECE_ENTRIES).try_for_each(|kinds| out.say(Piece::Kinds(kinds.to_vec())))?;
                Ending::default()
            }
            Ask::Evaluate { .. } | Ask::Samples { .. } => self.read(inquiry, &owned, out)?,
        };
        let count = owned.len() as u64;
        ending.answered = Answered { expected: count, answered: count, missing: Vec::new() };
        Ok(ending)
    }
}

impl Holder {
    fn read(&self, inquiry: &Inquiry, owned: &HashSet<TargetId>, out: &mut Out) -> Result<Ending, AskError> {
        let targets = self.store.targets();
        let identities = self.others(&targets, owned, part_range(&inquiry.ask)?);
        out.say(Piece::Moved(identities))?;
        let asked: HashSet<u64> = inquiry.moved.iter().copied().collect();
        let is_asked = |(_, labels): &&(TargetId, Labels)| asked.contains(&labels.identity());
        let moved: HashSet<TargetId> = if asked.is_empty() {
            HashSet::new()
        } else {
            targets.iter().filter(is_asked).map(|(id, _)| *id).collect()
        };
        let left_out = self.store.left_out();
        let (stayed, moved) = (self.store.without(moved.clone()), self.store.only(moved));
        let is_stopped = out.stopped();
        let here = (&stayed, Some(&moved));
        let mut ending =
            answer_part(&inquiry.ask, here, None, (&self.limits, &*is_stopped), &mut |piece| out.say(piece))?;
        if self.store.left_out() != left_out {
            ending.warnings.push(DAMAGE.into());
        }
        Ok(ending)
    }

    /// Returns the identities of targets that are not this secondary's, and of which it may have samples in `range`.
    fn others(&self, targets: &[(TargetId, Labels)], owned: &HashSet<TargetId>, range: TimeRange) -> Vec<u64> {
        let others: HashSet<TargetId> = targets.iter().map(|(id, _)| *id).filter(|id| !owned.contains(id)).collect();
        if others.is_empty() {
            return Vec::new();
        }
        let used = self.store.used_in(&others, range);
        targets.iter().filter(|(id, _)| used.contains(id)).map(|(_, labels)| labels.identity()).collect()
    }

    fn list(&self, what: &Listing, selected: &[Vec<Matcher>], range: TimeRange, out: &mut Out) -> Result<(), AskError> {
        // Names and values come again with each series.
        let mut texts: HashSet<String> = HashSet::new();
        let mut sets: Vec<Labels> = Vec::new();
        let mut said = Ok(());
        let listed = Listed(Arc::clone(&self.store)).list(what, selected, range, &mut |entry| match entry {
            Entry::Text(text) if !texts.contains(text) => drop(texts.insert(text.to_owned())),
            Entry::Text(_) => {}
            Entry::Labels(labels) => {
                sets.push(labels.clone());
                if sets.len() == PIECE_ENTRIES && said.is_ok() {
                    said = out.say(Piece::LabelSets(std::mem::take(&mut sets)));
                }
            }
        });
        listed.map_err(|error| AskError::Unavailable { reason: error.to_string() })?;
        said?;
        if !sets.is_empty() {
            out.say(Piece::LabelSets(sets))?;
        }
        let texts: Vec<String> = texts.into_iter().collect();
        texts.chunks(PIECE_ENTRIES).try_for_each(|texts| out.say(Piece::Texts(texts.to_vec())))
    }
}
