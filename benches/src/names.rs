//! The names on a page, made after node_exporter's.

use crate::page::Behaviour;

/// One metric of a page: a name, its comments, and as many lines as its label has values.
pub(crate) struct Family {
    /// Name of the metric.
    pub(crate) name: String,
    /// Its `# HELP` text.
    pub(crate) help: String,
    /// How its lines behave.
    pub(crate) behaviour: Behaviour,
    /// What is measured, without whose it is: which values are plausible follows from it.
    pub(crate) field: &'static str,
    /// Label sets of its lines, in braces; empty for a line without labels.
    pub(crate) labels: Vec<String>,
}

impl Family {
    /// Returns its `# HELP` and `# TYPE` lines.
    pub(crate) fn comments(&self) -> String {
        let kind = if self.behaviour == Behaviour::Growing { "counter" } else { "gauge" };
        format!("# HELP {0} {1}\n# TYPE {0} {kind}\n", self.name, self.help)
    }
}

/// Returns the metric that says how often its target was scraped.
pub(crate) fn scrapes(name: &str) -> Family {
    Family {
        name: name.into(),
        help: "How often this target was scraped before.".into(),
        behaviour: Behaviour::Growing,
        field: "scrapes",
        labels: vec![String::new()],
    }
}

/// Returns the metric that names the target.
pub(crate) fn node() -> Family {
    Family {
        name: "node_uname_info".into(),
        help: "Labeled system information as provided by the uname system call.".into(),
        behaviour: Behaviour::Constant,
        field: "info",
        labels: vec!["{machine=\"x86_64\",nodename=\"{node}\",sysname=\"Linux\"}".into()],
    }
}

/// Returns the metrics that dashboards of hosts ask for, under node_exporter's names, and a classic histogram.
pub(crate) fn of_dashboards() -> Vec<Family> {
    use Behaviour::{Constant, Growing, Moving};
    let of = |name: &str, behaviour, field, labels: Vec<String>| Family {
        name: name.into(),
        help: format!("What node_exporter calls {name}."),
        behaviour,
        field,
        labels,
    };
    let one = || vec![String::new()];
    let each = |label: &str, values: &[&str]| values.iter().map(|value| format!("{{{label}=\"{value}\"}}")).collect();
    let modes = |cpu: usize| CPU_MODES.map(|mode| format!("{{cpu=\"{cpu}\",mode=\"{mode}\"}}"));
    let disks = || each("device", &["/dev/nvme0n1p1", "/dev/nvme0n1p2"]);
    let devices = || each("device", &["eth0", "lo"]);
    vec![
        of("node_cpu_seconds_total", Growing, "seconds", (0..CPUS).flat_map(modes).collect()),
        of("node_load1", Moving, "average", one()),
        of("node_load5", Moving, "average", one()),
        of("node_load15", Moving, "average", one()),
        of("node_memory_MemTotal_bytes", Constant, "size_bytes", one()),
        of("node_memory_MemAvailable_bytes", Moving, "available_bytes", one()),
        of("node_memory_Cached_bytes", Moving, "cached_bytes", one()),
        of("node_filesystem_size_bytes", Constant, "size_bytes", disks()),
        of("node_filesystem_avail_bytes", Moving, "available_bytes", disks()),
        of("node_network_receive_bytes_total", Growing, "bytes", devices()),
        of("node_network_transmit_bytes_total", Growing, "bytes", devices()),
        of("node_network_receive_packets_total", Growing, "packets", devices()),
        of("node_network_transmit_packets_total", Growing, "packets", devices()),
        of("node_disk_read_bytes_total", Growing, "bytes", one()),
        of("node_disk_written_bytes_total", Growing, "bytes", one()),
        of("node_disk_io_time_seconds_total", Growing, "io_time_seconds", one()),
        of("node_context_switches_total", Growing, "processed", one()),
        of("node_intr_total", Growing, "processed", one()),
        of("node_procs_running", Moving, "inuse", one()),
        of("node_sockstat_TCP_inuse", Moving, "inuse", one()),
        of("http_request_duration_seconds_bucket", Growing, BUCKET, each("le", &BOUNDS)),
        of("http_request_duration_seconds_count", Growing, "processed", one()),
        of("http_request_duration_seconds_sum", Growing, "seconds", one()),
    ]
}

/// What the buckets of a histogram measure: more, the higher their bound.
pub(crate) const BUCKET: &str = "bucket";
const CPUS: usize = 4;
const CPU_MODES: [&str; 8] = ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"];
const BOUNDS: [&str; 12] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];
const CONSTANT_PARTS: [&str; 12] =
    ["memory", "sysctl", "filesystem", "network", "cpu", "hwmon", "nvme", "mdadm", "zfs", "bonding", "timex", "edac"];
const CONSTANT_FIELDS: [&str; 12] = [
    "size_bytes",
    "files_limit",
    "readonly",
    "speed_bytes",
    "frequency_max_hertz",
    "mtu_bytes",
    "carrier_changes",
    "blocks_reserved",
    "address_assign_type",
    "temp_crit_celsius",
    "active_slaves",
    "protocol_type",
];
const GROWING_PARTS: [&str; 10] = [
    "network_receive",
    "network_transmit",
    "disk_reads",
    "disk_writes",
    "cpu",
    "vmstat",
    "netstat_Tcp",
    "netstat_Udp",
    "schedstat",
    "softnet",
];
const GROWING_FIELDS: [&str; 10] = [
    "bytes",
    "packets",
    "completed",
    "merged",
    "seconds",
    "io_time_seconds",
    "InSegs",
    "guest_seconds",
    "running_seconds",
    "processed",
];
const MOVING_PARTS: [&str; 8] = ["memory", "sockstat", "filesystem", "load", "pressure", "procs", "hwmon", "entropy"];
const MOVING_FIELDS: [&str; 8] = [
    "available_bytes",
    "inuse",
    "free_inodes",
    "average",
    "cached_bytes",
    "waiting_ratio",
    "temp_celsius",
    "dirty_pages",
];
/// How many lines the families of one behaviour have, in turns.
const LINES_PER_FAMILY: [usize; 6] = [1, 4, 8, 1, 4, 2];

/// Returns families of `behaviour` with `lines` lines in all, none of a name that one of `others` has.
pub(crate) fn families(behaviour: Behaviour, lines: usize, others: &[Family]) -> Vec<Family> {
    let (parts, fields, suffix): (&[&str], &[&'static str], &str) = match behaviour {
        Behaviour::Constant => (&CONSTANT_PARTS, &CONSTANT_FIELDS, ""),
        Behaviour::Growing => (&GROWING_PARTS, &GROWING_FIELDS, "_total"),
        Behaviour::Moving => (&MOVING_PARTS, &MOVING_FIELDS, "_now"),
    };
    let mut families = Vec::new();
    let mut missing = lines;
    let mut turn = 0;
    while missing > 0 {
        // Both turn at each family, so that small pages have all kinds of fields too.
        let (part, field) = (parts[turn % parts.len()], fields[(turn + turn / parts.len()) % fields.len()]);
        let round = turn / (parts.len() * fields.len());
        let again = if round == 0 { String::new() } else { format!("_{round}") };
        let count = LINES_PER_FAMILY[turn % LINES_PER_FAMILY.len()].min(missing);
        let name = format!("node_{part}_{field}{again}{suffix}");
        if others.iter().any(|other| other.name == name) {
            turn += 1;
            continue;
        }
        families.push(Family {
            name,
            help: format!("{} field {field}{again}.", part.replace('_', " ")),
            behaviour,
            field,
            labels: (0..count).map(|at| label_set(turn, at, count)).collect(),
        });
        missing -= count;
        turn += 1;
    }
    families
}

fn label_set(turn: usize, at: usize, count: usize) -> String {
    if count == 1 {
        return String::new();
    }
    match turn % 3 {
        0 => format!("{{chip=\"coretemp_0\",device=\"enp{at}s0f0\",sensor=\"temp{at}\"}}"),
        1 => format!("{{cpu=\"{at}\",mode=\"interrupt-{}\",package=\"socket-{}\"}}", at % 3, at % 2),
        _ => format!("{{device=\"/dev/data{at:02}\",fstype=\"ext4\",mountpoint=\"/srv/data{at:02}\"}}"),
    }
}
