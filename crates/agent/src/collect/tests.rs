//! What the collectors write of fixed input.

use std::collections::BTreeSet;
use std::time::Duration;

use procfs::net::InterfaceDeviceStatus;
use procfs::prelude::{FromBufRead, FromRead};
use procfs::sys::fs::FileState;
use procfs::{DiskStats, LoadAverage, MountEntry, VmStat};

use super::filesystem::{Filesystem, Space};
use super::{cpu, diskstats, filefd, filesystem, loadavg, meminfo, netdev, stat, time, uname, vmstat};
use crate::page::Page;

const STAT: &str = include_str!("../../testdata/stat");

fn mounts() -> Vec<MountEntry> {
    Vec::from_buf_read(include_bytes!("../../testdata/mounts").as_slice()).unwrap()
}

fn filesystems() -> Vec<Filesystem> {
    let space = Space { size_bytes: 1_000, free_bytes: 500, avail_bytes: 450, files: 100, files_free: 90 };
    let filesystem = |mount_point: &str, space| Filesystem {
        device: "/dev/vda".to_owned(),
        fstype: "ext4".to_owned(),
        mount_point: mount_point.to_owned(),
        is_read_only: false,
        space,
    };
    vec![filesystem("/", Some(space)), filesystem("/gone", None)]
}

/// Returns what all collectors write of the files in `testdata`.
fn page() -> String {
    let mut page = Page::default();
    let stats = stat::parse(STAT).unwrap();
    cpu::write(&mut page, &cpu::cpu_names(STAT), &stats);
    stat::write(&mut page, stat::interrupts(STAT), &stats);
    let disks = DiskStats::from_buf_read(include_bytes!("../../testdata/diskstats").as_slice()).unwrap();
    diskstats::write(&mut page, &disks.0);
    filefd::write(&mut page, &FileState { allocated: 637, free: 0, max: u64::MAX });
    filesystem::write(&mut page, &filesystems());
    loadavg::write(&mut page, &LoadAverage::from_read(b"0.11 0.72 1.17 1/81 4000".as_slice()).unwrap());
    meminfo::write(&mut page, include_str!("../../testdata/meminfo")).unwrap();
    let devices = InterfaceDeviceStatus::from_buf_read(include_bytes!("../../testdata/net_dev").as_slice()).unwrap();
    netdev::write(&mut page, &devices.0);
    time::write(&mut page, Duration::from_millis(1_795_368_656_250));
    uname::write(&mut page, &rustix::system::uname());
    vmstat::write(&mut page, &VmStat::from_buf_read(include_bytes!("../../testdata/vmstat").as_slice()).unwrap().0);
    page.into_text()
}

#[test]
fn names_and_types_are_those_of_node_exporter() {
    let expected: BTreeSet<&str> = include_str!("../../testdata/node_exporter-1.5.0.names").lines().collect();
    let written = page();
    let written: BTreeSet<&str> = written.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let about_collectors: BTreeSet<&str> =
        ["node_scrape_collector_duration_seconds gauge", "node_scrape_collector_success gauge"].into();
    assert_eq!(written.difference(&expected).collect::<Vec<_>>(), Vec::<&&str>::new(), "unknown to node_exporter");
    let missing: BTreeSet<&str> = expected.difference(&written).copied().collect();
    assert_eq!(missing, about_collectors, "missing here; those about collectors are added to the whole page");
}

#[test]
fn lines_say_what_the_kernel_said() {
    let page = page();
    let expected = [
        "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 16.02",
        "node_cpu_seconds_total{cpu=\"2\",mode=\"steal\"} 2.68",
        "node_cpu_guest_seconds_total{cpu=\"0\",mode=\"user\"} 0.12",
        "node_boot_time_seconds 1795368656",
        "node_intr_total 1236392",
        "node_procs_running 3",
        "node_disk_read_bytes_total{device=\"vda\"} 989631488",
        "node_disk_io_time_seconds_total{device=\"vda\"} 12.136",
        "node_disk_io_now{device=\"vda\"} 2",
        "node_disk_writes_completed_total{device=\"nvme0n1\"} 20",
        "node_filefd_maximum 18446744073709551615",
        "node_filesystem_avail_bytes{device=\"/dev/vda\",fstype=\"ext4\",mountpoint=\"/\"} 450",
        "node_filesystem_device_error{device=\"/dev/vda\",fstype=\"ext4\",mountpoint=\"/gone\"} 1",
        "node_load1 0.11",
        "node_load15 1.17",
        "node_memory_Active_anon_bytes 1605632",
        "node_memory_HugePages_Total 0",
        "node_network_receive_bytes_total{device=\"eth0\"} 18446744073709551615",
        "node_network_transmit_carrier_total{device=\"eth0\"} 13",
        "node_time_seconds 1795368656.25",
        "node_vmstat_pgmajfault 2211",
    ];
    for line in expected {
        assert!(page.lines().any(|written| written == line), "no line {line}");
    }
    for absent in
        ["loop0", "vda1", "nr_free_pages", "avail_bytes{device=\"/dev/vda\",fstype=\"ext4\",mountpoint=\"/gone"]
    {
        assert!(!page.contains(absent), "{absent} is on the page");
    }
}

#[test]
fn mounts_are_told_of_once_and_without_pseudo_filesystems() {
    let mounts = mounts();
    let told: Vec<&str> = filesystem::select(&mounts).iter().map(|mount| mount.fs_file.as_str()).collect();
    assert_eq!(told, ["/", "/run", "/srv/two\\040words"]);
}

#[test]
fn partitions_and_memory_devices_are_skipped() {
    let cases = [
        ("sda", false),
        ("sda1", true),
        ("xvdf2", true),
        ("sdaa1", false),
        ("nvme0n1", false),
        ("nvme0n1p2", true),
        ("nvmep2", false),
        ("loop7", true),
        ("ram0", true),
        ("fd0", true),
        ("dm-0", false),
        ("md127", false),
        ("mmcblk0", false),
    ];
    for (device, expected) in cases {
        assert_eq!(diskstats::is_skipped(device), expected, "{device}");
    }
}

#[test]
fn memory_lines_become_metrics() {
    let cases = [
        ("MemTotal:       24684084 kB", Some(("node_memory_MemTotal_bytes", 25_276_502_016))),
        ("Inactive(file):   677360 kB", Some(("node_memory_Inactive_file_bytes", 693_616_640))),
        ("HugePages_Free:        7", Some(("node_memory_HugePages_Free", 7))),
        ("HugePages_Free:        7 pages", None),
        ("MemTotal 1 kB", None),
        ("MemTotal: -1 kB", None),
        ("MemTotal: 18446744073709551615 kB", None),
    ];
    for (line, expected) in cases {
        let parsed = meminfo::parse(line);
        assert_eq!(parsed.as_ref().map(|(name, value)| (name.as_str(), *value)), expected, "{line}");
    }
}
