//! How many samples a target may have that is known with far fewer.

use crate::error::Error;

/// How many times the samples of its largest page a known target may suddenly bring.
///
/// Labels with a value for each request or user come a hundredfold; a server that is given more to do, or a library that
/// says more of it, does not come tenfold from one scrape to the next.
pub const GROWTH_FACTOR: usize = 10;
/// How many samples any target may grow to, however few it had.
pub const GROWTH_LEAST: usize = 5_000;
/// How many pages must have been read of a target until it is known; before, it may still be filling its page.
pub const GROWTH_PAGES: u8 = 3;

/// What is known of a target's size.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Growth {
    /// Samples of its largest page.
    most: u32,
    /// Pages read, up to [`GROWTH_PAGES`].
    pages: u8,
}

impl Growth {
    /// Returns how many samples the next page may have; `None` for any number.
    pub(crate) fn limit(self) -> Option<usize> {
        let limit = GROWTH_FACTOR.saturating_mul(self.most as usize).max(GROWTH_LEAST);
        (self.pages == GROWTH_PAGES).then_some(limit)
    }

    /// Notes a page that was read.
    pub(crate) fn note(&mut self, samples: usize) {
        self.most = self.most.max(u32::try_from(samples).unwrap_or(u32::MAX));
        self.pages = (self.pages + 1).min(GROWTH_PAGES);
    }

    /// Says that `limit` is exceeded.
    pub(crate) fn error(self, limit: usize) -> Error {
        Error::GrowthLimit { limit, most: self.most as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_a_target_to_ten_times_its_largest_page_once_it_is_known() {
        let check = |pages: &[usize], expected: Option<usize>| {
            let mut growth = Growth::default();
            pages.iter().for_each(|samples| growth.note(*samples));
            assert_eq!(growth.limit(), expected, "{pages:?}");
        };
        check(&[], None);
        check(&[3, 40_000], None);
        check(&[3, 3, 3], Some(GROWTH_LEAST));
        check(&[3, 40_000, 3, 3], Some(400_000));
        check(&[600, 600, 600, 500], Some(6_000));
    }
}
