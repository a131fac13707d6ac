//! Series that are here.

use std::sync::Arc;

use firetower_model::{Answered, Matcher, Select, Series, TimeRange};
use firetower_promql::Below;
use tokio::time::Instant;

use crate::{IsStopped, Reader, Source};

/// A monitor's own series.
#[derive(Debug)]
pub struct Local<S>(pub Arc<S>);

impl<S> Clone for Local<S> {
    fn clone(&self) -> Local<S> {
        Local(Arc::clone(&self.0))
    }
}

impl<S: Select + Send + Sync + 'static> Source for Local<S> {
    type Reader = Local<S>;

    fn open(&self, _: Instant, _: IsStopped) -> Local<S> {
        self.clone()
    }
}

impl<S: Select> Reader for Local<S> {
    fn below(&self) -> Option<&dyn Below> {
        None
    }

    fn answered(&self) -> Option<Answered> {
        None
    }
}

impl<S: Select> Select for Local<S> {
    type Error = S::Error;

    fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<impl Iterator<Item = Result<Vec<Series>, S::Error>>, S::Error> {
        self.0.select(matchers, range)
    }

    fn select_newest(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<impl Iterator<Item = Result<Vec<Series>, S::Error>>, S::Error> {
        self.0.select_newest(matchers, range)
    }

    fn left_out(&self) -> u64 {
        self.0.left_out()
    }
}
