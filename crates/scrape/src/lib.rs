//! Pulls pages from targets, on time, and reads them: HTTP, the exposition text, discovery.
//!
//! It decides nothing: which targets there are, what relabelling makes of their lines and what becomes of the samples
//! is its caller's business, who passes in a [`Resolve`] and takes [`Scrape`]s.
//!
//! ```
//! use firetower_scrape::exposition::{Format, parse};
//!
//! let samples = parse(b"# TYPE sent counter\nsent{to=\"dub\"} 3\n", Format::Text).unwrap();
//! assert_eq!((samples[0].labels[1].1.as_str(), samples[0].value), ("dub", 3.0));
//! ```

mod buffers;
mod discovery;
mod error;
pub mod exposition;
mod fetch;
mod growth;
mod metrics;
pub mod page;
mod room;
mod target;

pub use buffers::Buffers;
pub use discovery::{Discovery, DiscoverySetup, Found, Made, ReadGroups, discover};
pub use error::{AccessError, Error};
pub use exposition::{Format, Line, MediaType, PageError, Protocol, UnknownFormat, accept};
pub use fetch::{Client, EnvironmentProxies, Tls};
pub use growth::{GROWTH_FACTOR, GROWTH_LEAST, GROWTH_PAGES};
pub use metrics::{DiscoveryMetrics, Outcome, ScrapeMetrics, Source};
pub use page::{
    Held, LEADING, LabelLimit, PageCounts, PageReader, PageShape, PageShapes, ReadError, ReadOptions, Resolve,
    SYNTHETIC, TargetPage,
};
pub use target::{BODY_SIZE_LIMIT, Failure, Read, Scrape, ScrapeOptions, Scraper, run_target};
