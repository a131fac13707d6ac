//! What the targets of a fleet show.

use crate::containers::Containers;
use crate::page::Page;
use crate::recorded::Recorded;

/// The pages of a whole fleet: of which kind they are.
#[derive(Debug)]
pub enum Pages {
    /// Simulated node_exporters.
    Node(Page),
    /// Simulated cAdvisors.
    Containers(Containers),
    /// Pages recorded elsewhere.
    Recorded(Recorded),
}

impl Pages {
    /// Appends the page that `target` shows when it is scraped for the `scrape`th time, counted from 0, and returns how
    /// many samples it has. Simulated node_exporters can have each line `copies` times.
    pub fn render(&self, target: usize, scrape: u64, copies: usize, page: &mut Vec<u8>) -> u64 {
        match self {
            Pages::Node(node) => node.render_exploded(target, scrape, copies, page),
            Pages::Containers(containers) => containers.render(target, scrape, page),
            Pages::Recorded(recorded) => recorded.render(target, scrape, page),
        }
    }

    /// Returns how many bytes a page has, about.
    pub(crate) fn page_bytes(&self) -> usize {
        match self {
            Pages::Node(node) => node.lines().len() * 120,
            Pages::Containers(containers) => containers.series() * 500,
            Pages::Recorded(recorded) => recorded.page_bytes(),
        }
    }
}
