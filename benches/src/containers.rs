//! What a simulated cAdvisor says: the containers of a node, whose pods come and go.

use crate::digits::{write_hundredths, write_integer};
use crate::motion::{Moment, Motion, mix};
use crate::page::Page;

/// The containers of a fleet's nodes: each page has as many as fit into its series.
///
/// A pod has one container; its place on the node goes to a pod with a new name each `lifetime_scrapes`, at a scrape of
/// the place's own, so that with 40 of them and 15 s between two scrapes a tenth of the pods is replaced each minute.
#[derive(Clone, Debug)]
pub struct Containers {
    seed: u64,
    pods: usize,
    lifetime_scrapes: u64,
}

/// One metric of each container.
struct Metric {
    name: &'static str,
    is_counter: bool,
    /// Labels of its own, after those that all have.
    labels: &'static str,
    motion: Motion,
    is_fine: bool,
}

const fn counter(name: &'static str, labels: &'static str, rate: u64, is_fine: bool) -> Metric {
    let motion = Motion::Busy { rate, noise: 1 + rate / 4, unit: 1 };
    Metric { name, is_counter: true, labels, motion, is_fine }
}

const fn rare(name: &'static str, labels: &'static str, period: u64) -> Metric {
    Metric { name, is_counter: true, labels, motion: Motion::Rare { period }, is_fine: false }
}

const fn gauge(name: &'static str, least: u64, noise: u64, unit: u64) -> Metric {
    let motion = Motion::Wandering { least, wander: 1 + least / 8, noise, hold: 2, unit };
    Metric { name, is_counter: false, labels: "", motion, is_fine: false }
}

const fn limit(name: &'static str) -> Metric {
    Metric { name, is_counter: false, labels: "", motion: Motion::Still { below: 1 << 32 }, is_fine: false }
}

const METRICS: [Metric; 25] = [
    counter("container_cpu_usage_seconds_total", ",cpu=\"total\"", 120, true),
    counter("container_cpu_user_seconds_total", "", 80, true),
    counter("container_cpu_system_seconds_total", "", 30, true),
    counter("container_cpu_cfs_periods_total", "", 150, false),
    rare("container_cpu_cfs_throttled_periods_total", "", 8),
    rare("container_fs_reads_total", ",device=\"/dev/sda\"", 16),
    rare("container_fs_reads_bytes_total", ",device=\"/dev/sda\"", 16),
    counter("container_fs_writes_total", ",device=\"/dev/sda\"", 12, false),
    counter("container_fs_writes_bytes_total", ",device=\"/dev/sda\"", 50_000, false),
    gauge("container_memory_cache", 20_000, 16, 4_096),
    limit("container_memory_mapped_file"),
    rare("container_memory_failcnt", "", 128),
    gauge("container_memory_rss", 40_000, 64, 4_096),
    limit("container_memory_swap"),
    gauge("container_memory_usage_bytes", 60_000, 64, 4_096),
    gauge("container_memory_working_set_bytes", 50_000, 64, 4_096),
    counter("container_network_receive_bytes_total", ",interface=\"eth0\"", 90_000, false),
    rare("container_network_receive_errors_total", ",interface=\"eth0\"", 256),
    counter("container_network_receive_packets_total", ",interface=\"eth0\"", 700, false),
    counter("container_network_transmit_bytes_total", ",interface=\"eth0\"", 120_000, false),
    gauge("container_processes", 4, 2, 1),
    limit("container_spec_cpu_quota"),
    limit("container_spec_memory_limit_bytes"),
    limit("container_start_time_seconds"),
    gauge("container_threads", 20, 3, 1),
];
const SERVICES: u64 = 60;
const NAMESPACES: u64 = 12;

impl Containers {
    /// Makes pages of about `series` lines; pods live `lifetime_scrapes`.
    ///
    /// # Panics
    /// If `lifetime_scrapes` is 0.
    pub fn new(seed: u64, series: usize, lifetime_scrapes: u64) -> Containers {
        assert!(lifetime_scrapes > 0, "a pod lives at least one scrape");
        Containers { seed, pods: (series / METRICS.len()).max(1), lifetime_scrapes }
    }

    /// Returns how many samples a page has.
    pub(crate) fn series(&self) -> usize {
        1 + self.pods * METRICS.len()
    }

    /// Appends the page that `target` shows when it is scraped for the `scrape`th time, counted from 0, and returns how
    /// many samples it has.
    pub fn render(&self, target: usize, scrape: u64, page: &mut Vec<u8>) -> u64 {
        let pods: Vec<Pod> = (0..self.pods).map(|place| self.pod(target, place, scrape)).collect();
        for (number, metric) in METRICS.iter().enumerate() {
            let kind = if metric.is_counter { "counter" } else { "gauge" };
            let comments = format!("# HELP {0} Of a container.\n# TYPE {0} {kind}\n", metric.name);
            page.extend_from_slice(comments.as_bytes());
            for pod in &pods {
                for part in [metric.name, &pod.labels, metric.labels, "} "] {
                    page.extend_from_slice(part.as_bytes());
                }
                let moment = Moment { scrape: pod.age, since_reset: pod.age, was_reset: true };
                let number = metric.motion.at(mix(pod.dice ^ number as u64), moment);
                let write = if metric.is_fine { write_hundredths } else { write_integer };
                write(number, page);
                page.push(b'\n');
            }
        }
        page.extend_from_slice(b"# HELP fleet_scrapes_total How often this target was scraped before.\n");
        page.extend_from_slice(
            format!("# TYPE fleet_scrapes_total counter\nfleet_scrapes_total {scrape}\n").as_bytes(),
        );
        self.series() as u64
    }

    fn pod(&self, target: usize, place: usize, scrape: u64) -> Pod {
        let place_dice = mix(self.seed ^ mix((target as u64) << 32 | place as u64));
        let lived = scrape + place_dice % self.lifetime_scrapes;
        let dice = mix(place_dice ^ (lived / self.lifetime_scrapes));
        // The first pods were there before the first scrape, so that not all are replaced at once.
        Pod { dice, age: lived % self.lifetime_scrapes, labels: labels(dice, target) }
    }
}

/// One pod, and its container.
struct Pod {
    dice: u64,
    /// Scrapes since it came.
    age: u64,
    /// What all its lines have, from the opening brace on.
    labels: String,
}

fn labels(dice: u64, target: usize) -> String {
    let service = dice % SERVICES;
    let namespace = service % NAMESPACES;
    let (long, longer) = (mix(dice ^ 1), mix(dice ^ 2));
    let pod = format!("service-{service}-{:08x}-{:05x}", mix(service) as u32, long & 0xf_ffff);
    let id = format!("{long:016x}{longer:016x}{dice:016x}{:016x}", mix(longer));
    format!(
        "{{container=\"service-{service}\",id=\"/kubepods/burstable/pod{longer:016x}-{node}/{id}\",\
         image=\"images.example/service-{service}:1.{version}\",name=\"{id}\",namespace=\"team-{namespace}\",pod=\"{pod}\"",
        version = service % 7,
        node = Page::node_name(target),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn heads(containers: &Containers, target: usize, scrape: u64) -> BTreeSet<String> {
        let mut text = Vec::new();
        let samples = containers.render(target, scrape, &mut text);
        let text = String::from_utf8(text).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let heads: BTreeSet<String> = lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect();
        assert_eq!(heads.len() as u64, samples);
        heads
    }

    #[test]
    fn pods_come_and_go_at_the_rate_asked_for() {
        let containers = Containers::new(1, 1_000, 40);
        assert_eq!(containers.series(), 1_001);
        let mut left = 0;
        for target in 0..20 {
            left +=
                heads(&containers, target, 100).difference(&heads(&containers, target, 104)).count() / METRICS.len();
        }
        assert!((60..100).contains(&left), "{left} of 800 pods left within a tenth of their life");
        let shared: Vec<String> = heads(&containers, 0, 0).intersection(&heads(&containers, 1, 0)).cloned().collect();
        assert_eq!(shared, ["fleet_scrapes_total"]);
    }

    #[test]
    fn a_page_is_the_same_each_time() {
        let containers = Containers::new(1, 100, 10);
        let render = |scrape| {
            let mut text = Vec::new();
            containers.render(3, scrape, &mut text);
            text
        };
        assert_eq!(render(7), render(7));
        assert_ne!(render(7), render(8));
    }
}
