//! Counts the samples of a large page while it comes, so that one far over its limit is not waited for.

use crate::error::Error;
use crate::room::MAPPED_LEAST;

/// How much of a page is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageLimits {
    /// How large it may be, inflated.
    pub(crate) bytes: usize,
    /// How many samples it may have, where each of its lines is kept.
    pub(crate) samples: Option<usize>,
}

impl PageLimits {
    /// Takes any number of samples.
    pub(crate) fn of_bytes(bytes: usize) -> PageLimits {
        PageLimits { bytes, samples: None }
    }
}

/// How many samples have come.
pub(super) struct SampleCount {
    limit: Option<usize>,
    counted: usize,
    /// Where the first line begins that is not counted.
    at: usize,
}

impl SampleCount {
    pub(super) fn new(limits: PageLimits) -> SampleCount {
        SampleCount { limit: limits.samples, counted: 0, at: 0 }
    }

    /// Counts what has come of `page` beyond what had before, once it is large; a small page is not worth it.
    ///
    /// What begins neither as a comment nor with a blank is a sample, so it never counts too many of a page that is
    /// well-formed.
    pub(super) fn advance(&mut self, page: &[u8]) -> Result<(), Error> {
        let Some(limit) = self.limit.filter(|_| page.len() >= MAPPED_LEAST) else { return Ok(()) };
        let begun = self.at;
        for end in memchr::memchr_iter(b'\n', &page[begun..]) {
            let first = page[self.at];
            self.at = begun + end + 1;
            self.counted += usize::from(!matches!(first, b'#' | b'\n' | b'\r' | b' ' | b'\t'));
        }
        if self.counted > limit { Err(Error::SampleLimit { limit }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_samples_of_large_pages_wherever_they_are_cut() {
        let line = "# HELP a b\na{b=\"c\"} 1\n\n";
        let page = line.repeat(MAPPED_LEAST / line.len() + 1);
        let samples = page.len() / line.len();
        let check = |limit: Option<usize>, steps: &[usize], is_over: bool| {
            let mut count = SampleCount::new(PageLimits { bytes: usize::MAX, samples: limit });
            let over = steps.iter().any(|length| count.advance(&page.as_bytes()[..*length]).is_err());
            assert_eq!(over, is_over, "{limit:?} {steps:?}");
        };
        let whole = page.len();
        check(Some(samples), &[whole], false);
        check(Some(samples - 1), &[whole], true);
        check(Some(samples - 1), &[whole / 2, whole - 3, whole - 2, whole], true);
        check(Some(samples - 1), &[whole - 2], false);
        check(Some(3), &[MAPPED_LEAST - 1], false);
        check(None, &[whole], false);
    }
}
