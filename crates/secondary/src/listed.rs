//! Which series the store has, for the API's lists.

use std::sync::Arc;

use firetower_api::Listed;
use firetower_store::Store;

/// Returns what lists the series of `store`.
pub(crate) fn listed(store: &Arc<Store>) -> Listed {
    let [of_series, of_sets, of_kinds] = [(); 3].map(|()| Arc::clone(store));
    Listed {
        series: Arc::new(move |matchers, range, visit| of_series.visit_series(matchers, range, visit)),
        label_sets: Arc::new(move |range, visit| of_sets.visit_label_sets(range, visit)),
        kinds: Arc::new(move || of_kinds.kinds()),
    }
}
