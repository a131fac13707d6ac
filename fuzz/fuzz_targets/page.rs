//! Two pages of one target, one after the other: what is known of the first must not change how the second reads.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use firetower_model::{Kind, Labels, MetricId, ShapeId, is_stale};
use firetower_scrape::exposition::{Format, check, parse};
use firetower_scrape::{LEADING, LabelLimit, Line, PageReader, PageShapes, ReadOptions, Resolve, TargetPage};
use libfuzzer_sys::fuzz_target;

#[derive(Default)]
struct Ids {
    metrics: BTreeMap<String, MetricId>,
    shapes: Vec<Vec<MetricId>>,
}

impl Resolve for Ids {
    fn relabel(&mut self, line: &Line<'_>) -> Result<Option<Labels>, LabelLimit> {
        Ok(Some(Labels::new(line.labels.iter().map(|(name, value)| (name, value)))))
    }

    fn metric(&mut self, labels: &Labels, _: Kind) -> Option<MetricId> {
        let next = MetricId(self.metrics.len() as u32);
        Some(*self.metrics.entry(labels.to_string()).or_insert(next))
    }

    fn shape(&mut self, metrics: &[MetricId]) -> Option<(ShapeId, Arc<[MetricId]>)> {
        let whole = (0..LEADING).map(|_| MetricId(u32::MAX)).chain(metrics.iter().copied()).collect();
        self.shapes.push(metrics.to_vec());
        Some((ShapeId(self.shapes.len() as u32 - 1), whole))
    }

    fn sharing_key(&self) -> Option<u64> {
        None
    }
}

/// Reads a page, and returns its values by their series; `None` if it is refused.
fn read(target: &mut TargetPage, ids: &mut Ids, page: &[u8], format: Format) -> Option<BTreeMap<String, u64>> {
    let options = ReadOptions { format, ..ReadOptions::default() };
    let (mut row, mut timed) = (vec![0.0; LEADING], Vec::new());
    let mut reader = PageReader::default();
    let read = reader.read(target, &PageShapes::default(), page, options, ids, &mut row, &mut timed);
    let (shape, _) = read.ok()?;
    let names: BTreeMap<MetricId, &String> = ids.metrics.iter().map(|(name, id)| (*id, name)).collect();
    let columns = ids.shapes[shape.0 as usize].iter().zip(&row[LEADING..]);
    let there = columns.filter(|(_, value)| !is_stale(**value));
    Some(there.map(|(metric, value)| (names[metric].clone(), value.to_bits())).collect())
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let format = if first & 1 == 0 { Format::Text } else { Format::OpenMetrics };
    let cut = rest.iter().position(|byte| *byte == 0xff).unwrap_or(0);
    let (before, page) = rest.split_at(cut);
    let page = page.strip_prefix(&[0xff]).unwrap_or(page);
    let _ = check(page, format);
    let (mut target, mut ids) = (TargetPage::default(), Ids::default());
    read(&mut target, &mut ids, before, format);
    let after = read(&mut target, &mut ids, page, format);
    let alone = read(&mut TargetPage::default(), &mut Ids::default(), page, format);
    assert_eq!(after, alone, "the page before changed how this one reads");
    assert_eq!(parse(page, format).is_ok(), alone.is_some(), "both walks refuse the same pages");
});
