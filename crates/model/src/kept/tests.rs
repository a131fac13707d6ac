use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

/// Reads `label@seconds` of (m, j); without a time it is only proposed.
fn kept(text: &str) -> KeptLabels {
    let read = |word: &str| {
        let (label, from) = word.split_once('@').map_or((word, None), |(label, from)| (label, Some(from)));
        let from = from.map_or(DroppedLabel::UNDECIDED, |from| at(from.parse().unwrap()));
        DroppedLabel { name: "m".into(), job: "j".into(), label: label.into(), values: 101, from }
    };
    text.split_whitespace().map(read).collect()
}

#[test]
fn merging_keeps_the_earliest_and_tells_what_was_learned() {
    for (one, other, merged, learned) in [
        ("", "", "", ""),
        ("", "pod@30", "pod@30", "pod@30"),
        ("pod@30", "", "pod@30", ""),
        ("pod@30", "pod@30", "pod@30", ""),
        ("pod", "pod@30", "pod@30", "pod@30"),
        ("pod@30", "pod", "pod@30", ""),
        ("pod@45", "pod@30 id", "id pod@30", "id pod@30"),
        ("pod@30 id@15", "pod@45 name@60", "pod@30 id@15 name@60", "name@60"),
    ] {
        let (mut left, mut right) = (kept(one), kept(other));
        assert_eq!(left.merge(&kept(other)), kept(learned), "{one} + {other}");
        right.merge(&kept(one));
        assert_eq!((&left, &right), (&kept(merged), &kept(merged)), "{one} + {other}, both ways");
        assert_eq!(left.clone().merge(&left), KeptLabels::default(), "idempotent");
    }
}

#[test]
fn a_row_loses_what_is_dropped_in_its_window() {
    let decision = kept("id@15 pod@30 name");
    let key = |text: &str| {
        let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
        Labels::new(pairs.chain([(NAME, "m"), ("job", "j")]))
    };
    for (labels, start, expected) in [
        ("id=1 pod=2 image=3", 0, None),
        ("id=1 pod=2 image=3", 15, Some("pod=2 image=3")),
        ("id=1 pod=2 image=3", 30, Some("image=3")),
        ("id=1 pod=2 image=3", 99, Some("image=3")),
        ("pod=2 name=4", 29, None),
        ("pod=2 name=4", 45, Some("name=4")),
        ("image=3", 45, None),
    ] {
        let projected = decision.project(&key(labels), at(start));
        assert_eq!(projected, expected.map(key), "{labels} at {start}");
        let again = projected.as_ref().and_then(|projected| decision.project(projected, at(start)));
        assert_eq!(again, None, "{labels} at {start}: projecting twice");
    }
    let other_job = Labels::new([(NAME, "m"), ("job", "k"), ("pod", "1")]);
    assert_eq!(decision.project(&other_job, at(99)), None);
    assert!(decision.is_dead(&key("id=1")) && !decision.is_dead(&key("name=1")), "a proposal kills nothing");
}

#[test]
fn versions_follow_from_what_holds_and_not_from_how_it_came() {
    let (one, mut other) = (kept("id@15 pod@30 name"), kept("pod@30"));
    let none = KeptVersion::default();
    assert_eq!((one.version_at(at(14)), kept("id").newest_version()), (none, none));
    assert_ne!(one.version_at(at(15)), one.version_at(at(30)));
    assert_eq!((one.version_at(at(29)).dropped, one.version_at(at(99)).dropped), (1, 2));
    other.merge(&kept("id@20"));
    assert_eq!(one.version_at(at(30)), other.version_at(at(30)));
    assert_ne!(one.version_at(at(16)), other.version_at(at(16)));
    assert_eq!((other.decide(at(60)), other.len()), (0, 2));
    assert!(other.propose("m", "j", "name", 7) && !other.propose("m", "j", "name", 9));
    assert_eq!((other.decide(at(60)), other.newest_version().dropped), (1, 3));
    assert!(other.is_dropped("m", "j", "name", at(60)) && !other.is_dropped("m", "j", "name", at(59)));
}

#[test]
fn what_is_too_long_or_too_many_is_not_taken() {
    let mut decision = KeptLabels::default();
    assert!(!decision.propose(&"x".repeat(DROPPED_TEXT_MAX + 1), "j", "l", 1));
    decision = (0..DROPPED_MAX)
        .map(|label| DroppedLabel { label: label.to_string(), ..kept("a@1").iter().next().unwrap() })
        .collect();
    assert!(!decision.propose("m", "j", "one more", 1));
    assert_eq!(decision.len(), DROPPED_MAX);
}
