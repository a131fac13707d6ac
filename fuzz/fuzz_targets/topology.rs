//! Topologies, Prometheus's configurations, and lists of targets: no text may do worse than be complained about.
#![no_main]

use firetower_topology::{read, read_listed_groups, read_scrape_config, read_target_groups};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let complaints = match first % 4 {
        0 => read("f", text).err(),
        1 => read_scrape_config("f", text).err(),
        2 => read_target_groups("f", text).err(),
        _ => read_listed_groups("f", text).err(),
    };
    assert_ne!(complaints.as_ref().map(Vec::len), Some(0), "refused without a reason");
    for complaint in complaints.into_iter().flatten() {
        assert!(complaint.to_string().starts_with("f:"), "{complaint}");
    }
});
