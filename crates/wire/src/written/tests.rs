use firetower_model::STALE;
use prost::Message;

use super::*;

/// What Prometheus sends, as its own messages say it.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    series: Vec<Sent>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<SentLabel>,
}

#[derive(Clone, PartialEq, Message)]
struct Sent {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<SentLabel>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<SentSample>,
    #[prost(message, repeated, tag = "3")]
    exemplars: Vec<SentLabel>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<SentLabel>,
}

#[derive(Clone, PartialEq, Message)]
struct SentLabel {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct SentSample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

const LIMITS: WriteLimits = WriteLimits { bytes: 1 << 20, series: 3, samples: 5 };

fn series(name: &str, samples: &[(i64, f64)]) -> Sent {
    let labels = vec![SentLabel { name: b"__name__".into(), value: name.into() }];
    let samples = samples.iter().map(|(timestamp, value)| SentSample { value: *value, timestamp: *timestamp });
    Sent { labels, samples: samples.collect(), ..Sent::default() }
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

fn unpack(series: Vec<Sent>) -> Result<WriteRequest, Error> {
    WriteRequest::unpack(&pack(&Request { series, metadata: Vec::new() }.encode_to_vec()), LIMITS)
}

#[test]
fn a_request_is_read_as_it_was_sent() {
    let mut first = series("a", &[(-5, 0.0), (i64::MAX, STALE), (0, f64::NEG_INFINITY)]);
    first.labels.push(SentLabel { name: vec![0xff], value: Vec::new() });
    first.exemplars.push(SentLabel::default());
    first.histograms = vec![SentLabel::default(); 2];
    let sent = Request { series: vec![first.clone(), series("", &[])], metadata: vec![SentLabel::default(); 3] };
    let mut bytes = sent.encode_to_vec();
    // Fields of a later release: a varint and a group.
    bytes.extend([0x28, 7, 0x33, 0x34]);
    let request = WriteRequest::unpack(&pack(&bytes), LIMITS).unwrap();
    let expected = WriteCounts { series: 2, samples: 3, exemplars: 1, histograms: 2, metadata: 3 };
    assert_eq!(request.counts, expected);
    let mut reader = request.series();
    let found = reader.next_series().unwrap().unwrap();
    let labels: [(&[u8], &[u8]); 2] = [(b"__name__", b"a"), (&[0xff], b"")];
    assert_eq!(found.labels, labels);
    let sample = |millis, value| Sample { at: Timestamp::from_millis(millis), value };
    assert_eq!(found.samples, [sample(-5, 0.0), sample(i64::MAX, STALE), sample(0, f64::NEG_INFINITY)]);
    let found = reader.next_series().unwrap().unwrap();
    assert_eq!((found.labels.len(), found.samples.len()), (1, 0));
    assert!(reader.next_series().unwrap().is_none());
}

#[test]
fn what_is_cut_short_or_too_much_is_refused() {
    let check = |refused: Result<WriteRequest, Error>, expected: &str| {
        let message = refused.map(|_| ()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    let one = Request { series: vec![series("a", &[(1, 1.0)])], metadata: Vec::new() }.encode_to_vec();
    for cut in 1..one.len() {
        assert!(WriteRequest::unpack(&pack(&one[..cut]), LIMITS).is_err(), "cut at {cut}");
    }
    check(WriteRequest::unpack(b"no snappy", LIMITS), "decompress a write request");
    check(WriteRequest::unpack(b"", LIMITS), "decompress a write request");
    check(unpack(vec![series("a", &[]); 4]), "series in a write request of size 4 is over the limit of 3");
    check(unpack(vec![series("a", &[(1, 1.0); 3]); 2]), "samples in a write request of size 6 is over the limit of 5");
    // 64 KiB that say that they are 4 GiB, and zeros that really are too many.
    let mut lie = vec![0xff, 0xff, 0xff, 0xff, 0x0f];
    lie.resize(64 << 10, 0);
    check(WriteRequest::unpack(&lie, LIMITS), "over the limit of 1048576");
    check(WriteRequest::unpack(&pack(&vec![0; LIMITS.bytes + 1]), LIMITS), "over the limit of 1048576");
}
