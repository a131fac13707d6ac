//! How large what comes over the wire may be. Larger is refused, here or at the sender.

use crate::error::Error;

/// Bytes of a frame's payload when inflated.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// Bytes of one message of a call: a frame that does not compress, and what is around it.
pub const MESSAGE_BYTES_MAX: usize = FRAME_BYTES_MAX + (64 << 10);
/// Bytes of a frame in one part of it.
pub const PART_BYTES_MAX: usize = 64 << 10;
/// Rows of one frame.
pub const ROWS_MAX: usize = 1 << 18;
/// Blocks of rows of one frame.
pub const BLOCKS_MAX: usize = 16;
/// Slots of one frame.
pub const SLOTS_MAX: usize = 1 << 22;
/// Jobs of one frame.
pub const JOBS_MAX: usize = 1 << 12;
/// Bytes of one serialised histogram.
pub const HISTOGRAM_BYTES_MAX: usize = 64 << 10;
/// Changes of one health report: many times the targets of a secondary.
pub const HEALTH_CHANGES_MAX: usize = 1 << 16;
/// Bytes of a name: of a node, a datacenter, a job, an address, a release.
pub const NAME_BYTES_MAX: usize = 1 << 10;
/// Bytes of a sentence for people; longer ones are cut by the sender.
pub const TEXT_BYTES_MAX: usize = 1 << 10;
/// Bytes of a target's URL.
pub const URL_BYTES_MAX: usize = 16 << 10;
/// Bytes of a label set, names and values together.
pub const LABELS_BYTES_MAX: usize = 64 << 10;
/// Targets of one assignment: many times those of a secondary.
pub const TARGETS_MAX: usize = 1 << 16;
/// Dropped labels of one message.
pub const DROPPED_LABELS_MAX: usize = firetower_model::kept::DROPPED_MAX;
/// Row keys of one message.
pub const ROW_KEYS_MAX: usize = 1 << 16;
/// Names and values of all labels of one message.
pub const TEXTS_MAX: usize = 1 << 20;
/// Ranges of sequences of one message. A sender leaves out those after; what they say is then said again later.
pub const RANGES_MAX: usize = 1 << 16;
/// Bytes of the status in a heartbeat.
pub const STATUS_BYTES_MAX: usize = 1 << 20;
/// Nodes in the status of one heartbeat.
pub const STATUS_NODES_MAX: usize = 1 << 12;
/// Tiers in the status of one heartbeat.
pub const STATUS_DEPTH_MAX: usize = 8;
/// Bytes of all that a parent asks at once.
pub const INQUIRY_BYTES_MAX: usize = 4 << 20;
/// Bytes of the text of a query.
pub const QUERY_BYTES_MAX: usize = 64 << 10;
/// Moments at which a query is evaluated.
pub const MOMENTS_MAX: usize = 1 << 16;
/// Selectors of one query, and matchers in all of them.
pub const SELECTORS_MAX: usize = 1 << 8;
/// See [`SELECTORS_MAX`].
pub const MATCHERS_MAX: usize = 1 << 10;
/// Targets that one query, or the pieces of one message, name as moved.
pub const MOVED_MAX: usize = 1 << 17;
/// Bytes of an answer's piece when inflated.
pub const PIECE_BYTES_MAX: usize = FRAME_BYTES_MAX;
/// Series, groups, label sets, or metrics of one piece.
pub const PIECE_ENTRIES_MAX: usize = 1 << 16;
/// Bytes of content in one chunk of an answer.
pub const CHUNK_BYTES_MAX: usize = PART_BYTES_MAX;
/// Bytes of content that a child may send of an answer before it is granted more.
pub const ANSWER_CREDIT_BYTES: u64 = 256 << 10;
/// Sentences of one kind at the end of an answer. A sender leaves out those after.
pub const NOTES_MAX: usize = 1 << 8;
/// Milliseconds from the unix epoch to a window, or to a moment of a query, either way; so that arithmetic on it cannot overflow.
pub const WINDOW_TIME_MS_MAX: i64 = 1 << 53;

/// Tells whether `size` of `what` is at most `max`.
pub(crate) fn within(what: &'static str, size: usize, max: usize) -> Result<(), Error> {
    if size <= max { Ok(()) } else { Err(Error::TooLarge { what, size, max }) }
}

/// Passes `text` on if it has at most `max` bytes.
pub(crate) fn text_within(what: &'static str, text: String, max: usize) -> Result<String, Error> {
    within(what, text.len(), max)?;
    Ok(text)
}

/// Returns as much of `text` as [`TEXT_BYTES_MAX`] allows, whole characters only.
pub(crate) fn cut_text(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}
