//! Label sets, packed so that millions fit in memory and compare as bytes.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// The label that holds a series' name.
pub const NAME: &str = "__name__";

/// A set of labels, sorted by name, each name once. Names and values are any UTF-8.
///
/// A value may be empty: in a metric's labels that means "the target's label of this name is taken away".
///
/// One allocation: for each label the lengths of name and value as LEB128 varints, then both texts.
/// Clones share it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[u8]>);

impl Labels {
    /// Makes a set of `pairs` in any order; of pairs with one name the last wins.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Labels {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        let mut packed = Vec::new();
        for (at, (name, value)) in pairs.iter().enumerate() {
            let is_repeated = pairs.get(at + 1).is_some_and(|next| next.0.as_ref() == name.as_ref());
            if !is_repeated {
                pack(&mut packed, name.as_ref(), value.as_ref());
            }
        }
        Labels(packed.into())
    }

    /// Makes the set without labels.
    pub fn empty() -> Labels {
        Labels(Arc::from([]))
    }

    /// Reads back what [`Labels::as_bytes`] returned.
    ///
    /// Returns `None` unless `packed` is exactly such bytes: sorted, unique, UTF-8, nothing left over.
    pub fn from_bytes(packed: &[u8]) -> Option<Labels> {
        let mut rest = packed;
        let mut previous: Option<&str> = None;
        while !rest.is_empty() {
            let (name, value, after) = unpack_checked(rest)?;
            if previous.is_some_and(|previous| previous >= name) {
                return None;
            }
            std::str::from_utf8(value).ok()?;
            previous = Some(name);
            rest = after;
        }
        Some(Labels(packed.into()))
    }

    /// Returns the packed form; equal sets have equal bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the labels in order of their names.
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.0 }
    }

    /// Returns the value of the label `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().take_while(|(at, _)| *at <= name).find(|(at, _)| *at == name).map(|(_, value)| value)
    }

    /// Returns the value of `__name__`, or nothing if the set has none.
    pub fn name(&self) -> &str {
        self.get(NAME).unwrap_or("")
    }

    /// Returns a hash of the set, the same in every process and release.
    pub fn identity(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&self.0)
    }

    /// Tells whether there are no labels.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the labels whose names `keep` lets through.
    pub fn kept(&self, keep: impl FnMut(&str) -> bool) -> Labels {
        let mut packed = Vec::with_capacity(self.0.len());
        self.pack_kept(&mut packed, keep);
        Labels(packed.into())
    }

    /// Appends to `packed` the packed form of the labels whose names `keep` lets through.
    ///
    /// A caller that looks sets up by what is kept of them needs no allocation for each.
    pub fn pack_kept(&self, packed: &mut Vec<u8>, mut keep: impl FnMut(&str) -> bool) {
        let mut rest: &[u8] = &self.0;
        while !rest.is_empty() {
            let (name, _, after) = unpack_checked(rest).expect("checked when it was made");
            if keep(name) {
                packed.extend_from_slice(&rest[..rest.len() - after.len()]);
            }
            rest = after;
        }
    }

    /// Returns this set with `over`'s labels laid over it; labels that end up with an empty value are left out.
    ///
    /// This is how the final labels of a series follow from its target's (`self`) and its metric's (`over`).
    pub fn overlaid(&self, over: &Labels) -> Labels {
        let mut packed = Vec::with_capacity(self.0.len() + over.0.len());
        let (mut under, mut over) = (entries(&self.0).peekable(), entries(&over.0).peekable());
        loop {
            let order = match (under.peek(), over.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                // Bytes of UTF-8 are in the order of what they stand for.
                (Some(a), Some(b)) => a.name.cmp(b.name),
            };
            if order == Ordering::Equal {
                under.next();
            }
            let next = if order == Ordering::Less { under.next() } else { over.next() };
            if let Some(entry) = next.filter(|entry| !entry.has_no_value) {
                packed.extend_from_slice(entry.whole);
            }
        }
        Labels(packed.into())
    }
}

/// One label as it is packed.
struct Entry<'a> {
    name: &'a [u8],
    has_no_value: bool,
    whole: &'a [u8],
}

/// Returns the labels of a packed set, without looking at what their bytes stand for: that was done when it was made.
fn entries(mut packed: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        let (name_bytes, rest) = unpack_length(packed)?;
        let (value_bytes, rest) = unpack_length(rest)?;
        let (name, rest) = rest.split_at_checked(name_bytes)?;
        let (_, rest) = rest.split_at_checked(value_bytes)?;
        let whole = &packed[..packed.len() - rest.len()];
        packed = rest;
        Some(Entry { name, has_no_value: value_bytes == 0, whole })
    })
}

fn pack(packed: &mut Vec<u8>, name: &str, value: &str) {
    pack_length(packed, name.len());
    pack_length(packed, value.len());
    packed.extend_from_slice(name.as_bytes());
    packed.extend_from_slice(value.as_bytes());
}

fn pack_length(packed: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        packed.push(length as u8 | 0x80);
        length >>= 7;
    }
    packed.push(length as u8);
}

fn unpack_length(packed: &[u8]) -> Option<(usize, &[u8])> {
    let mut length = 0usize;
    for (at, byte) in packed.iter().enumerate().take(5) {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((length, &packed[at + 1..]));
        }
    }
    None
}

fn unpack_checked(packed: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let (name_bytes, rest) = unpack_length(packed)?;
    let (value_bytes, rest) = unpack_length(rest)?;
    let (name, rest) = rest.split_at_checked(name_bytes)?;
    let (value, rest) = rest.split_at_checked(value_bytes)?;
    Some((std::str::from_utf8(name).ok()?, value, rest))
}

/// The labels of a set in order of their names.
pub struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        if self.rest.is_empty() {
            return None;
        }
        let (name, value, rest) = unpack_checked(self.rest).expect("checked when it was made");
        self.rest = rest;
        Some((name, std::str::from_utf8(value).expect("checked when it was made")))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl Ord for Labels {
    /// Compares label by label: names, then values, and a set before those that go on after it.
    fn cmp(&self, other: &Labels) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Labels) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Labels {
    /// Writes `name{label="value",…}` as a selector would have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let labels: Vec<String> =
            self.iter().filter(|(name, _)| *name != NAME).map(|(name, value)| format!("{name}={value:?}")).collect();
        if labels.is_empty() && !self.name().is_empty() { Ok(()) } else { write!(f, "{{{}}}", labels.join(",")) }
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_and_keeps_the_last_of_a_name() {
        let labels = Labels::new([("job", "a"), (NAME, "up"), ("job", "b")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [(NAME, "up"), ("job", "b")]);
        assert_eq!(labels.to_string(), "up{job=\"b\"}");
        assert_eq!((labels.get("job"), labels.get("jo"), labels.name()), (Some("b"), None, "up"));
    }

    #[test]
    fn bytes_read_back_only_when_they_are_whole() {
        let labels = Labels::new([("a", "x".repeat(300)), ("b", "é".into())]);
        let bytes = labels.as_bytes();
        assert_eq!(Labels::from_bytes(bytes), Some(labels.clone()));
        for cut in 1..bytes.len() {
            let is_whole_prefix = cut == bytes.len() - 5;
            assert_eq!(Labels::from_bytes(&bytes[..cut]).is_some(), is_whole_prefix, "cut at {cut}");
        }
        assert_eq!(Labels::from_bytes(&[1, 0, b'b', 1, 0, b'a']), None, "not sorted");
        assert_eq!(Labels::from_bytes(&[1, 1, b'b', 0xff]), None, "not UTF-8");
    }

    #[test]
    fn what_is_kept_is_packed_as_a_set_of_its_own() {
        let labels = Labels::new([(NAME, "m"), ("a", "x"), ("b", "y")]);
        let kept = labels.kept(|name| name != "a");
        assert_eq!(kept, Labels::new([(NAME, "m"), ("b", "y")]));
        let mut packed = Vec::new();
        labels.pack_kept(&mut packed, |name| name == "a");
        assert_eq!(Labels::from_bytes(&packed), Some(Labels::new([("a", "x")])));
    }

    #[test]
    fn a_metric_lies_over_its_target_and_an_empty_value_takes_away() {
        let target = Labels::new([("instance", "a:1"), ("job", "node"), ("zone", "z")]);
        let metric = Labels::new([(NAME, "m"), ("job", "own"), ("zone", "")]);
        assert_eq!(target.overlaid(&metric), Labels::new([(NAME, "m"), ("instance", "a:1"), ("job", "own")]));
    }
}
