//! Pages: how fast they are scanned, recognised, and their values read.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Result, ensure};
use firetower_benches::Page;
use firetower_model::{Kind, Labels, MetricId, ShapeId};
use firetower_scrape::{LEADING, LabelLimit, Line, PageReader, PageShapes, ReadOptions, Resolve, TargetPage};

use crate::{Arguments, Stage, best_of, gigabytes};

const RUNS: usize = 5;

/// Gives ids as a role does, for targets that are all alike.
#[derive(Default)]
struct Ids {
    metrics: HashMap<Labels, MetricId>,
    shapes: HashMap<Arc<[MetricId]>, ShapeId>,
}

impl Resolve for Ids {
    fn relabel(&mut self, line: &Line<'_>) -> Result<Option<Labels>, LabelLimit> {
        Ok(Some(Labels::new(line.labels.iter().map(|(name, value)| (&**name, &**value)))))
    }

    fn metric(&mut self, labels: &Labels, _kind: Kind) -> Option<MetricId> {
        let next = MetricId((LEADING + self.metrics.len()) as u32);
        Some(*self.metrics.entry(labels.clone()).or_insert(next))
    }

    fn shape(&mut self, metrics: &[MetricId]) -> Option<(ShapeId, Arc<[MetricId]>)> {
        let leading = (0..LEADING as u32).map(MetricId);
        let whole: Arc<[MetricId]> = leading.chain(metrics.iter().copied()).collect();
        let next = ShapeId(self.shapes.len() as u32);
        Some((*self.shapes.entry(Arc::clone(&whole)).or_insert(next), whole))
    }

    fn sharing_key(&self) -> Option<u64> {
        Some(1)
    }
}

/// A reader that knows the targets' pages.
struct Known {
    reader: PageReader,
    shapes: PageShapes,
    ids: Ids,
    targets: Vec<TargetPage>,
    row: Vec<f64>,
}

impl Known {
    fn read_all(&mut self, pages: &[Vec<u8>]) -> Result<()> {
        for (target, page) in self.targets.iter_mut().zip(pages) {
            // The row of the page before is what values are compared with, as a role has it.
            self.row.clear();
            let (ids, options) = (&mut self.ids, ReadOptions::default());
            self.reader.read(target, &self.shapes, page, options, ids, &mut self.row, &mut Vec::new())?;
        }
        black_box(&self.row);
        Ok(())
    }
}

/// Measures scan, recognition and values.
pub(crate) fn measure(arguments: &Arguments, bandwidth: f64) -> Result<Vec<Stage>> {
    let pages = |page: &Page, scrape: u64| -> Vec<Vec<u8>> {
        let render = |target| {
            let mut text = Vec::new();
            page.render(target, scrape, &mut text);
            text
        };
        (0..arguments.targets).map(render).collect()
    };
    let page = Page::new(1, arguments.series).with_decimals();
    let texts = pages(&page, 0);
    let bytes = texts.iter().map(Vec::len).sum::<usize>() as f64;
    let lines = (arguments.targets * arguments.series) as f64;
    let scan = || {
        let count: usize = texts.iter().map(|text| memchr::memchr_iter(b'\n', text).count()).sum();
        black_box(count);
    };
    let scan = best_of(RUNS, scan).unwrap_or(f64::NAN);

    let targets = (0..arguments.targets).map(|_| TargetPage::default()).collect();
    let mut known = Known {
        reader: PageReader::default(),
        shapes: PageShapes::default(),
        ids: Ids::default(),
        targets,
        row: Vec::new(),
    };
    let first = best_of(1, || _ = known.read_all(&texts)).unwrap_or(f64::NAN);
    known.read_all(&texts)?;
    ensure!(!known.row.is_empty(), "pages give rows");
    let recognise = best_of(RUNS, || _ = known.read_all(&texts)).unwrap_or(f64::NAN);
    let next = pages(&page, 1);
    let mut is_next = false;
    let follow = || {
        is_next = !is_next;
        _ = known.read_all(if is_next { &next } else { &texts });
    };
    let follow = best_of(2 * RUNS, follow).unwrap_or(f64::NAN);

    let values: Vec<&[u8]> = texts
        .iter()
        .flat_map(|text| text.split(|byte| *byte == b'\n'))
        .filter(|line| line.first().is_some_and(|first| *first != b'#'))
        .filter_map(|line| line.rsplit(|byte| *byte == b' ').next())
        .collect();
    let parse = || {
        let sum: f64 = values.iter().filter_map(|value| std::str::from_utf8(value).ok()?.parse::<f64>().ok()).sum();
        black_box(sum);
    };
    let parse = best_of(RUNS, parse).unwrap_or(f64::NAN);
    let per_line = |seconds: f64| format!("{:.1} ns a line", seconds / lines * 1e9);
    Ok(vec![
        Stage::new(
            "page scan, memchr to each line's end",
            format!("{}, {}", gigabytes(bytes, scan), per_line(scan)),
            format!("memory: {}, {}", gigabytes(bandwidth, 1.0), per_line(bytes / bandwidth)),
        ),
        Stage::new(
            "known page, shown again",
            format!("{}, {}", gigabytes(bytes, recognise), per_line(recognise)),
            format!("scan: {}", per_line(scan)),
        ),
        Stage::new(
            "known page, its next scrape",
            format!("{}, {}", gigabytes(bytes, follow), per_line(follow)),
            format!("scan: {}", per_line(scan)),
        ),
        Stage::new(
            "first sight of a page like others",
            per_line(first),
            format!("scan and parse: {}", per_line(scan + parse)),
        ),
        Stage::new("value parse, by the standard library", per_line(parse), "every value parsed, none compared".into()),
    ])
}
