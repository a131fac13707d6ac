//! How many labels a series may have, and how long they may be.

use firetower_model::Labels;
use firetower_model::labels::NAME;
use firetower_scrape::LabelLimit;
use firetower_topology::ScrapeConfig;

/// The limits of a job on the final labels of its series; `usize::MAX` for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LabelLimits {
    count: usize,
    name_bytes: usize,
    value_bytes: usize,
}

impl LabelLimits {
    /// Takes the limits of a job.
    pub(crate) fn of(config: &ScrapeConfig) -> LabelLimits {
        let limit = |limit: u64| if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
        LabelLimits {
            count: limit(config.label_limit),
            name_bytes: limit(config.label_name_length_limit),
            value_bytes: limit(config.label_value_length_limit),
        }
    }

    /// Tells whether no label of `labels` is too long.
    pub(crate) fn allow(&self, labels: &Labels) -> bool {
        labels.iter().all(|(name, value)| name.len() <= self.name_bytes && value.len() <= self.value_bytes)
    }

    /// Checks the final labels of a series: those of its target with its metric's laid over them.
    ///
    /// # Errors
    /// The first limit that is exceeded.
    pub(crate) fn check(&self, target: &Labels, metric: &Labels) -> Result<(), LabelLimit> {
        if *self == LabelLimits::NONE {
            return Ok(());
        }
        let labels = target.overlaid(metric);
        let shown = || LabelLimit::shown(labels.get(NAME).unwrap_or(""));
        let found = labels.iter().count();
        if found > self.count {
            return Err(LabelLimit::Count { limit: self.count, metric: shown(), found });
        }
        for (name, value) in &labels {
            if name.len() > self.name_bytes {
                let (limit, found) = (self.name_bytes, name.len());
                return Err(LabelLimit::NameLength { limit, metric: shown(), label: LabelLimit::shown(name), found });
            }
            if value.len() > self.value_bytes {
                let (limit, label, found) = (self.value_bytes, LabelLimit::shown(name), value.len());
                let value = LabelLimit::shown(value);
                return Err(LabelLimit::ValueLength { limit, metric: shown(), label, value, found });
            }
        }
        Ok(())
    }

    const NONE: LabelLimits = LabelLimits { count: usize::MAX, name_bytes: usize::MAX, value_bytes: usize::MAX };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_labels_are_what_counts() {
        let limits = LabelLimits { count: 3, name_bytes: 8, value_bytes: 4 };
        let target = Labels::new([("job", "node"), ("zone", "dub")]);
        let check = |metric: &[(&str, &str)], expected: &str| {
            let metric = Labels::new(metric.iter().copied());
            let found = limits.check(&target, &metric).map_or_else(|error| error.to_string(), |()| "fine".into());
            assert_eq!(found, expected);
            assert_eq!(LabelLimits::NONE.check(&target, &metric), Ok(()));
        };
        check(&[(NAME, "up")], "fine");
        check(&[(NAME, "up"), ("cpu", "0"), ("zone", "")], "fine");
        check(&[(NAME, "up"), ("cpu", "0")], r#"label_limit of 3 is exceeded by metric "up" with 4 labels"#);
        check(
            &[(NAME, "up"), ("datacenter", "dub"), ("zone", "")],
            r#"label_name_length_limit of 8 is exceeded by metric "up": label "datacenter" has 10 bytes"#,
        );
        let long = "ü".repeat(40);
        check(
            &[(NAME, "up"), ("job", &long)],
            &format!(
                "label_value_length_limit of 4 is exceeded by metric \"up\": label \"job\" has 80 bytes, beginning with {:?}",
                "ü".repeat(25)
            ),
        );
    }
}
