//! Why a page is refused for its labels.

/// How many bytes of a name or value a message shows.
const SHOWN_BYTES: usize = 50;

/// A series of a page has too many labels, or one too long; nothing of the page is taken.
///
/// Source: Prometheus 3 `scrape/scrape.go`, `verifyLabelLimits`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelLimit {
    /// Too many labels, `__name__` counted.
    #[error("label_limit of {limit} is exceeded by metric {metric:?} with {found} labels")]
    Count {
        /// How many are allowed.
        limit: usize,
        /// Name of the metric.
        metric: String,
        /// How many it has.
        found: usize,
    },
    /// A label's name is too long.
    #[error("label_name_length_limit of {limit} is exceeded by metric {metric:?}: label {label:?} has {found} bytes")]
    NameLength {
        /// How many bytes are allowed.
        limit: usize,
        /// Name of the metric.
        metric: String,
        /// Name of the label.
        label: String,
        /// How many bytes that has.
        found: usize,
    },
    /// A label's value is too long.
    #[error(
        "label_value_length_limit of {limit} is exceeded by metric {metric:?}: label {label:?} has {found} bytes, \
         beginning with {value:?}"
    )]
    ValueLength {
        /// How many bytes are allowed.
        limit: usize,
        /// Name of the metric.
        metric: String,
        /// Name of the label.
        label: String,
        /// How its value begins.
        value: String,
        /// How many bytes that has.
        found: usize,
    },
}

impl LabelLimit {
    /// Returns as much of a name or value as a message shows.
    pub fn shown(text: &str) -> String {
        let whole = |at: &usize| text.is_char_boundary(*at);
        let end = (0..=SHOWN_BYTES.min(text.len())).rev().find(whole).unwrap_or(0);
        text[..end].to_owned()
    }
}
