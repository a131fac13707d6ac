//! `info`: the labels of `target_info` and its like, added to other series.

use std::collections::{BTreeMap, HashMap};

use firetower_model::labels::NAME;
use firetower_model::{Labels, Matcher};

use crate::curve::{Curve, Union, is_absent};
use crate::error::Error;
use crate::evaluate::{Evaluation, Sink};
use crate::plan::{Selector, Shift, Vector};
use crate::steps::Steps;

/// The info metric that is meant where none is named.
pub(crate) const TARGET_INFO: &str = "target_info";

/// Which labels of which info metrics are added.
#[derive(Debug)]
pub(crate) struct Enrichment {
    /// Which metrics are info metrics.
    pub names: Vec<Matcher>,
    /// Which of their labels are added, and what is asked of them; all labels if there are none.
    pub data: Vec<Matcher>,
    /// When the info metrics are looked at: as the first selector of what is enriched.
    pub shift: Shift,
}

/// One info series: when its newest sample was, at each step.
type Times = Curve;

/// By the labels that identify a target, and by their name.
type Infos = HashMap<Labels, BTreeMap<String, Vec<Times>>>;

impl Evaluation<'_> {
    /// Hands on what `of` has, with labels of the info series of the same target.
    pub(crate) fn info(&self, enrichment: &Enrichment, of: &Vector, steps: Steps, sink: Sink<'_>) -> Result<(), Error> {
        let infos = self.infos(enrichment, steps)?;
        let run = |add: Sink<'_>| {
            self.stream(of, steps, &mut |curve| {
                let is_info = enrichment.names.iter().all(|matcher| matcher.is_match_labels(&curve.labels));
                if is_info { add(curve) } else { enrichment.enrich(&curve, &infos, add) }
            })
        };
        self.united(run, sink)
    }

    fn infos(&self, enrichment: &Enrichment, steps: Steps) -> Result<Infos, Error> {
        let matchers = enrichment.names.iter().chain(&enrichment.data).cloned().collect();
        let selector = Selector { matchers, shift: enrichment.shift };
        let mut infos = Infos::new();
        self.sample_times(&selector, steps, &mut |times| {
            let target = identity(&times.labels);
            if !target.is_empty() {
                self.meter.hold(steps.count())?;
                let name = times.labels.name().to_owned();
                infos.entry(target).or_default().entry(name).or_default().push(times);
            }
            Ok(())
        })?;
        Ok(infos)
    }
}

/// Returns the labels that say which target a series is of.
fn identity(labels: &Labels) -> Labels {
    labels.kept(|name| matches!(name, "instance" | "job"))
}

impl Enrichment {
    fn enrich(&self, curve: &Curve, infos: &Infos, add: Sink<'_>) -> Result<(), Error> {
        let none = BTreeMap::new();
        let by_name = infos.get(&identity(&curve.labels)).unwrap_or(&none);
        let is_kept_alone = self.data.iter().all(|matcher| matcher.is_match(""));
        let mut enriched: HashMap<Vec<usize>, Labels> = HashMap::new();
        let mut union = Union::default();
        for (step, value) in curve.values.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
            let mut chosen = Vec::new();
            for series in by_name.values() {
                chosen.push(newest(series, step)?);
            }
            if chosen.iter().all(|at| *at == usize::MAX) && !is_kept_alone {
                continue;
            }
            let labels = match enriched.get(&chosen) {
                Some(labels) => labels.clone(),
                None => {
                    let infos = by_name.values().zip(&chosen).filter_map(|(series, at)| series.get(*at));
                    let labels = self.added(&curve.labels, infos)?;
                    enriched.insert(chosen, labels.clone());
                    labels
                }
            };
            union.put(labels, step, *value, curve.values.len());
        }
        union.finish().into_iter().try_for_each(add)
    }

    /// Returns `labels` with those of `infos` that are wanted, and that it has not itself.
    fn added<'a>(&self, labels: &Labels, infos: impl Iterator<Item = &'a Times>) -> Result<Labels, Error> {
        let mut added: BTreeMap<&str, &str> = BTreeMap::new();
        for info in infos {
            for (name, value) in info.labels.iter() {
                let is_wanted = self.data.is_empty() || self.data.iter().any(|matcher| matcher.name() == name);
                if name == NAME || !is_wanted || labels.get(name).is_some() {
                    continue;
                }
                if added.insert(name, value).is_some_and(|before| before != value) {
                    return Err(Error::argument(format!("conflicting label: {name}")));
                }
            }
        }
        Ok(labels.overlaid(&Labels::new(added)))
    }
}

/// Returns which of the series has the newest sample at `step`; `usize::MAX` if none has any.
fn newest(series: &[Times], step: usize) -> Result<usize, Error> {
    let mut best: Option<(usize, f64)> = None;
    for (at, times) in series.iter().enumerate() {
        let time = times.values[step];
        match best {
            _ if is_absent(time) => {}
            Some((other, newest)) if newest == time => {
                let (a, b) = (&series[other].labels, &times.labels);
                return Err(Error::argument(format!("found duplicate series for info metric: {a} and {b} at {time}")));
            }
            Some((_, newest)) if newest > time => {}
            _ => best = Some((at, time)),
        }
    }
    Ok(best.map_or(usize::MAX, |(at, _)| at))
}
