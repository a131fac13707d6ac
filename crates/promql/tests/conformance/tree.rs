//! The same series spread over the leaves of a tree, which are asked as monitors are.

use std::collections::BTreeMap;
use std::convert::Infallible;

use firetower_model::{Ask, Matcher, Piece, Select, Series, TimeRange};
use firetower_promql::{Below, Error, Limits, PartAnswer, PartQuestion, Query};

use crate::memory::Memory;

/// Two nodes of two leaves each. A fifth of the series have moved from one leaf to the other in their middle.
#[derive(Default)]
pub(crate) struct Tree([Node; 2]);

#[derive(Default)]
struct Node([Leaf; 2]);

#[derive(Default)]
struct Leaf {
    stayed: Memory,
    moved: Memory,
}

impl Tree {
    pub(crate) fn of(memory: &Memory) -> Tree {
        let mut tree = Tree::default();
        for (labels, samples) in &memory.0 {
            let place = labels.identity();
            let Node([first, second]) = &mut tree.0[(place >> 8) as usize % 2];
            match place % 5 {
                0 => {
                    let mut early = samples.clone();
                    let middle = samples.keys().nth(samples.len() / 2).copied().unwrap_or_default();
                    let late = early.split_off(&middle);
                    first.moved.0.insert(labels.clone(), early);
                    second.moved.0.insert(labels.clone(), late);
                }
                1 | 2 => drop(first.stayed.0.insert(labels.clone(), samples.clone())),
                _ => drop(second.stayed.0.insert(labels.clone(), samples.clone())),
            }
        }
        tree
    }
}

/// Answers an [`Ask::Evaluate`] with `answer`.
fn evaluate(
    ask: Ask,
    say: &mut dyn FnMut(Piece) -> Result<(), Error>,
    answer: impl FnOnce(Query, PartQuestion, &mut dyn FnMut(Piece) -> Result<(), Error>) -> Result<PartAnswer, Error>,
) -> Result<PartAnswer, Error> {
    let Ask::Evaluate { text, whole, moments, look_back } = ask else { panic!("{ask:?}") };
    answer(Query::parse(&text)?, PartQuestion { whole, moments, look_back }, say)
}

fn gather(answers: impl Iterator<Item = Result<PartAnswer, Error>>) -> Result<PartAnswer, Error> {
    let mut all = PartAnswer::default();
    for answer in answers {
        let answer = answer?;
        all.warnings.extend(answer.warnings);
        all.infos.extend(answer.infos);
    }
    Ok(all)
}

impl Below for Node {
    fn ask(&self, ask: Ask, sink: &mut dyn FnMut(Piece) -> Result<(), Error>) -> Result<PartAnswer, Error> {
        gather(self.0.iter().map(|leaf| {
            evaluate(ask.clone(), sink, |query, question, say| {
                let here = (&leaf.stayed, Some(&leaf.moved));
                query.answer_part(here, None, question, &Limits::PROMETHEUS, &|| false, say)
            })
        }))
    }
}

impl Below for Tree {
    fn ask(&self, ask: Ask, sink: &mut dyn FnMut(Piece) -> Result<(), Error>) -> Result<PartAnswer, Error> {
        gather(self.0.iter().map(|node| {
            evaluate(ask.clone(), sink, |query, question, say| {
                query.answer_part((node, None), Some(node), question, &Limits::PROMETHEUS, &|| false, say)
            })
        }))
    }
}

impl Select for Node {
    type Error = Infallible;

    fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<impl Iterator<Item = Result<Vec<Series>, Infallible>>, Infallible> {
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for memory in self.0.iter().flat_map(|leaf| [&leaf.stayed, &leaf.moved]) {
            for series in memory.select(matchers, range)?.flat_map(|batch| batch.unwrap_or_default()) {
                found.entry(series.labels).or_default().extend(series.samples);
            }
        }
        Ok(found.into_iter().map(|(labels, samples)| Ok(vec![Series { labels, samples }])))
    }
}

impl Select for Tree {
    type Error = Infallible;

    fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<impl Iterator<Item = Result<Vec<Series>, Infallible>>, Infallible> {
        let [first, second] = &self.0;
        Ok(first.select(matchers, range)?.chain(second.select(matchers, range)?))
    }
}
