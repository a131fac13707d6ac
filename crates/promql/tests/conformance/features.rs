//! Which cases need what this release refuses.

use std::collections::HashSet;
use std::sync::LazyLock;

use regex::Regex;

static STRING: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#""(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`"#).unwrap());
static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[a-zA-Z_:][a-zA-Z0-9_:]*").unwrap());
static REFUSED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b(anchored|smoothed|start_timestamp)\b|\bfill(_left|_right)?\s*\(|\b__(type|unit)__\b|\bstart_timestamp\s*\(").unwrap()
});
static UNNAMED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"(?:^|[^\w:\s])\s*\{((?:[^{}"']|"(?:[^"\\]|\\.)*"|'[^']*')*)\}"#).unwrap());
static NAMED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"__name__\s*(=~|=)\s*["']([^"']*)["']"#).unwrap());
static QUOTED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"^\s*"([^"]*)"\s*(,|$)"#).unwrap());
static BRACKETS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\[([^\[\]]*)\]").unwrap());
static OFFSET: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\boffset\s+(-?\s*[^\s\])},]*)").unwrap());
static PLAIN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(-?\s*)((\d+(ms|[smhdwy]))+|[\d.]+([eE][+-]?\d+)?|0[xX][0-9a-fA-F]+)?$").unwrap());

use crate::script::{Case, Load, Point};

/// What is known of a section of a script.
pub(crate) struct Features {
    is_left_out: bool,
    /// Names of native histograms.
    histograms: HashSet<String>,
}

impl Features {
    /// Some scripts are about nothing else.
    pub(crate) fn of_script(stem: &str) -> Features {
        let is_left_out = stem.starts_with("name_label_dropping") || stem.starts_with("type_and_unit");
        Features { is_left_out, histograms: HashSet::new() }
    }

    /// Learns the names of the native histograms that are loaded.
    pub(crate) fn learn(&mut self, load: &Load) {
        self.is_left_out |= load.has_start_times;
        for (labels, points) in &load.series {
            let name = labels.name();
            if points.contains(&Point::Histogram) {
                self.histograms.insert(name.into());
            }
            let base = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
            self.histograms.extend(base.filter(|_| load.has_custom_buckets).map(str::to_owned));
        }
    }

    /// Tells whether `case` needs native histograms, start timestamps, `anchored` and `smoothed`, arithmetic on
    /// durations, `fill`, type and unit labels, or names that are dropped at the very end.
    pub(crate) fn are_needed_by(&self, case: &Case) -> bool {
        let bare = STRING.replace_all(&case.query, "\"\"");
        self.is_left_out
            || case.series.iter().any(|(_, points)| points.contains(&Point::Histogram))
            || WORD.find_iter(&bare).any(|word| self.histograms.contains(word.as_str()))
            || self.selects_histograms(&case.query)
            || REFUSED.is_match(&bare)
            || has_duration_expression(&bare)
    }

    /// Tells whether a selector without a name in front may select a native histogram.
    fn selects_histograms(&self, query: &str) -> bool {
        let may_select = |body: &str| match (NAMED.captures(body), QUOTED.captures(body)) {
            (Some(found), _) if &found[1] == "=" => self.histograms.contains(&found[2]),
            (Some(found), _) => {
                let pattern = Regex::new(&format!("^(?:{})$", found[2].replace("\\\\", "\\"))).unwrap();
                self.histograms.iter().any(|name| pattern.is_match(name))
            }
            (None, Some(found)) => self.histograms.contains(&found[1]),
            (None, None) => true,
        };
        !self.histograms.is_empty() && UNNAMED.captures_iter(query).any(|found| may_select(&found[1]))
    }
}

fn has_duration_expression(bare: &str) -> bool {
    let is_plain = |text: &str| PLAIN.is_match(text.trim());
    BRACKETS.captures_iter(bare).any(|found| !found[1].split(':').all(is_plain))
        || OFFSET.captures_iter(bare).any(|found| !is_plain(&found[1]))
}
