//! One datacenter's rows from those of its secondaries.

use std::collections::BTreeMap;

use firetower_model::{
    Coverage, Cross, Epoch, JobDurations, KeptVersion, Revision, RowId, Timestamp, Watermark, Window, WindowRows,
};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};

/// Merges what the children, in order of their names, have of `window`; `expected` slots were to be scraped, by what is known here.
///
/// A row goes to the one that `output` names: a child may have chosen its key by an earlier decision about labels. The
/// revision is the sum of theirs, so that two primaries that have heard the same say the same.
///
/// # Errors
/// If `output` fails.
pub(crate) fn merge<E>(
    datacenter: &str,
    window: Window,
    expected: u64,
    children: &[(String, WindowRows)],
    mut output: impl FnMut(RowId) -> Result<RowId, E>,
) -> Result<WindowRows, E> {
    let mut rows: BTreeMap<RowId, Cross> = BTreeMap::new();
    let (mut revision, mut reported, mut late) = (0, 0, 0);
    let mut watermark = Watermark { newest: Timestamp::MIN, complete_through: Timestamp::MAX };
    for (_, child) in children {
        revision += child.revision.0;
        reported += child.coverage.reported;
        late += child.coverage.late;
        watermark.newest = watermark.newest.max(child.watermark.newest);
        watermark.complete_through = watermark.complete_through.min(child.watermark.complete_through);
        for (id, cross) in &child.rows {
            rows.entry(output(*id)?).or_insert(Cross::EMPTY).merge(cross);
        }
    }
    // Who reads a list late expects the old one's slots until then: what was scraped was to be.
    let expected = expected.max(reported);
    let complete_through = watermark.complete_through.min(window.end());
    Ok(WindowRows {
        datacenter: datacenter.to_owned(),
        window,
        revision: Revision(revision),
        epoch: Epoch(0),
        coverage: Coverage::new(expected, reported, late.min(reported)),
        slots: None,
        watermark: Watermark { complete_through, ..watermark },
        rows: rows.into_iter().collect(),
        durations: merge_durations(children),
        kept: KeptVersion::default(),
    })
}

/// Merges histograms of the same job; one that does not read back is left out and said.
fn merge_durations(children: &[(String, WindowRows)]) -> Vec<JobDurations> {
    let mut merged: BTreeMap<&str, Histogram<u64>> = BTreeMap::new();
    let mut deserializer = Deserializer::new();
    for (child, rows) in children {
        for durations in &rows.durations {
            let read: Option<Histogram<u64>> = deserializer.deserialize(&mut &durations.histogram[..]).ok();
            let Some(read) = read else {
                tracing::warn!(
                    child,
                    job = durations.job,
                    "histogram of scrape durations left out: it does not read back"
                );
                continue;
            };
            match merged.get_mut(durations.job.as_str()) {
                None => drop(merged.insert(&durations.job, read)),
                Some(histogram) => {
                    if histogram.add(&read).is_err() {
                        tracing::warn!(
                            child,
                            job = durations.job,
                            "histogram of scrape durations left out: other bounds"
                        );
                    }
                }
            }
        }
    }
    let serialize = |(job, histogram): (&str, Histogram<u64>)| {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&histogram, &mut bytes).expect("a vector takes everything");
        JobDurations { job: job.to_owned(), histogram: bytes }
    };
    merged.into_iter().map(serialize).collect()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use super::*;

    fn as_it_is(id: RowId) -> Result<RowId, Infallible> {
        Ok(id)
    }

    fn child(name: &str, revision: u64, reported: u64, rows: &[(u32, f64)]) -> (String, WindowRows) {
        let window = Window::containing(Timestamp::from_millis(0), Duration::from_secs(15));
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000, 2).unwrap();
        histogram.record_n(1_000 * revision, reported).unwrap();
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&histogram, &mut bytes).unwrap();
        let cross = |sum: f64| Cross { series: 1, sum, min: sum, max: sum, ..Cross::EMPTY };
        let rows = WindowRows {
            datacenter: "dub".into(),
            window,
            revision: Revision(revision),
            epoch: Epoch(0),
            coverage: Coverage::new(10, reported, 1),
            slots: None,
            watermark: Watermark { newest: Timestamp::from_millis(9), complete_through: window.end() },
            rows: rows.iter().map(|(id, sum)| (RowId(*id), cross(*sum))).collect(),
            durations: vec![JobDurations { job: "node".into(), histogram: bytes }],
            kept: KeptVersion::default(),
        };
        (name.into(), rows)
    }

    #[test]
    fn rows_merge_and_coverage_is_measured_against_what_was_expected() {
        let children = [child("s0", 1, 10, &[(1, 2.0), (4, 5.0)]), child("s1", 2, 8, &[(4, 6.0), (9, 1.0)])];
        let Ok(merged) = merge("dub", children[0].1.window, 20, &children, as_it_is);
        assert_eq!(merged.revision, Revision(3));
        assert_eq!(merged.coverage, Coverage { expected: 20, reported: 18, late: 2, lost: 2 });
        let Ok(behind) = merge("dub", children[0].1.window, 4, &children, as_it_is);
        assert_eq!(behind.coverage, Coverage { expected: 18, reported: 18, late: 2, lost: 0 }, "its list is behind");
        let four = merged.rows.iter().find(|(id, _)| id.0 == 4).unwrap().1;
        assert_eq!((merged.rows.len(), four.series, four.sum, four.min, four.max), (3, 2, 11.0, 5.0, 6.0));
        let durations: Histogram<u64> =
            Deserializer::new().deserialize(&mut &merged.durations[0].histogram[..]).unwrap();
        assert_eq!((durations.len(), merged.durations.len()), (18, 1));
    }

    #[test]
    fn rows_under_different_decisions_merge_under_one_key() {
        let children = [child("s0", 1, 10, &[(1, 2.0), (2, 5.0)]), child("s1", 1, 10, &[(3, 6.0)])];
        let output = |_| Ok::<_, Infallible>(RowId(3));
        let Ok(merged) = merge("dub", children[0].1.window, 20, &children, output);
        assert_eq!((merged.rows.len(), merged.rows[0].1.series, merged.rows[0].1.sum), (1, 3, 13.0));
    }

    #[test]
    fn nothing_heard_is_all_lost() {
        let window = Window::containing(Timestamp::from_millis(0), Duration::from_secs(15));
        let Ok(merged) = merge("dub", window, 7, &[], as_it_is);
        assert_eq!((merged.coverage.lost, merged.revision.0, merged.rows.len()), (7, 0, 0));
    }
}
