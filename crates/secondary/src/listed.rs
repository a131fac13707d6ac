//! Which series the store has, for lists.

use std::collections::HashMap;
use std::sync::Arc;

use firetower_model::{Answered, Kind, Labels, Listing, Matcher, TimeRange};
use firetower_query::{Entry, Error, Lister, visit_entries};
use firetower_store::Store;

/// The series of a store.
pub(crate) struct Listed(pub(crate) Arc<Store>);

impl Lister for Listed {
    fn list(
        &self,
        what: &Listing,
        selected: &[Vec<Matcher>],
        range: TimeRange,
        visit: &mut dyn FnMut(Entry<'_>),
    ) -> Result<Option<Answered>, Error> {
        let mut visit = |labels: &Labels| visit_entries(what, labels, visit);
        match (what, selected) {
            // Metrics and targets together have all names and values, and are far fewer than series.
            (Listing::Names | Listing::Values(_), []) => self.0.visit_label_sets(range, &mut visit),
            (Listing::Series, []) => self.0.visit_series(&[], range, &mut visit),
            _ => selected.iter().for_each(|matchers| self.0.visit_series(matchers, range, &mut visit)),
        }
        Ok(None)
    }

    fn kinds(&self) -> Result<(HashMap<String, Kind>, Option<Answered>), Error> {
        Ok((self.0.kinds(), None))
    }
}
