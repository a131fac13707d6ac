//! The labels of a written series: checked, and split into those of a target and those of a metric.

use firetower_model::Labels;
use firetower_model::labels::NAME;

/// What of a series' labels stands for a target, so that what one process sends under one name is one metric.
const INSTANCE: &str = "instance";
/// Labels of one series.
const LABELS_MAX: usize = 128;
/// Bytes of a name, and of a value.
const NAME_BYTES_MAX: usize = 1 << 10;
const VALUE_BYTES_MAX: usize = 16 << 10;
/// Characters of a series in a complaint.
const SHOWN_CHARS: usize = 200;

/// A series' labels, as the store has them.
#[derive(Debug, PartialEq)]
pub(super) struct Split {
    pub(super) target: Labels,
    pub(super) metric: Labels,
}

/// What is wrong with a series' labels.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Fault {
    #[error("a label is no UTF-8")]
    NoText,
    #[error("a label has no name")]
    Nameless,
    #[error("the label {0:?} is there twice")]
    Twice(String),
    #[error("there is no __name__")]
    NoName,
    #[error("it has {0} labels, more than {LABELS_MAX}")]
    TooMany(usize),
    #[error("a label has a name of more than {NAME_BYTES_MAX} bytes or a value of more than {VALUE_BYTES_MAX}")]
    TooLong,
}

/// Checks `labels`, in any order, and splits them; those of `place` are added unless they are there. A label without a value
/// counts as absent.
pub(super) fn split(labels: &[(&[u8], &[u8])], place: &[(&'static str, String)]) -> Result<Split, Fault> {
    if labels.len() > LABELS_MAX {
        return Err(Fault::TooMany(labels.len()));
    }
    let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(labels.len());
    for (name, value) in labels {
        if name.len() > NAME_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            return Err(Fault::TooLong);
        }
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Fault::NoText);
        pairs.push((text(name)?, text(value)?));
    }
    pairs.sort_unstable();
    if pairs.first().is_some_and(|(name, _)| name.is_empty()) {
        return Err(Fault::Nameless);
    }
    if let Some(twice) = pairs.windows(2).find(|two| two[0].0 == two[1].0) {
        return Err(Fault::Twice(twice[0].0.to_owned()));
    }
    pairs.retain(|(_, value)| !value.is_empty());
    if !pairs.iter().any(|(name, _)| *name == NAME) {
        return Err(Fault::NoName);
    }
    let is_own = |name: &str| pairs.iter().any(|(own, _)| *own == name);
    let place = place.iter().map(|(name, value)| (*name, value.as_str())).filter(|(name, _)| !is_own(name));
    let of_target = pairs.iter().copied().filter(|(name, _)| *name == INSTANCE);
    Ok(Split {
        target: Labels::new(place.chain(of_target)),
        metric: Labels::new(pairs.iter().copied().filter(|(name, _)| *name != INSTANCE)),
    })
}

/// Returns a series as a complaint shows it, cut if it is long.
pub(super) fn show(labels: &[(&[u8], &[u8])]) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes);
    let shown = labels.iter().take(LABELS_MAX).map(|(name, value)| format!("{}={:?}", text(name), text(value)));
    let whole = format!("{{{}}}", shown.collect::<Vec<_>>().join(","));
    match whole.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_checked_and_split() {
        let check = |labels: &[(&str, &str)], expected: Result<(&str, &str), &str>| {
            let labels: Vec<(&[u8], &[u8])> = labels.iter().map(|(a, b)| (a.as_bytes(), b.as_bytes())).collect();
            let place = [("region", "eu".to_owned()), ("datacenter", "dub".to_owned())];
            let found = split(&labels, &place).map(|found| (found.target.to_string(), found.metric.to_string()));
            let found = found.map_err(|fault| fault.to_string());
            let expected = expected.map(|(target, metric)| (target.to_owned(), metric.to_owned()));
            assert_eq!(found, expected.map_err(str::to_owned), "{labels:?}");
        };
        let place = r#"{datacenter="dub",region="eu"}"#;
        check(&[("__name__", "m")], Ok((place, "m")));
        let target = r#"{datacenter="dub",instance="a:1",region="eu"}"#;
        check(&[("job", "j"), ("instance", "a:1"), ("__name__", "m")], Ok((target, r#"m{job="j"}"#)));
        check(&[("__name__", "m"), ("zone", ""), ("region", "us")], Ok((r#"{datacenter="dub"}"#, r#"m{region="us"}"#)));
        check(&[("__name__", "é.x"), ("a b", "\n")], Ok((place, "é.x{a b=\"\\n\"}")));
        check(&[], Err("there is no __name__"));
        check(&[("__name__", "")], Err("there is no __name__"));
        check(&[("__name__", "m"), ("", "x")], Err("a label has no name"));
        check(&[("a", "1"), ("__name__", "m"), ("a", "2")], Err("the label \"a\" is there twice"));
        check(&[("a", "x"); 129], Err("it has 129 labels, more than 128"));
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        let too_long = "a label has a name of more than 1024 bytes or a value of more than 16384";
        check(&[("__name__", "m"), ("a", &long)], Err(too_long));
    }

    #[test]
    fn what_is_no_text_is_shown_and_refused() {
        let labels: [(&[u8], &[u8]); 2] = [(b"__name__", b"m"), (b"a", &[0xff, b'"'])];
        assert_eq!(split(&labels, &[]), Err(Fault::NoText));
        assert_eq!(show(&labels), "{__name__=\"m\",a=\"\u{fffd}\\\"\"}");
        let long = [b'x'; 500];
        assert_eq!(show(&[(b"a", &long)]).chars().count(), SHOWN_CHARS + 1);
    }
}
