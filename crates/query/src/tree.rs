//! Series that are with those below.

mod group;
mod round;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use firetower_model::{Answered, Ask, AskError, Kind, Listing, Loose, Matcher, Piece, Select, Series, TimeRange};
use firetower_promql::{Below, Error as PromqlError, PartAnswer, Query, Usage};
use firetower_relay::Callers;

use tokio::time::Instant;

use crate::answer::Say;
use crate::error::Error;
use crate::tree::group::Group;
use crate::tree::round::{Round, Step};
use crate::{Entry, IsStopped, Lister, Reader, Source};

/// How often everybody is asked again since targets have moved.
const ROUNDS_MAX: usize = 4;
/// How many samples may be held that came as they are.
const SAMPLES_MAX: usize = 20_000_000;
/// How long a list may take.
const LIST_LIMIT: Duration = Duration::from_secs(30);

/// A child as the topology has it.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its name.
    pub node: String,
    /// Whose series it has: children with one are replicas, of which one is asked.
    pub holds: String,
    /// Region of all its targets, or empty.
    pub region: String,
    /// Datacenter of all its targets, or empty.
    pub datacenter: String,
    /// How many targets it has; `None` if nobody knows.
    pub targets: Option<u64>,
}

/// Who should be below.
#[derive(Clone, Debug, Default)]
pub struct Roll {
    /// All children.
    pub children: Vec<Known>,
    /// The targets that are somebody's, by the identity of their labels.
    pub targets: Arc<HashSet<u64>>,
}

/// The monitors below.
#[derive(Clone)]
pub struct Tree {
    callers: Callers,
    roll: Arc<dyn Fn() -> Roll + Send + Sync>,
}

impl Tree {
    /// Asks those of `roll` through `callers`.
    pub fn new(callers: Callers, roll: Arc<dyn Fn() -> Roll + Send + Sync>) -> Tree {
        Tree { callers, roll }
    }
}

impl Source for Tree {
    type Reader = TreeReader;

    fn open(&self, until: Instant, is_stopped: IsStopped) -> TreeReader {
        TreeReader { tree: self.clone(), until, is_stopped, by_holder: RefCell::default() }
    }
}

/// The monitors below, as one query sees them.
pub struct TreeReader {
    tree: Tree,
    until: Instant,
    is_stopped: IsStopped,
    /// Who answered, by what it holds; of several questions the worst answer.
    by_holder: RefCell<BTreeMap<String, Answered>>,
}

impl TreeReader {
    /// Begins to ask everybody who may have series that all `matchers` let through.
    fn begin(&self, ask: Ask, matchers: &[Matcher]) -> Asking<'_> {
        let roll = (self.tree.roll)();
        let groups = Group::of(&roll.children, |child| may_have(child, matchers));
        let moved = Vec::new();
        let round = Round::begin(&self.tree.callers, &groups, &ask, &moved, self.until, &self.is_stopped);
        Asking { reader: self, ask, groups, roll, moved, round, rounds: 1 }
    }

    fn note(&self, holder: &str, answered: Answered) {
        let mut by_holder = self.by_holder.borrow_mut();
        match by_holder.get_mut(holder) {
            Some(before) if before.answered <= answered.answered => {}
            _ => drop(by_holder.insert(holder.to_owned(), answered)),
        }
    }

    /// Asks for a list and hands each of its pieces to `take`.
    fn gather(&self, ask: Ask, mut take: impl FnMut(Piece)) -> Result<(), Error> {
        // Of several lists of matchers any will do.
        let matchers = match &ask {
            Ask::Labels { selected, .. } if selected.len() == 1 => selected[0].clone(),
            _ => Vec::new(),
        };
        let mut asking = self.begin(ask, &matchers);
        while let Some(piece) = asking.next()? {
            take(piece);
        }
        Ok(())
    }

    /// Asks for a list and says each of its pieces.
    pub(crate) fn pass_on(&self, ask: Ask, say: Say<'_>) -> Result<(), AskError> {
        let mut said = Ok(());
        let gathered = self.gather(ask, |piece| {
            if said.is_ok() {
                said = say(piece);
            }
        });
        said?;
        gathered.map_err(|error| match error {
            Error::Stopped => AskError::Gone,
            Error::Moving => AskError::Unavailable { reason: error.to_string() },
            error => AskError::Execution { reason: error.to_string() },
        })
    }
}

/// Tells whether a child may have series that all matchers let through.
fn may_have(child: &Known, matchers: &[Matcher]) -> bool {
    matchers.iter().all(|matcher| match matcher.name() {
        "datacenter" if !child.datacenter.is_empty() => matcher.is_match(&child.datacenter),
        "region" if !child.region.is_empty() => matcher.is_match(&child.region),
        _ => true,
    })
}

/// One question to all below, as long as it is answered.
struct Asking<'a> {
    reader: &'a TreeReader,
    ask: Ask,
    groups: Vec<Group>,
    roll: Roll,
    /// Targets of which several have samples.
    moved: Vec<u64>,
    round: Round,
    rounds: usize,
}

impl Asking<'_> {
    /// Returns the next piece.
    fn next(&mut self) -> Result<Option<Piece>, Error> {
        loop {
            match self.round.next()? {
                Step::Piece(piece) => return Ok(Some(piece)),
                Step::Moved(seen) => {
                    let shared = shared(&seen, &self.roll.targets);
                    if shared.iter().all(|target| self.moved.contains(target)) {
                        self.round.go_on();
                        continue;
                    }
                    if self.rounds == ROUNDS_MAX {
                        return Err(Error::Moving);
                    }
                    self.rounds += 1;
                    self.moved.extend(shared);
                    self.moved.sort_unstable();
                    self.moved.dedup();
                    let TreeReader { tree, until, is_stopped, .. } = self.reader;
                    self.round = Round::begin(&tree.callers, &self.groups, &self.ask, &self.moved, *until, is_stopped);
                }
                Step::Done => {
                    for (holder, answered) in self.round.answered() {
                        self.reader.note(&holder, answered);
                    }
                    return Ok(None);
                }
            }
        }
    }
}

/// Returns those targets of which more than one child has samples: what one has that are no longer its own, and that are
/// somebody's, or another's who has had them too.
fn shared(seen: &[Vec<u64>], targets: &HashSet<u64>) -> Vec<u64> {
    let mut times: HashMap<u64, usize> = HashMap::new();
    seen.iter().flatten().for_each(|target| *times.entry(*target).or_default() += 1);
    times
        .into_iter()
        .filter(|(target, times)| *times > 1 || targets.contains(target))
        .map(|(target, _)| target)
        .collect()
}

impl Below for TreeReader {
    fn ask(&self, ask: Ask, sink: &mut dyn FnMut(Piece) -> Result<(), PromqlError>) -> Result<PartAnswer, PromqlError> {
        let matchers = match &ask {
            Ask::Evaluate { text, .. } => Query::parse(text)?.part_matchers(),
            _ => Vec::new(),
        };
        let mut asking = self.begin(ask, &matchers);
        while let Some(piece) = asking.next()? {
            sink(piece)?;
        }
        let said = asking.round.said();
        let usage = Usage { series: said.series, samples: said.samples, samples_peak: 0 };
        Ok(PartAnswer { warnings: said.warnings, infos: said.infos, usage })
    }
}

impl Select for TreeReader {
    type Error = Error;

    fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<impl Iterator<Item = Result<Vec<Series>, Error>>, Error> {
        let mut asking = self.begin(Ask::Samples { matchers: matchers.to_vec(), range }, matchers);
        let mut loose = Some(Loose::default());
        let mut samples = 0;
        let mut next = move || {
            while let Some(piece) = asking.next()? {
                let (Piece::Samples(series) | Piece::Loose(series)) = &piece else { continue };
                samples += series.iter().map(|series| series.samples.len()).sum::<usize>();
                if samples > SAMPLES_MAX {
                    return Err(Error::TooLarge { most: SAMPLES_MAX });
                }
                match (piece, &mut loose) {
                    (Piece::Samples(series), _) => return Ok(Some(series)),
                    (Piece::Loose(series), Some(loose)) => loose.add(series),
                    _ => {}
                }
            }
            Ok(loose.take().map(Loose::joined))
        };
        Ok(std::iter::from_fn(move || next().transpose()).fuse())
    }
}

impl Reader for TreeReader {
    fn below(&self) -> Option<&dyn Below> {
        Some(self)
    }

    fn answered(&self) -> Option<Answered> {
        let mut all = Answered::default();
        self.by_holder.borrow().values().for_each(|answered| all.add(answered.clone()));
        Some(all)
    }
}

impl Lister for Tree {
    fn list(
        &self,
        what: &Listing,
        selected: &[Vec<Matcher>],
        range: TimeRange,
        visit: &mut dyn FnMut(Entry<'_>),
    ) -> Result<Option<Answered>, Error> {
        let reader = self.open(Instant::now() + LIST_LIMIT, Arc::new(|| false));
        let ask = Ask::Labels { what: what.clone(), selected: selected.to_vec(), range };
        reader.gather(ask, |piece| match piece {
            Piece::LabelSets(sets) => sets.iter().for_each(|labels| visit(Entry::Labels(labels))),
            Piece::Texts(texts) => texts.iter().for_each(|text| visit(Entry::Text(text))),
            _ => {}
        })?;
        Ok(reader.answered())
    }

    fn kinds(&self) -> Result<(HashMap<String, Kind>, Option<Answered>), Error> {
        let reader = self.open(Instant::now() + LIST_LIMIT, Arc::new(|| false));
        let mut kinds = HashMap::new();
        reader.gather(Ask::Kinds, |piece| {
            if let Piece::Kinds(found) = piece {
                kinds.extend(found);
            }
        })?;
        Ok((kinds, reader.answered()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(node: &str, holds: &str, datacenter: &str) -> Known {
        let (node, holds, datacenter) = (node.to_owned(), holds.to_owned(), datacenter.to_owned());
        Known { node, holds, region: "eu".into(), datacenter, targets: Some(1) }
    }

    #[test]
    fn only_those_are_asked_that_may_have_something() {
        let check = |matchers: &[Matcher], expected: &[&str]| {
            let children = [child("a0", "a", "a"), child("b0", "b", "b"), child("c0", "c", "")];
            let found = Group::of(&children, |child| may_have(child, matchers));
            assert_eq!(found.iter().map(|group| group.holds.as_str()).collect::<Vec<_>>(), expected, "{matchers:?}");
        };
        check(&[], &["a", "b", "c"]);
        check(&[Matcher::equal("datacenter", "b")], &["b", "c"]);
        check(&[Matcher::regex("datacenter", "a|x").unwrap(), Matcher::equal("job", "j")], &["a", "c"]);
        check(&[Matcher::not_equal("region", "eu")], &[]);
    }

    #[test]
    fn a_target_is_shared_where_it_is_anothers_too() {
        let check = |seen: &[&[u64]], expected: &[u64]| {
            let seen: Vec<Vec<u64>> = seen.iter().map(|seen| seen.to_vec()).collect();
            let mut found = shared(&seen, &HashSet::from([1, 2]));
            found.sort_unstable();
            assert_eq!(found, expected, "{seen:?}");
        };
        check(&[&[], &[]], &[]);
        check(&[&[1], &[]], &[1]);
        // Nobody's any more, and only one has had it.
        check(&[&[3], &[]], &[]);
        check(&[&[3, 2], &[3]], &[2, 3]);
    }
}
