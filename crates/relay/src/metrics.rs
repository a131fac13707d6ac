//! What the relay counts.

use std::sync::atomic::AtomicU64;

use firetower_wire::RefusalReason;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The parent replica or the child that something is counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Peer {
    /// Its name in the topology file.
    pub peer: String,
}

/// Which way a refusal went, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalLabels {
    /// `sent` to a child, or `received` from a parent.
    pub direction: &'static str,
    /// The word for why.
    pub reason: &'static str,
}

/// Which way a query went, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct QueryLabels {
    /// `sent` to a child, or `received` from a parent.
    pub direction: &'static str,
    /// The child's or the parent's name in the topology file.
    pub peer: String,
    /// The word for how it ended.
    pub outcome: &'static str,
}

/// How a query ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    Failed,
    Hung,
    Cancelled,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Failed => "failed",
            Outcome::Hung => "hung",
            Outcome::Cancelled => "cancelled",
        }
    }
}

/// What the relay counts, in both directions.
#[derive(Clone, Default)]
pub struct RelayMetrics {
    /// Payload bytes of frames, as they travel.
    pub sent_bytes: Family<Peer, Counter>,
    /// Frames sent, repeats included.
    pub sent_frames: Family<Peer, Counter>,
    /// Frames sent behind fresh ones, repeats included.
    pub backlog_frames: Family<Peer, Counter>,
    /// Attempts to reach a parent that failed.
    pub dial_failures: Family<Peer, Counter>,
    /// Payload bytes of frames received.
    pub received_bytes: Family<Peer, Counter>,
    /// Frames received, repeats included.
    pub received_frames: Family<Peer, Counter>,
    /// Frames received and applied already.
    pub repeated_frames: Family<Peer, Counter>,
    /// Frames that could not be read and were not acknowledged.
    pub malformed_frames: Family<Peer, Counter>,
    /// Frames of a kind that this release does not know.
    pub unknown_frames: Family<Peer, Counter>,
    /// Row keys that there was no room for.
    pub refused_row_keys: Family<Peer, Counter>,
    /// Streams of frames of nodes that had not said hello.
    pub refused_streams: Counter,
    /// Frames of windows whose time is not there yet by this clock: they are kept, and taken when it is.
    pub early_windows: Family<Peer, Counter>,
    /// Frames of windows refused, since they are over a day ahead.
    pub refused_windows: Family<Peer, Counter>,
    /// Raw samples in applied frames.
    pub applied_samples: Family<Peer, Counter>,
    /// Calls refused, in either direction.
    pub refusals: Family<RefusalLabels, Counter>,
    /// Queries that have ended, in either direction.
    pub queries: Family<QueryLabels, Counter>,
    /// Queries of a parent dropped, since there was no room to look at them.
    pub dropped_queries: Family<Peer, Counter>,
    /// Parts of answers that came when nobody waited for them any more.
    pub late_chunks: Family<Peer, Counter>,
    /// Calls for answers cut off, since the child sent more than it was granted.
    pub unruly_answers: Family<Peer, Counter>,
    /// Times that a child waited two seconds for room for a frame.
    pub room_waits: Family<Peer, Counter>,
    /// Children that were told to come again since there is no room for more.
    pub refused_children: Counter,
    /// Batches of frames applied, each with one sync.
    pub batches: Counter,
    /// Bytes of room that frames have which are being received, read or applied.
    pub inbox_bytes: Gauge<u64, AtomicU64>,
}

impl RelayMetrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> RelayMetrics {
        let metrics = RelayMetrics::default();
        let mut add = |name: &str, help: &str, family: &Family<Peer, Counter>| {
            registry.register(format!("firetower_relay_{name}"), help, family.clone());
        };
        add("sent_bytes", "Payload bytes of frames sent to a parent", &metrics.sent_bytes);
        add("sent_frames", "Frames sent to a parent, repeats included", &metrics.sent_frames);
        add("backlog_frames", "Frames sent to a parent behind fresh ones, repeats included", &metrics.backlog_frames);
        add("dial_failures", "Attempts to reach a parent that failed", &metrics.dial_failures);
        add("received_bytes", "Payload bytes of frames received from a child", &metrics.received_bytes);
        add("received_frames", "Frames received from a child, repeats included", &metrics.received_frames);
        add("repeated_frames", "Frames received that were applied already", &metrics.repeated_frames);
        add("malformed_frames", "Frames that could not be read", &metrics.malformed_frames);
        add("unknown_frames", "Frames of a kind not known", &metrics.unknown_frames);
        add("refused_row_keys", "Row keys of a child that there was no room for", &metrics.refused_row_keys);
        add("room_waits", "Times that a child waited two seconds for room for a frame", &metrics.room_waits);
        add("early_windows", "Frames of windows kept until it is their time by this clock", &metrics.early_windows);
        add("refused_windows", "Frames of windows refused, since they are over a day ahead", &metrics.refused_windows);
        add("dropped_queries", "Queries of a parent that there was no room to look at", &metrics.dropped_queries);
        add("late_chunks", "Parts of a child's answers that nobody waited for any more", &metrics.late_chunks);
        add("unruly_answers", "Calls for answers cut off for more than was granted", &metrics.unruly_answers);
        add("applied_samples", "Raw samples in applied frames", &metrics.applied_samples);
        let help = "Streams of frames refused, since their node had not said hello";
        registry.register("firetower_relay_refused_streams", help, metrics.refused_streams.clone());
        let (refused, held) = (metrics.refused_children.clone(), metrics.inbox_bytes.clone());
        registry.register(
            "firetower_relay_batches",
            "Batches of frames applied, each with one sync",
            metrics.batches.clone(),
        );
        registry.register("firetower_relay_refused_children", "Children told to come again for want of room", refused);
        registry.register("firetower_relay_inbox_bytes", "Room that frames have that are received or applied", held);
        let help = "Calls that were refused to a child (sent) or by a parent (received)";
        registry.register("firetower_relay_refusals", help, metrics.refusals.clone());
        let help = "Queries to a child (sent) and of a parent (received), by how they ended";
        registry.register("firetower_relay_queries", help, metrics.queries.clone());
        metrics
    }

    /// Counts a query to a child.
    pub(crate) fn asked(&self, child: &str, outcome: Outcome) {
        self.query("sent", child, outcome);
    }

    /// Counts a query of a parent.
    pub(crate) fn answered(&self, parent: &str, outcome: Outcome) {
        self.query("received", parent, outcome);
    }

    fn query(&self, direction: &'static str, peer: &str, outcome: Outcome) {
        let labels = QueryLabels { direction, peer: peer.to_owned(), outcome: outcome.as_str() };
        self.queries.get_or_create(&labels).inc();
    }

    /// Counts a refusal sent to a child.
    pub(crate) fn refused_child(&self, reason: RefusalReason) {
        self.refusals.get_or_create(&RefusalLabels { direction: "sent", reason: reason.as_str() }).inc();
    }

    /// Counts a refusal received from a parent.
    pub(crate) fn refused_by_parent(&self, reason: &'static str) {
        self.refusals.get_or_create(&RefusalLabels { direction: "received", reason }).inc();
    }
}

/// Names a peer.
pub(crate) fn peer(name: &str) -> Peer {
    Peer { peer: name.to_owned() }
}
