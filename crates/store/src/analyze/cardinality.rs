//! Series by metric, label and target.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use firetower_model::labels::NAME;
use firetower_model::{Labels, MetricId, TargetId};
use roaring::RoaringBitmap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::database::Store;
use crate::raw::index::Index;
use crate::raw::key::Bucket;

/// How many metrics are looked at before writers of new names get their turn.
const TURN_METRICS: u32 = 1024;

/// A label's name, and what carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelCount {
    /// The name.
    pub name: String,
    /// How many values it has.
    pub values: u64,
    /// How many series carry it.
    pub series: u64,
    /// Bytes of its values in the index, each metric's and each target's once.
    pub bytes: u64,
}

/// A label, and how many series carry it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairCount {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// How many series.
    pub series: u64,
}

/// A target, and how many series it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetCount {
    /// The target's labels.
    pub labels: Labels,
    /// How many series.
    pub series: u64,
}

/// Who has how many series; a series is a pair of target and metric that may have samples or spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cardinality {
    /// Names with labels, each counted once whatever number of targets has it.
    pub metrics: u64,
    /// Targets.
    pub targets: u64,
    /// Kinds of pages.
    pub shapes: u64,
    /// Series.
    pub series: u64,
    /// Distinct labels.
    pub pairs: u64,
    /// The names of metrics with most series.
    pub names: Vec<PairCount>,
    /// The names of labels with most values.
    pub labels: Vec<LabelCount>,
    /// The labels that most series carry.
    pub label_pairs: Vec<PairCount>,
    /// The targets with most series.
    pub by_target: Vec<TargetCount>,
}

/// What is counted on the way, by hash: texts are looked up for the few that are shown.
#[derive(Default)]
struct Counts {
    /// Series by target.
    targets: Vec<u64>,
    /// Number of its name, and series.
    pairs: HashMap<u64, (u32, u64)>,
    names: BTreeMap<String, u32>,
    /// Series and bytes by number of the name.
    by_name: Vec<(u64, u64)>,
    series: u64,
}

impl Store {
    /// Says who has how many series, the `limit` largest of each kind.
    ///
    /// Takes a while where there are millions of metrics; writers are let through in between.
    pub fn cardinality(&self, limit: usize) -> Cardinality {
        let mut counts = Counts::default();
        let mut next = 0;
        loop {
            let index = self.raw.names.read();
            let known = index.counts().0 as u32;
            let end = known.min(next + TURN_METRICS);
            let metrics: Vec<u32> = (next..end).collect();
            let targets = index.targets_of(&metrics, Bucket::MIN, Bucket::MAX);
            for (metric, targets) in metrics.iter().zip(&targets) {
                counts.add_metric(&index, MetricId(*metric), targets);
            }
            next = end;
            if next == known {
                break;
            }
        }
        let index = self.raw.names.read();
        let counted = counts.targets.iter().enumerate().filter(|(_, series)| **series > 0);
        let targets: Vec<(u32, u64)> = counted.map(|(target, series)| (target as u32, *series)).collect();
        for (target, series) in &targets {
            if let Some(labels) = index.target(TargetId(*target)) {
                counts.add_labels(&labels, *series);
            }
        }
        counts.finish(&index, targets, limit)
    }
}

impl Counts {
    fn add_metric(&mut self, index: &Index, metric: MetricId, targets: &RoaringBitmap) {
        let Some((labels, _)) = index.metric(metric) else { return };
        let ids = targets.max().map_or(0, |last| last as usize + 1);
        self.targets.resize(self.targets.len().max(ids), 0);
        for target in targets {
            self.targets[target as usize] += 1;
        }
        self.series += targets.len();
        self.add_labels(&labels, targets.len());
    }

    fn add_labels(&mut self, labels: &Labels, series: u64) {
        if series == 0 {
            return;
        }
        for (name, value) in labels {
            let number = match self.names.get(name) {
                Some(number) => *number,
                None => {
                    self.names.insert(name.to_owned(), self.by_name.len() as u32);
                    self.by_name.push((0, 0));
                    self.by_name.len() as u32 - 1
                }
            };
            let of_name = &mut self.by_name[number as usize];
            of_name.0 += series;
            of_name.1 += value.len() as u64;
            self.pairs.entry(pair_hash(name, value)).or_insert((number, 0)).1 += series;
        }
    }

    fn finish(self, index: &Index, targets: Vec<(u32, u64)>, limit: usize) -> Cardinality {
        let (metrics, _, shapes) = index.counts();
        let mut values = vec![0u64; self.by_name.len()];
        self.pairs.values().for_each(|(name, _)| values[*name as usize] += 1);
        let by_name = self.names.iter().map(|(name, number)| (name, *number as usize));
        let labels = by_name.map(|(name, at)| {
            let (series, bytes) = self.by_name[at];
            LabelCount { name: name.clone(), values: values[at], series, bytes }
        });
        let name_number = self.names.get(NAME).copied();
        let is_name = |pair: &&(u64, (u32, u64))| Some(pair.1.0) == name_number;
        let pairs: Vec<(u64, (u32, u64))> = self.pairs.iter().map(|(hash, count)| (*hash, *count)).collect();
        let names = largest(pairs.iter().filter(is_name).map(|(hash, (_, series))| (*hash, *series)), limit);
        let others = largest(pairs.iter().map(|(hash, (_, series))| (*hash, *series)), limit);
        let texts = texts(index, names.iter().chain(&others).map(|(hash, _)| *hash));
        let counted = |found: Vec<(u64, u64)>| {
            let pair = |(hash, series)| {
                let (name, value) = texts.get(&hash)?.clone();
                Some(PairCount { name, value, series })
            };
            let mut pairs: Vec<PairCount> = found.into_iter().filter_map(pair).collect();
            pairs.sort_by(|a, b| b.series.cmp(&a.series).then_with(|| (&a.name, &a.value).cmp(&(&b.name, &b.value))));
            pairs
        };
        let mut labels: Vec<LabelCount> = labels.collect();
        labels.sort_by(|a, b| b.values.cmp(&a.values).then_with(|| a.name.cmp(&b.name)));
        labels.truncate(limit);
        let by_target = largest(targets.iter().copied(), limit).into_iter();
        let by_target = by_target
            .filter_map(|(target, series)| Some(TargetCount { labels: index.target(TargetId(target))?, series }));
        Cardinality {
            metrics: metrics as u64,
            targets: targets.len() as u64,
            shapes: shapes as u64,
            series: self.series,
            pairs: pairs.len() as u64,
            names: counted(names),
            label_pairs: counted(others),
            labels,
            by_target: by_target.collect(),
        }
    }
}

/// Returns the `limit` largest, the largest first.
fn largest<K: Copy + Ord + Hash>(counted: impl Iterator<Item = (K, u64)>, limit: usize) -> Vec<(K, u64)> {
    let mut all: Vec<(K, u64)> = counted.collect();
    all.sort_unstable_by_key(|(key, count)| (std::cmp::Reverse(*count), *key));
    all.truncate(limit);
    all
}

/// Returns the labels whose hashes are `wanted`.
fn texts(index: &Index, wanted: impl Iterator<Item = u64>) -> HashMap<u64, (String, String)> {
    let mut missing: std::collections::HashSet<u64> = wanted.collect();
    let mut found = HashMap::new();
    let (metrics, targets, _) = index.counts();
    let metrics = (0..metrics as u32).filter_map(|id| Some(index.metric(MetricId(id))?.0));
    for labels in metrics.chain((0..targets as u32).filter_map(|id| index.target(TargetId(id)))) {
        if missing.is_empty() {
            break;
        }
        for (name, value) in &labels {
            let hash = pair_hash(name, value);
            if missing.remove(&hash) {
                found.insert(hash, (name.to_owned(), value.to_owned()));
            }
        }
    }
    found
}

fn pair_hash(name: &str, value: &str) -> u64 {
    xxh3_64_with_seed(value.as_bytes(), xxh3_64(name.as_bytes()))
}
