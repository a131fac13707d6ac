//! Windows of rows as a datacenter's would be.

use std::time::Duration;

use firetower_model::labels::NAME;
use firetower_model::{
    Coverage, Cross, Epoch, KeptVersion, Labels, Revision, RowId, Timestamp, Watermark, Window, WindowRows,
};

/// Returns the keys of the rows.
pub(crate) fn row_keys(rows: usize) -> Vec<Labels> {
    let key = |at: usize| {
        let (name, mode) = (format!("node_metric_{}_total", at / 4), format!("mode-{}", at % 4));
        Labels::new([(NAME, name.as_str()), ("job", "node"), ("mode", mode.as_str())])
    };
    (0..rows).map(key).collect()
}

/// Returns a window whose sums nothing can compress, with row ids from 0 on.
pub(crate) fn window_rows(start: Timestamp, length: Duration, revision: u64, rows: usize) -> WindowRows {
    let window = Window::containing(start, length);
    let mut state = window.start().as_millis() as u64 | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 12) as f64
    };
    let row = |id: usize| {
        let sum = random();
        (RowId(id as u32), Cross { series: 5_000, sum, min: 0.0, max: 1.0, ..Cross::EMPTY })
    };
    WindowRows {
        datacenter: "dub".into(),
        window,
        revision: Revision(revision),
        epoch: Epoch(0),
        coverage: Coverage::new(5_000, 5_000, 0),
        slots: None,
        watermark: Watermark { newest: window.end(), complete_through: window.end() },
        rows: (0..rows).map(row).collect(),
        durations: Vec::new(),
        kept: KeptVersion::default(),
    }
}
