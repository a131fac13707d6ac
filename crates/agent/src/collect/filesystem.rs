//! Space on filesystems.

use std::collections::HashSet;
use std::path::Path;

use procfs::MountEntry;

use crate::collect::Error;
use crate::page::{Kind, Page};

/// Writes the space of every mounted filesystem that holds files on a device.
pub(crate) fn collect(page: &mut Page) -> Result<(), Error> {
    let mounts = procfs::mounts()?;
    let filesystems: Vec<Filesystem> = select(&mounts).into_iter().map(Filesystem::read).collect();
    write(page, &filesystems);
    Ok(())
}

/// A mounted filesystem.
#[derive(Debug)]
pub(crate) struct Filesystem {
    /// The device or what stands for one.
    pub(crate) device: String,
    /// The type.
    pub(crate) fstype: String,
    /// Where it is mounted.
    pub(crate) mount_point: String,
    /// Whether nothing may be written to it.
    pub(crate) is_read_only: bool,
    /// Its space; none if it does not tell.
    pub(crate) space: Option<Space>,
}

/// The space of a filesystem.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    /// All of it.
    pub(crate) size_bytes: u64,
    /// What is not in use.
    pub(crate) free_bytes: u64,
    /// What ordinary users may still use; at most `free_bytes`.
    pub(crate) avail_bytes: u64,
    /// How many files it can hold.
    pub(crate) files: u64,
    /// How many more.
    pub(crate) files_free: u64,
}

impl Filesystem {
    fn read(mount: &MountEntry) -> Filesystem {
        // What `procfs` leaves of the kernel's escapes.
        let mount_point = mount.fs_file.replace("\\040", " ");
        Filesystem {
            device: mount.fs_spec.replace("\\040", " "),
            fstype: mount.fs_vfstype.clone(),
            is_read_only: mount.fs_mntops.contains_key("ro"),
            space: Space::read(Path::new(&mount_point)).ok(),
            mount_point,
        }
    }
}

impl Space {
    /// Asks the filesystem mounted at `mount_point`; hangs as long as it does.
    pub(crate) fn read(mount_point: &Path) -> rustix::io::Result<Space> {
        let told = rustix::fs::statvfs(mount_point)?;
        let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
        Ok(Space {
            size_bytes: bytes(told.f_blocks),
            free_bytes: bytes(told.f_bfree),
            avail_bytes: bytes(told.f_bavail),
            files: told.f_files,
            files_free: told.f_ffree,
        })
    }
}

/// Returns the mounts that are told of, each pair of device and mount point once.
pub(crate) fn select(mounts: &[MountEntry]) -> Vec<&MountEntry> {
    let mut seen = HashSet::new();
    let told = mounts.iter().filter(|mount| !is_pseudo(&mount.fs_vfstype) && !is_skipped(&mount.fs_file));
    told.filter(|mount| seen.insert((mount.fs_spec.as_str(), mount.fs_file.as_str()))).collect()
}

type Column = (&'static str, &'static str, fn(&Space) -> u64);

const COLUMNS: [Column; 5] = [
    ("avail_bytes", "Bytes that ordinary users may still use.", |space| space.avail_bytes),
    ("files", "Files that the filesystem can hold.", |space| space.files),
    ("files_free", "Files that the filesystem can still take.", |space| space.files_free),
    ("free_bytes", "Bytes that are not in use.", |space| space.free_bytes),
    ("size_bytes", "Bytes of the filesystem.", |space| space.size_bytes),
];

/// Writes `filesystems`; those that do not tell their space have `device_error` only.
pub(crate) fn write(page: &mut Page, filesystems: &[Filesystem]) {
    for (what, help, value) in COLUMNS {
        let name = format!("node_filesystem_{what}");
        let mut family = page.family(&name, Kind::Gauge, help);
        for filesystem in filesystems {
            if let Some(space) = &filesystem.space {
                family.line(&labels(filesystem), value(space));
            }
        }
    }
    let help = "Whether the filesystem does not tell its space.";
    let mut errors = page.family("node_filesystem_device_error", Kind::Gauge, help);
    for filesystem in filesystems {
        errors.line(&labels(filesystem), u8::from(filesystem.space.is_none()));
    }
    let help = "Whether nothing may be written.";
    let mut read_only = page.family("node_filesystem_readonly", Kind::Gauge, help);
    for filesystem in filesystems.iter().filter(|filesystem| filesystem.space.is_some()) {
        read_only.line(&labels(filesystem), u8::from(filesystem.is_read_only));
    }
}

fn labels(filesystem: &Filesystem) -> [(&'static str, &str); 3] {
    [("device", &filesystem.device), ("fstype", &filesystem.fstype), ("mountpoint", &filesystem.mount_point)]
}

/// Returns whether a filesystem of this type holds no files on a device of its own.
///
/// Source: the default of node_exporter's `--collector.filesystem.fs-types-exclude`.
fn is_pseudo(fstype: &str) -> bool {
    const PSEUDO: [&str; 24] = [
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "fusectl",
        "hugetlbfs",
        "iso9660",
        "mqueue",
        "nsfs",
        "overlay",
        "proc",
        "procfs",
        "pstore",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "squashfs",
        "sysfs",
        "tracefs",
    ];
    PSEUDO.contains(&fstype)
}

/// Returns whether what is mounted there is the system's or a container's own.
///
/// Source: the default of node_exporter's `--collector.filesystem.mount-points-exclude`.
fn is_skipped(mount_point: &str) -> bool {
    let is_below = |parent: &str| mount_point.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'));
    let is_at = |place: &str| mount_point == place || is_below(place);
    ["/dev", "/proc", "/sys"].into_iter().any(is_at)
        || ["/run/credentials", "/var/lib/docker", "/var/lib/containers/storage"].into_iter().any(is_below)
}
