//! `absent` and `absent_over_time`.

use std::collections::BTreeMap;

use firetower_model::labels::NAME;
use firetower_model::{Column as Numbers, Labels, Matcher};

use crate::aggregate::{Grouping, Members, Operation};
use crate::curve::{ABSENT, Curve, is_absent};
use crate::error::Error;
use crate::evaluate::{Evaluation, Sink};
use crate::part::Coming;
use crate::plan::Vector;
use crate::steps::Steps;

/// Returns the labels that the absent series would have: those that must equal one value, and nothing else is asked of.
pub(crate) fn labels_of(matchers: &[Matcher]) -> Labels {
    let mut values: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for matcher in matchers.iter().filter(|matcher| matcher.name() != NAME) {
        let value = if values.contains_key(matcher.name()) { None } else { matcher.equal_value() };
        values.insert(matcher.name(), value);
    }
    Labels::new(values.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?))))
}

impl Evaluation<'_> {
    /// Hands on 1 with `labels` wherever no series of `of` has a value.
    pub(crate) fn absent(&self, labels: &Labels, of: &Vector, steps: Steps, sink: Sink<'_>) -> Result<(), Error> {
        let mut values = vec![1.0; steps.count()];
        // Whether there is any is all that those below need to say.
        let members = Members { operation: &Operation::Group, grouping: &Grouping::none(), of, steps };
        self.members(&members, &mut |coming| {
            let (Coming::Curve(Curve { values: found, .. }) | Coming::Group(Numbers { values: found, .. })) = coming;
            let present = values.iter_mut().zip(found).filter(|(_, value)| !is_absent(*value));
            present.for_each(|(absent, _)| *absent = ABSENT);
            Ok(())
        })?;
        let curve = Curve { labels: labels.clone(), values };
        if curve.is_empty() { Ok(()) } else { sink(curve) }
    }
}
