//! PromQL with the semantics of Prometheus 3, over anything that can [`Select`](firetower_model::Select) series.
//!
//! [`Query::parse`] makes a plan of the text; [`Query::evaluate`] pulls series from the source, batch by batch, and each
//! goes as a whole, all its steps at once, through the functions above it into a fold. So memory follows groups and
//! steps wherever the expression lets it. Where the series lie elsewhere, what each holder can answer by itself is asked of
//! those [`Below`]. Nothing here reads a clock or a disk: the times come with the question. Native
//! histograms are not known; what needs them is refused.
//!
//! ```
//! use std::time::Duration;
//! use firetower_model::Timestamp;
//! use firetower_promql::{Query, Steps};
//!
//! let query = Query::parse("sum by (job) (rate(requests_total[5m]))")?;
//! assert!(query.as_selection().is_none());
//! let minute = Duration::from_secs(60);
//! let steps = Steps::range(Timestamp::from_millis(0), Timestamp::from_millis(3_600_000), minute);
//! assert_eq!(steps.count(), 61);
//! # Ok::<(), firetower_promql::Error>(())
//! ```

mod absent;
mod aggregate;
mod build;
mod curve;
mod error;
mod evaluate;
mod function;
mod histogram;
mod info;
mod kahan;
mod leaf;
mod limits;
mod matching;
mod notes;
mod operator;
mod part;
mod plan;
mod quantile;
mod query;
mod relabel;
mod sort;
mod steps;
mod text;
mod window;

pub use curve::{ABSENT, Curve, is_absent};
pub use error::Error;
pub use limits::{Limits, Usage};
pub use part::{Below, PartAnswer, PartQuestion};
pub use query::{Answer, Query, Question, Selection, Value};
pub use steps::Steps;
