use std::time::Duration;

use firetower_model::{
    Account, Coverage, Cross, CrossSum, DroppedLabel, Epoch, Generation, HealthCounts, HealthReport, Incarnation,
    JobDurations, KeptLabels, KeptVersion, NodeHealth, NodeStatus, Received, Revision, Role, RowId, SlotBits, State,
    Timestamp, Watermark, Window, WindowRows,
};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2Serializer};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::limits::{
    BLOCKS_MAX, HEALTH_CHANGES_MAX, JOBS_MAX, NAME_BYTES_MAX, STATUS_BYTES_MAX, STATUS_NODES_MAX, TEXT_BYTES_MAX,
};

const AT: Timestamp = Timestamp::from_millis(1_700_000_000_123);

fn any_double() -> impl Strategy<Value = f64> {
    prop_oneof![any::<u64>().prop_map(f64::from_bits), Just(0.0), Just(-0.0), (0..1_000u32).prop_map(f64::from)]
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

fn any_name() -> impl Strategy<Value = String> {
    ".{0,12}"
}

fn any_cross() -> impl Strategy<Value = Cross> {
    let counts = (any::<u64>(), 0..3u64, 0..3u64);
    (counts, any_double(), any_double(), any_double(), any_double()).prop_map(
        |((series, special, unanchored), sum, min, max, increase)| Cross {
            series,
            special,
            sum,
            min,
            max,
            increase,
            unanchored,
        },
    )
}

fn any_coverage() -> impl Strategy<Value = Coverage> {
    any::<[u64; 4]>().prop_map(|[expected, reported, late, lost]| Coverage { expected, reported, late, lost })
}

fn any_watermark() -> impl Strategy<Value = Watermark> {
    (any_time(), any_time()).prop_map(|(newest, complete_through)| Watermark { newest, complete_through })
}

fn any_slots() -> impl Strategy<Value = SlotBits> {
    (any::<u64>(), vec(any::<bool>(), 0..200)).prop_map(|(generation, set)| {
        let mut bits = SlotBits::new(Generation(generation), set.len() as u32);
        (0..bits.count()).filter(|at| set[*at as usize]).for_each(|at| assert!(bits.set(at)));
        bits
    })
}

fn any_rows() -> impl Strategy<Value = WindowRows> {
    let head = (any_name(), -1i64 << 50..1 << 50, 1..100_000_000u64, any::<u64>(), any::<u64>());
    let durations = vec((any_name(), vec(any::<u8>(), 0..50)), 0..4);
    let rest = (
        any_coverage(),
        option::of(any_slots()),
        any_watermark(),
        btree_map(any::<u32>(), any_cross(), 0..40),
        (durations, any::<(u32, u64)>()),
    );
    (head, rest).prop_map(
        |((datacenter, at, length, revision, epoch), (coverage, slots, watermark, rows, (durations, kept)))| {
            WindowRows {
                datacenter,
                window: Window::containing(Timestamp::from_millis(at), Duration::from_millis(length)),
                revision: Revision(revision),
                epoch: Epoch(epoch),
                coverage,
                slots,
                watermark,
                rows: rows.into_iter().map(|(id, cross)| (RowId(id), cross)).collect(),
                durations: durations.into_iter().map(|(job, histogram)| JobDurations { job, histogram }).collect(),
                kept: KeptVersion { dropped: kept.0, fingerprint: kept.1 },
            }
        },
    )
}

fn any_kept() -> impl Strategy<Value = KeptLabels> {
    let from = prop_oneof![Just(DroppedLabel::UNDECIDED), any_time()];
    let dropped = (any_name(), any_name(), any_name(), any::<u64>(), from);
    let dropped = dropped.prop_map(|(name, job, label, values, from)| DroppedLabel { name, job, label, values, from });
    vec(dropped, 0..8).prop_map(|dropped| dropped.into_iter().collect())
}

fn any_counts() -> impl Strategy<Value = HealthCounts> {
    any::<[u64; 4]>().prop_map(|[unknown, online, degraded, offline]| HealthCounts {
        unknown,
        online,
        degraded,
        offline,
    })
}

fn any_node() -> impl Strategy<Value = NodeHealth> {
    let names = (any_name(), any_name(), any_name(), any_name(), any_name());
    let state = prop_oneof![Just(State::Unknown), Just(State::Online), Just(State::Degraded), Just(State::Offline)];
    let usage = || option::of(-1e300..1e300);
    (names, state, any::<u32>(), any_time(), -1e300..1e300, usage(), usage()).prop_map(
        |((datacenter, job, node_key, instance, reason), state, failures, last_check, response_time, cpu, memory)| {
            NodeHealth {
                datacenter,
                job,
                node_key,
                instance,
                state,
                consecutive_failures: failures,
                last_check,
                response_time_seconds: response_time,
                cpu_usage: cpu,
                memory_usage: memory,
                reason,
            }
        },
    )
}

fn any_report() -> impl Strategy<Value = HealthReport> {
    (any_name(), any::<u64>(), any_name(), any_time(), any_counts(), vec(any_node(), 0..5), any::<bool>()).prop_map(
        |(reporter, version, datacenter, at, counts, changes, is_snapshot)| HealthReport {
            reporter,
            version,
            datacenter,
            at,
            counts,
            changes,
            is_snapshot,
        },
    )
}

fn any_tombstone() -> impl Strategy<Value = Tombstone> {
    (any::<u64>(), any::<u64>(), 0..DropReason::ALL.len()).prop_map(|(a, b, reason)| Tombstone {
        from: Sequence(a.min(b)),
        to: Sequence(a.max(b)),
        reason: DropReason::ALL[reason],
    })
}

fn any_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        any_rows().prop_map(Body::Rows),
        any_report().prop_map(Body::Health),
        any_tombstone().prop_map(Body::Tombstone),
        any_kept().prop_map(Body::Kept),
        Just(Body::Unknown),
    ]
}

/// Takes the rows out of `body` as bits, so that NaN compares.
fn rows_as_bits(body: &mut Body) -> Vec<(RowId, [u64; 7])> {
    let Body::Rows(rows) = body else { return Vec::new() };
    let bits = |cross: &Cross| {
        let doubles = [cross.sum, cross.min, cross.max, cross.increase].map(f64::to_bits);
        [cross.series, cross.special, cross.unanchored, doubles[0], doubles[1], doubles[2], doubles[3]]
    };
    rows.rows.drain(..).map(|(id, cross)| (id, bits(&cross))).collect()
}

/// The message of a body before it is compressed.
fn message_of(body: &Body) -> Vec<u8> {
    let payload = encode_frame(body).unwrap();
    if payload.is_empty() { payload } else { inflate("frame", &payload).unwrap() }
}

fn decode_message(kind: u32, message: &[u8]) -> Result<Body, Error> {
    let payload = zstd::bulk::compress(message, 1).unwrap();
    decode_frame(Sequence(1), 1, kind, &payload).map(|frame| frame.body)
}

proptest! {
    #[test]
    fn every_body_comes_back_bit_by_bit(mut body in any_body(), sequence in any::<u64>(), weight in any::<u64>()) {
        let payload = encode_frame(&body).unwrap();
        let mut frame = decode_frame(Sequence(sequence), weight, kind(&body), &payload).unwrap();
        prop_assert_eq!((frame.sequence, frame.weight), (Sequence(sequence), weight));
        prop_assert_eq!(rows_as_bits(&mut frame.body), rows_as_bits(&mut body));
        prop_assert_eq!(frame.body, body);
    }

    #[test]
    fn fields_of_later_releases_are_skipped(mut body in any_body(), number in 1_000..9_000u32, bytes in vec(any::<u8>(), 0..20)) {
        let mut message = message_of(&body);
        prost::encoding::bytes::encode(number, &bytes, &mut message);
        let mut read = decode_message(kind(&body), &message).unwrap();
        prop_assert_eq!(rows_as_bits(&mut read), rows_as_bits(&mut body));
        prop_assert_eq!(read, body);
    }

    #[test]
    fn hostile_payloads_are_errors(kind in 0..6u32, bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode_frame(Sequence(1), 1, kind, &bytes);
        let _ = decode_message(kind, &bytes);
        let _ = status::decode(&bytes);
    }

    #[test]
    fn hostile_changes_to_a_message_are_read_or_refused(
        body in any_body(), at in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()
    ) {
        let mut message = message_of(&body);
        if !message.is_empty() {
            let at = at.index(message.len());
            message[at] = byte;
            message.truncate(if cut { at } else { message.len() });
        }
        if let Ok(Body::Rows(rows)) = decode_message(kind(&body), &message) {
            prop_assert!(rows.rows.is_sorted_by(|a, b| a.0 < b.0), "ids rise");
            prop_assert!(encode_frame(&Body::Rows(rows)).is_ok(), "what is taken can be passed on");
        }
    }
}

fn status(children: Vec<NodeStatus>) -> NodeStatus {
    NodeStatus {
        node: "dub-p0".into(),
        role: Role::Primary,
        version: "0.1.0".into(),
        incarnation: Incarnation { created: AT, random: u64::MAX },
        at: AT,
        started: Timestamp::MIN,
        http: "127.0.0.1:6120".into(),
        region: "eu-west".into(),
        datacenter: "dub".into(),
        is_connected: true,
        targets: HealthCounts { unknown: 1, online: 2, degraded: 3, offline: 4 },
        active_series: 5,
        samples_per_second: 6.5,
        coverage: Coverage::new(10, 9, 1),
        watermark: Watermark { newest: AT, complete_through: AT },
        outbox_frames: 7,
        outbox_bytes: 8,
        accounts: vec![Account {
            parent: "global-0".into(),
            collected: 10,
            delivered: 4,
            queued: 3,
            dropped: vec![(DropReason::OutboxFull, 1), (DropReason::ParentLost, 2)],
        }],
        received: vec![
            Received { child: "s0".into(), applied: 5, applied_before: 6, delivered: Some(4), incarnation_lost: 7 },
            Received { child: "s1".into(), ..Received::default() },
        ],
        clock_ahead_ms: Some(-600_000),
        trouble: "its disk is full".into(),
        children,
    }
}

#[test]
fn a_status_comes_back_with_its_children() {
    let whole = status(vec![status(vec![]), status(vec![status(vec![])])]);
    assert_eq!(status::decode(&status::encode(&whole).unwrap()).unwrap(), whole);
}

#[test]
fn floods_of_empty_fields_are_refused_before_they_take_memory() {
    let flood = |tag: &[u8], count: usize| [tag, &[0]].concat().repeat(count);
    for (kind, tag, max) in [
        (KIND_ROWS, vec![9 << 3 | 2], BLOCKS_MAX),
        (KIND_ROWS, vec![10 << 3 | 2], JOBS_MAX),
        (KIND_HEALTH, vec![6 << 3 | 2], HEALTH_CHANGES_MAX),
    ] {
        let refused = decode_message(kind, &flood(&tag, max + 1)).unwrap_err();
        assert!(matches!(refused, Error::TooLarge { max: limit, .. } if limit == max), "{refused}");
    }
    let children = flood(&[0x9a, 0x01], STATUS_NODES_MAX + 1);
    assert!(matches!(status::decode(&children).unwrap_err(), Error::TooLarge { what: "nodes in status", .. }));
    let nested = (0..20).fold(Vec::new(), |inside: Vec<u8>, _| {
        let mut message = Vec::new();
        prost::encoding::bytes::encode(19, &inside, &mut message);
        message
    });
    assert!(matches!(status::decode(&nested).unwrap_err(), Error::TooLarge { what: "tiers in status", .. }));
    assert!(status::decode(&vec![0; STATUS_BYTES_MAX + 1]).is_err());
}

#[test]
fn payloads_that_break_a_limit_or_a_rule_are_refused() {
    let bomb = zstd::bulk::compress(&vec![0; FRAME_BYTES_MAX + 1], 1).unwrap();
    assert!(matches!(
        decode_frame(Sequence(1), 0, KIND_ROWS, &bomb).unwrap_err(),
        Error::TooLarge { what: "frame", .. }
    ));
    let block =
        |id_deltas: Vec<u32>| proto::RowBlock { sum: vec![1.0; id_deltas.len()], id_deltas, ..Default::default() };
    let good = proto::WindowRows { window_length_ms: 1_000, blocks: vec![block(vec![5, 1])], ..Default::default() };
    let check = |change: fn(&mut proto::WindowRows), complaint: &str| {
        let mut rows = good.clone();
        change(&mut rows);
        let said =
            decode_message(KIND_ROWS, &rows.encode_to_vec()).map_or_else(|error| error.to_string(), |_| "fine".into());
        assert_eq!(said, complaint);
    };
    check(|_| (), "fine");
    check(|rows| rows.blocks[0].id_deltas[1] = 0, "row ids must rise");
    check(|rows| rows.blocks[0].id_deltas[1] = u32::MAX, "row ids must rise");
    check(|rows| rows.blocks.push(rows.blocks[0].clone()), "row ids must rise");
    check(|rows| rows.blocks[0].series = vec![1], "series column must have as many entries as there are ids");
    check(|rows| rows.blocks[0].sum.truncate(1), "sum column must have as many entries as there are ids");
    check(|rows| rows.window_length_ms = 0, "window must have a length");
    check(|rows| rows.window_start_ms = 1, "window must start at a multiple of its length");
    check(|rows| rows.window_start_ms = i64::MIN, "window must not be thousands of years away");
    check(
        |rows| rows.slots = Some(proto::SlotBits { count: u32::MAX, ..Default::default() }),
        "slots of size 4294967295 is over the limit of 4194304",
    );
    check(
        |rows| rows.slots = Some(proto::SlotBits { count: 9, bits: vec![1], ..Default::default() }),
        "slot bits must be as many as their count",
    );
    check(|rows| rows.datacenter = "x".repeat(NAME_BYTES_MAX + 1), "datacenter of size 1025 is over the limit of 1024");
    check(|rows| rows.blocks[0].value_kind = 9, "fine");
}

#[test]
fn a_sender_refuses_what_a_receiver_would() {
    let unsorted = WindowRows { rows: vec![(RowId(2), Cross::EMPTY), (RowId(2), Cross::EMPTY)], ..fleet(1) };
    assert_eq!(encode_frame(&Body::Rows(unsorted)).unwrap_err().to_string(), "row ids must rise");
    let long = WindowRows { datacenter: "x".repeat(NAME_BYTES_MAX + 1), ..fleet(1) };
    assert!(matches!(encode_frame(&Body::Rows(long)).unwrap_err(), Error::TooLarge { .. }));
}

#[test]
fn a_long_reason_is_cut_at_a_character() {
    let node = NodeHealth {
        datacenter: String::new(),
        job: String::new(),
        node_key: String::new(),
        instance: String::new(),
        state: State::Offline,
        consecutive_failures: 2,
        last_check: AT,
        response_time_seconds: 0.0,
        cpu_usage: None,
        memory_usage: None,
        reason: format!("x{}", "é".repeat(TEXT_BYTES_MAX)),
    };
    let report = HealthReport {
        reporter: "s".into(),
        version: 1,
        datacenter: "dub".into(),
        at: AT,
        counts: HealthCounts::default(),
        changes: vec![node],
        is_snapshot: true,
    };
    let Body::Health(read) = decode_message(KIND_HEALTH, &message_of(&Body::Health(report))).unwrap() else { panic!() };
    assert_eq!(read.changes[0].reason.len(), TEXT_BYTES_MAX - 1);
}

#[test]
fn kinds_of_later_releases_are_unknown_bodies() {
    for kind in [KIND_UNKNOWN, 5, u32::MAX] {
        assert_eq!(decode_frame(Sequence(1), 7, kind, b"anything").unwrap().body, Body::Unknown);
    }
    let later_reason = proto::Tombstone { from: 1, to: 2, reason: 99 };
    let tombstone = Tombstone { from: Sequence(1), to: Sequence(2), reason: DropReason::Other };
    assert_eq!(decode_message(KIND_TOMBSTONE, &later_reason.encode_to_vec()).unwrap(), Body::Tombstone(tombstone));
}

/// The rows of 250 metrics like node_exporter's over `targets` targets, all of them reported.
fn fleet(targets: u64) -> WindowRows {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let rows = (0..250u32).map(|id| {
        let mut sum = CrossSum::EMPTY;
        for _ in 0..targets {
            match id % 5 {
                0 => sum.add_value(1.0),
                1 => sum.add_value((random(1 << 24) * 4_096) as f64),
                2 => sum.add_value(random(100_000) as f64 / 100.0),
                3 => {
                    sum.add_value(random(1_000_000_000_000) as f64);
                    sum.add_increase(random(1_000_000) as f64);
                }
                _ => {
                    sum.add_value(random(10_000_000_000) as f64 / 100.0);
                    sum.add_increase(random(1_500) as f64 / 100.0);
                }
            }
        }
        (RowId(1_000 + id), sum.finish())
    });
    let rows = rows.collect();
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000, 2).unwrap();
    (0..targets).for_each(|_| histogram.record(3_000 + random(5_000)).unwrap());
    let mut serialised = Vec::new();
    V2Serializer::new().serialize(&histogram, &mut serialised).unwrap();
    let slots = SlotBits::from_bytes(Generation(12), targets as u32, &[]);
    WindowRows {
        datacenter: "dub".into(),
        window: Window::containing(AT, Duration::from_secs(15)),
        revision: Revision(1),
        epoch: Epoch(0),
        coverage: Coverage::new(targets, targets, 0),
        slots,
        watermark: Watermark { newest: AT, complete_through: AT },
        rows,
        durations: vec![JobDurations { job: "node".into(), histogram: serialised }],
        kept: KeptVersion::default(),
    }
}

#[test]
fn bytes_follow_metrics_and_not_servers() {
    let sizes = [500, 5_000].map(|targets| {
        let body = Body::Rows(fleet(targets));
        let sizes = (message_of(&body).len(), encode_frame(&body).unwrap().len());
        println!("{targets} targets, 250 rows: {} bytes, {} compressed", sizes.0, sizes.1);
        sizes.1 as f64
    });
    assert!(sizes[1] < 1.1 * sizes[0] && sizes[1] < 6_000.0, "{sizes:?}");
}
