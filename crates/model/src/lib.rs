//! The words of the tree: ids, time, labels, samples, spans, crosses, coverage, frames, questions, and the reading trait.
//!
//! Everything here is plain data and arithmetic on it. Nothing here reads a clock, a socket or a disk, and no other
//! crate of Firetower is known here.
//!
//! ```
//! use std::time::Duration;
//! use firetower_model::{Cross, CrossSum, Timestamp, Window};
//!
//! let window = Window::containing(Timestamp::from_millis(1_700_000_003_000), Duration::from_secs(15));
//! let mut sum = CrossSum::EMPTY;
//! sum.add_value(2.0);
//! sum.add_value(5.0);
//! let row: Cross = sum.finish();
//! assert_eq!((window.start().as_millis() % 15_000, row.series, row.max), (0, 2, 5.0));
//! ```

pub mod ask;
pub mod assignment;
pub mod coverage;
pub mod cross;
pub mod discovery;
pub mod frame;
pub mod health;
pub mod http;
pub mod ids;
pub mod incarnation;
pub mod kept;
pub mod labels;
pub mod page;
pub mod sample;
pub mod select;
pub mod span;
pub mod spans;
pub mod status;
pub mod target;
pub mod time;

pub use ask::{Answered, Ask, AskError, Column, Ending, Inquiry, Listing, Loose, Missing, Moments, Piece, in_lots};
pub use assignment::{Assignment, SlotIndex};
pub use coverage::{Coverage, SlotBits, Watermark};
pub use cross::{Cross, CrossSum};
pub use discovery::{DnsKind, DnsSd, FileSd, HttpSd, JobSources, TargetGroup};
pub use frame::{Body, DropReason, Frame, HealthReport, JobDurations, Tombstone, WindowRows};
pub use health::{HealthCounts, NodeHealth, State};
pub use http::{Authorization, HttpAccess, ProxyAccess, Secret, TlsAccess, TlsVersion};
pub use ids::{Epoch, Generation, MetricId, Revision, RowId, Sequence, ShapeId, TargetId};
pub use incarnation::Incarnation;
pub use kept::{Budget, DroppedLabel, KeptLabels, KeptReport, KeptVersion};
pub use labels::Labels;
pub use page::PageRow;
pub use sample::{Kind, STALE, Sample, is_stale, step_increase};
pub use select::{MatchKind, Matcher, Select, Series};
pub use span::Span;
pub use spans::{SelectSpans, SpanSeries, SpanTier};
pub use status::{Account, Claim, NodeStatus, Received, Role};
pub use target::{OVER_LIMIT, Schedule, Target};
pub use time::{TimeRange, Timestamp, Window};
