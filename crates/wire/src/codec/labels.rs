//! Label sets as flat lists of names and values.

use firetower_model::Labels;

use crate::error::Error;
use crate::limits::{LABELS_BYTES_MAX, within};

/// Returns name, value, name, value, …
pub(crate) fn to_flat(labels: &Labels) -> Result<Vec<String>, Error> {
    let flat: Vec<String> = labels.iter().flat_map(|(name, value)| [name.to_owned(), value.to_owned()]).collect();
    check_bytes(&flat)?;
    Ok(flat)
}

/// Reads back what [`to_flat`] returned.
pub(crate) fn from_flat(flat: &[String]) -> Result<Labels, Error> {
    let invalid = |rule| Error::Invalid { what: "label set", rule };
    let (pairs, rest) = flat.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(invalid("must have a value for each name"));
    }
    if !pairs.is_sorted_by(|a, b| a[0] < b[0]) {
        return Err(invalid("must be sorted by name, each name once"));
    }
    check_bytes(flat)?;
    Ok(Labels::new(pairs.iter().map(|[name, value]| (name, value))))
}

fn check_bytes(flat: &[String]) -> Result<(), Error> {
    within("label set", flat.iter().map(String::len).sum(), LABELS_BYTES_MAX)
}
