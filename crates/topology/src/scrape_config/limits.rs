//! What one target may bring: limits that hold unless the file says otherwise.

use crate::walk::{Fields, Walk};

/// Most samples of a page after relabelling.
///
/// Fifty times an ordinary server with its 1,000 series, and half of what it would expose if each of them came a
/// hundredfold. Exporters of a whole cluster, such as kube-state-metrics, say more in their job.
pub const SAMPLE_LIMIT: u64 = 50_000;
/// Most bytes of an unpacked page: 1,300 for each sample that [`SAMPLE_LIMIT`] allows, ten times an ordinary line.
pub const BODY_SIZE_LIMIT: u64 = 64 << 20;
/// Most labels of a series, those of its target among them. Labels copied from Kubernetes may well be 60.
pub const LABEL_LIMIT: u64 = 128;
/// Most bytes of a label's name.
pub const LABEL_NAME_LENGTH_LIMIT: u64 = 512;
/// Most bytes of a label's value: a long path or query fits, a page of text does not.
pub const LABEL_VALUE_LENGTH_LIMIT: u64 = 8 << 10;
/// Most targets of a job: any number, since a secondary is built for thousands and the topology says how many it has.
pub const TARGET_LIMIT: u64 = 0;

/// The keys of limits, for a mapping that may hold them.
pub(crate) const LIMIT_KEYS: [&str; 6] = [
    "sample_limit",
    "body_size_limit",
    "label_limit",
    "label_name_length_limit",
    "label_value_length_limit",
    "target_limit",
];

/// The limits that one mapping of a file says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) samples: Option<u64>,
    pub(crate) body_bytes: Option<u64>,
    pub(crate) labels: Option<u64>,
    pub(crate) label_name_bytes: Option<u64>,
    pub(crate) label_value_bytes: Option<u64>,
    pub(crate) targets: Option<u64>,
}

impl Limits {
    pub(crate) fn read(walk: &mut Walk<'_>, fields: &Fields<'_>) -> Limits {
        Limits {
            samples: fields.count(walk, "sample_limit"),
            body_bytes: fields.size(walk, "body_size_limit"),
            labels: fields.count(walk, "label_limit"),
            label_name_bytes: fields.count(walk, "label_name_length_limit"),
            label_value_bytes: fields.count(walk, "label_value_length_limit"),
            targets: fields.count(walk, "target_limit"),
        }
    }

    /// Returns what holds for a job that says this, where `defaults` are those of the file.
    pub(super) fn over(self, defaults: Limits) -> Settled {
        Settled {
            limits_growth: self.samples.or(defaults.samples).is_none(),
            samples: settle(self.samples, defaults.samples, SAMPLE_LIMIT),
            body_bytes: settle(self.body_bytes, defaults.body_bytes, BODY_SIZE_LIMIT),
            labels: settle(self.labels, defaults.labels, LABEL_LIMIT),
            label_name_bytes: settle(self.label_name_bytes, defaults.label_name_bytes, LABEL_NAME_LENGTH_LIMIT),
            label_value_bytes: settle(self.label_value_bytes, defaults.label_value_bytes, LABEL_VALUE_LENGTH_LIMIT),
            targets: settle(self.targets, defaults.targets, TARGET_LIMIT),
        }
    }
}

/// The limits that hold for a job; 0 for any number.
pub(super) struct Settled {
    /// Whether nobody has said how many samples.
    pub(super) limits_growth: bool,
    pub(super) samples: u64,
    pub(super) body_bytes: u64,
    pub(super) labels: u64,
    pub(super) label_name_bytes: u64,
    pub(super) label_value_bytes: u64,
    pub(super) targets: u64,
}

/// In Prometheus, a job's 0 takes what `global` says, and 0 there is no limit. Only where nothing at all is written
/// does `ours` hold.
fn settle(of_job: Option<u64>, default: Option<u64>, ours: u64) -> u64 {
    match of_job {
        None => default.unwrap_or(ours),
        Some(0) => default.unwrap_or(0),
        Some(limit) => limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_ours_unless_the_file_says_one() {
        let cases = [
            (None, None, 7),
            (None, Some(0), 0),
            (None, Some(5), 5),
            (Some(0), None, 0),
            (Some(0), Some(5), 5),
            (Some(3), None, 3),
            (Some(3), Some(5), 3),
            (Some(3), Some(0), 3),
        ];
        for (of_job, default, expected) in cases {
            assert_eq!(settle(of_job, default, 7), expected, "{of_job:?} over {default:?}");
        }
    }

    #[test]
    fn the_reference_says_the_limits_that_hold() {
        let reference = crate::key_reference();
        let cases = [
            ("sample_limit", SAMPLE_LIMIT.to_string()),
            ("body_size_limit", format!("{}MB", BODY_SIZE_LIMIT >> 20)),
            ("label_limit", LABEL_LIMIT.to_string()),
            ("label_name_length_limit", LABEL_NAME_LENGTH_LIMIT.to_string()),
            ("label_value_length_limit", LABEL_VALUE_LENGTH_LIMIT.to_string()),
        ];
        for (key, limit) in cases {
            assert!(reference.contains(&format!("| `{key}` | supported | `{limit}`")), "{key}");
        }
    }
}
