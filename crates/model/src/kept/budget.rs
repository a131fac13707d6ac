//! How many rows may go up.

use std::collections::BTreeMap;

use crate::kept::KeptLabels;
use crate::labels::NAME;

/// Labels that never count as kept ones: the first is its own part of a row's key, `instance` is kept by promotion
/// alone, the others name the place.
pub const PLACE: [&str; 5] = [NAME, "job", "instance", "region", "datacenter"];

/// The label of the row that takes what is over the budget of rows; its value is `true`.
pub const OVERFLOW: &str = "__overflow__";

/// How much may go up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// A label is kept while it has at most so many values per (name, job), ever.
    pub label_values_max: usize,
    /// Past so many rows of a job, one overflow row per name takes the rest.
    pub job_rows_max: usize,
    /// Names whose rows keep `instance`.
    pub promoted: Vec<String>,
}

/// What a monitor says of its rows: which labels they lack, and how much of the budget they take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptReport {
    /// The decision as far as it is known here.
    pub labels: KeptLabels,
    /// What it is decided by.
    pub budget: Budget,
    /// How many keys of rows each job has, those with dropped labels left out.
    pub rows_by_job: BTreeMap<String, u64>,
    /// How many overflow rows there are.
    pub overflow_rows: u64,
    /// Rows of children that had to be put under another key, because the child did not know the decision yet.
    pub projected_rows: u64,
}

impl KeptReport {
    /// Nothing dropped, nothing sent yet.
    pub fn new(budget: Budget) -> KeptReport {
        let (labels, rows_by_job) = (KeptLabels::default(), BTreeMap::new());
        KeptReport { labels, budget, rows_by_job, overflow_rows: 0, projected_rows: 0 }
    }
}
