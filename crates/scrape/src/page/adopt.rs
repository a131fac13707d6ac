//! Gives a target the shape of another, when that has all the lines of its page.
//!
//! Where lines come and go, each target would otherwise make shapes of its own until each has seen every line.

use std::sync::Arc;

use super::kin::Kin;
use super::pass::NEW;
use super::reader::{Page, PageCounts, PageReader, ReadError, Row};
use super::shape::PageShape;
use super::{TargetPage, has_bit};

/// How many hold a line that is in one shape only: the shape and the pool.
const HOLDERS_OF_LONE: usize = 2;

impl PageReader {
    /// Reads the page, which `shape` does not fit, by a shape of its kin that fits it; `None` if there is none.
    ///
    /// After `None`, all is as it was after the page was compared with `shape`.
    ///
    /// # Errors
    /// If the page is malformed.
    pub(super) fn adopt(
        &mut self,
        known: &mut TargetPage,
        kin: &Kin,
        page: Page<'_>,
        shape: &Arc<PageShape>,
        row: &mut Row<'_>,
    ) -> Result<Option<(Arc<PageShape>, PageCounts)>, ReadError> {
        if self.order.is_empty() || !self.is_adoptable(known, kin, page, shape) {
            return Ok(None);
        }
        let mut is_compared = false;
        for other in kin.recent() {
            if Arc::ptr_eq(&other, shape) || other.metrics().len() > self.lines_max() {
                continue;
            }
            self.note_columns(&other);
            if !self.has_columns_of(known, shape) {
                continue;
            }
            is_compared = true;
            let counts = self.compare(page, &other, row)?;
            if self.new.iter().all(|line| line.is_comment) {
                self.carry_over(known, shape, other.metrics().len());
                kin.prefer(&other);
                return Ok(Some((other, counts)));
            }
        }
        if is_compared {
            self.compare(page, shape, row)?;
        }
        Ok(None)
    }

    /// Tells whether another shape may have all the page's lines, and all columns that owe a marker.
    fn is_adoptable(&self, known: &TargetPage, kin: &Kin, page: Page<'_>, shape: &PageShape) -> bool {
        let is_lone = |place: usize| {
            let line = shape.get(place).filter(|(_, column)| has_bit(&known.present, *column as usize));
            line.is_some_and(|(line, _)| Arc::strong_count(line) <= HOLDERS_OF_LONE)
        };
        if (0..shape.len()).any(is_lone) {
            return false;
        }
        let pool = kin.lines();
        self.order.iter().all(|entry| match entry & NEW {
            0 => true,
            _ => {
                let line = self.new[(entry & !NEW) as usize];
                line.is_comment || pool.has(line.text(page.text))
            }
        })
    }
}
