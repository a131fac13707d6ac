//! What network devices received and sent.

use std::collections::HashMap;

use procfs::net::{DeviceStatus, dev_status};

use crate::collect::Error;
use crate::page::{Kind, Page};

/// Writes the counts of the host's network devices.
pub(crate) fn collect(page: &mut Page) -> Result<(), Error> {
    write(page, &dev_status()?);
    Ok(())
}

type Column = (&'static str, &'static str, fn(&DeviceStatus) -> u64);

const COLUMNS: [Column; 16] = [
    ("receive_bytes", "Bytes received.", |d| d.recv_bytes),
    ("receive_compressed", "Compressed packets received.", |d| d.recv_compressed),
    ("receive_drop", "Packets received and dropped.", |d| d.recv_drop),
    ("receive_errs", "Packets received with errors.", |d| d.recv_errs),
    ("receive_fifo", "Overruns while receiving.", |d| d.recv_fifo),
    ("receive_frame", "Packets received with framing errors.", |d| d.recv_frame),
    ("receive_multicast", "Multicast packets received.", |d| d.recv_multicast),
    ("receive_packets", "Packets received.", |d| d.recv_packets),
    ("transmit_bytes", "Bytes sent.", |d| d.sent_bytes),
    ("transmit_carrier", "Losses of carrier while sending.", |d| d.sent_carrier),
    ("transmit_colls", "Collisions while sending.", |d| d.sent_colls),
    ("transmit_compressed", "Compressed packets sent.", |d| d.sent_compressed),
    ("transmit_drop", "Packets dropped instead of sent.", |d| d.sent_drop),
    ("transmit_errs", "Packets not sent for errors.", |d| d.sent_errs),
    ("transmit_fifo", "Overruns while sending.", |d| d.sent_fifo),
    ("transmit_packets", "Packets sent.", |d| d.sent_packets),
];

/// Writes `devices`, in the order of their names.
pub(crate) fn write(page: &mut Page, devices: &HashMap<String, DeviceStatus>) {
    let mut devices: Vec<&DeviceStatus> = devices.values().collect();
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    for (what, help, value) in COLUMNS {
        let name = format!("node_network_{what}_total");
        let mut family = page.family(&name, Kind::Counter, help);
        for device in &devices {
            family.line(&[("device", &device.name)], value(device));
        }
    }
}
