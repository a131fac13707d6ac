//! What a parent asks, to and from protobuf.

use std::time::Duration;

use firetower_model::{Ask, Inquiry, Listing, MatchKind, Matcher, Moments, TimeRange, Timestamp};

use prost::Message as _;

use crate::error::Error;
use crate::limits::{
    INQUIRY_BYTES_MAX, LABELS_BYTES_MAX, MATCHERS_MAX, MOMENTS_MAX, MOVED_MAX, QUERY_BYTES_MAX, SELECTORS_MAX,
    WINDOW_TIME_MS_MAX, text_within, within,
};
use crate::proto;
use crate::proto::list_labels::What;
use crate::proto::matcher::Kind;
use crate::proto::query;

/// Checks that `inquiry` can be sent.
///
/// # Errors
/// If it is over one of [`crate::limits`].
pub fn check_inquiry(inquiry: &Inquiry) -> Result<(), Error> {
    to_proto(0, inquiry).map(drop)
}

pub(super) fn to_proto(id: u64, inquiry: &Inquiry) -> Result<proto::Query, Error> {
    within("moved targets", inquiry.moved.len(), MOVED_MAX)?;
    let ask = match &inquiry.ask {
        Ask::Evaluate { text, whole, moments, look_back } => query::Ask::Evaluate(proto::Evaluate {
            text: text_within("query", text.clone(), QUERY_BYTES_MAX)?,
            whole: Some(moments_to_proto(*whole)?),
            moments: Some(moments_to_proto(*moments)?),
            look_back_ms: millis(*look_back),
        }),
        Ask::Samples { matchers, range } => query::Ask::Samples(proto::SelectSamples {
            matchers: matchers_to_proto(matchers)?,
            start_ms: range.start.as_millis(),
            end_ms: range.end.as_millis(),
        }),
        Ask::Labels { what, selected, range } => query::Ask::Labels(listing_to_proto(what, selected, *range)?),
        Ask::Kinds => query::Ask::Kinds(proto::ListKinds {}),
    };
    let within_ms = u32::try_from(inquiry.within.as_millis()).unwrap_or(u32::MAX);
    let query = proto::Query { query_id: id, within_ms, moved: inquiry.moved.clone(), ask: Some(ask) };
    within("query", query.encoded_len(), INQUIRY_BYTES_MAX)?;
    Ok(query)
}

/// Returns `None` if this release does not know what is asked.
pub(super) fn from_proto(read: proto::Query) -> Result<Option<Inquiry>, Error> {
    within("moved targets", read.moved.len(), MOVED_MAX)?;
    let Some(ask) = read.ask else { return Ok(None) };
    let ask = match ask {
        query::Ask::Evaluate(read) => Ask::Evaluate {
            text: text_within("query", read.text, QUERY_BYTES_MAX)?,
            whole: moments_from_proto(read.whole)?,
            moments: moments_from_proto(read.moments)?,
            look_back: Duration::from_millis(read.look_back_ms),
        },
        query::Ask::Samples(read) => {
            Ask::Samples { matchers: matchers_from_proto(read.matchers)?, range: range(read.start_ms, read.end_ms) }
        }
        query::Ask::Labels(read) => match listing_from_proto(read)? {
            Some(ask) => ask,
            None => return Ok(None),
        },
        query::Ask::Kinds(_) => Ask::Kinds,
    };
    Ok(Some(Inquiry { ask, moved: read.moved, within: Duration::from_millis(read.within_ms.into()) }))
}

fn listing_to_proto(what: &Listing, selected: &[Vec<Matcher>], range: TimeRange) -> Result<proto::ListLabels, Error> {
    within("selectors", selected.len(), SELECTORS_MAX)?;
    within("matchers", selected.iter().map(Vec::len).sum(), MATCHERS_MAX)?;
    let (what, label) = match what {
        Listing::Series => (What::Series, String::new()),
        Listing::Names => (What::Names, String::new()),
        Listing::Values(label) => (What::Values, text_within("label", label.clone(), LABELS_BYTES_MAX)?),
    };
    let selector = |matchers: &Vec<Matcher>| Ok(proto::Selector { matchers: matchers_to_proto(matchers)? });
    Ok(proto::ListLabels {
        what: what.into(),
        label,
        selectors: selected.iter().map(selector).collect::<Result<_, Error>>()?,
        start_ms: range.start.as_millis(),
        end_ms: range.end.as_millis(),
    })
}

fn listing_from_proto(read: proto::ListLabels) -> Result<Option<Ask>, Error> {
    within("selectors", read.selectors.len(), SELECTORS_MAX)?;
    let what = match What::try_from(read.what) {
        Ok(What::Series) => Listing::Series,
        Ok(What::Names) => Listing::Names,
        Ok(What::Values) => Listing::Values(text_within("label", read.label, LABELS_BYTES_MAX)?),
        Ok(What::Unspecified) | Err(_) => return Ok(None),
    };
    let selected = read.selectors.into_iter().map(|selector| matchers_from_proto(selector.matchers));
    let selected = selected.collect::<Result<_, _>>()?;
    Ok(Some(Ask::Labels { what, selected, range: range(read.start_ms, read.end_ms) }))
}

fn matchers_to_proto(matchers: &[Matcher]) -> Result<Vec<proto::Matcher>, Error> {
    within("matchers", matchers.len(), MATCHERS_MAX)?;
    let matcher = |matcher: &Matcher| {
        let kind = match matcher.kind() {
            MatchKind::Equal => Kind::Equal,
            MatchKind::NotEqual => Kind::NotEqual,
            MatchKind::Regex => Kind::Regex,
            MatchKind::NotRegex => Kind::NotRegex,
        };
        Ok(proto::Matcher {
            kind: kind.into(),
            name: text_within("label", matcher.name().to_owned(), LABELS_BYTES_MAX)?,
            value: text_within("value", matcher.value().to_owned(), LABELS_BYTES_MAX)?,
        })
    };
    matchers.iter().map(matcher).collect()
}

fn matchers_from_proto(read: Vec<proto::Matcher>) -> Result<Vec<Matcher>, Error> {
    within("matchers", read.len(), MATCHERS_MAX)?;
    let invalid = |rule| Error::Invalid { what: "matcher", rule };
    let matcher = |read: proto::Matcher| {
        let kind = match Kind::try_from(read.kind) {
            Ok(Kind::Equal) => MatchKind::Equal,
            Ok(Kind::NotEqual) => MatchKind::NotEqual,
            Ok(Kind::Regex) => MatchKind::Regex,
            Ok(Kind::NotRegex) => MatchKind::NotRegex,
            Ok(Kind::Unspecified) | Err(_) => return Err(invalid("must say how it compares")),
        };
        let name = text_within("label", read.name, LABELS_BYTES_MAX)?;
        let value = text_within("value", read.value, LABELS_BYTES_MAX)?;
        Matcher::of_kind(kind, name, value).map_err(|_| invalid("must have a regular expression that can be used"))
    };
    read.into_iter().map(matcher).collect()
}

fn moments_to_proto(moments: Moments) -> Result<proto::Moments, Error> {
    check_moments(moments)?;
    let Moments { start, step, count } = moments;
    Ok(proto::Moments { start_ms: start.as_millis(), step_ms: millis(step), count })
}

fn moments_from_proto(read: Option<proto::Moments>) -> Result<Moments, Error> {
    let read = read.unwrap_or_default();
    let (start, step) = (Timestamp::from_millis(read.start_ms), Duration::from_millis(read.step_ms));
    let moments = Moments { start, step, count: read.count };
    check_moments(moments)?;
    Ok(moments)
}

/// Passes moments of which none is so far away that arithmetic on it could overflow.
fn check_moments(moments: Moments) -> Result<(), Error> {
    let invalid = |rule| Err(Error::Invalid { what: "moments", rule });
    within("moments", moments.count as usize, MOMENTS_MAX)?;
    let Some(steps) = moments.count.checked_sub(1) else { return invalid("must be at least one") };
    if 0 < steps && moments.step.is_zero() {
        return invalid("must be apart");
    }
    let length = millis(moments.step).saturating_mul(steps.into());
    if moments.start.as_millis().unsigned_abs().saturating_add(length) > WINDOW_TIME_MS_MAX as u64 {
        return invalid("must not be too far away");
    }
    Ok(())
}

fn range(start_ms: i64, end_ms: i64) -> TimeRange {
    TimeRange { start: Timestamp::from_millis(start_ms), end: Timestamp::from_millis(end_ms) }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
