//! The files under `topology/`: those that are fine, and those that break one rule each with what is said about it.

use std::fs;
use std::path::{Path, PathBuf};

use firetower_topology::{Place, read, read_target_groups};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topology")
}

fn read_text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Each `bad/NAME.yaml` gives exactly the lines of `bad/NAME.complaint`.
///
/// `FIRETOWER_WRITE_COMPLAINTS=1` writes them anew, to be read before they are kept.
#[test]
fn a_bad_file_is_met_with_the_complaint_beside_it() {
    let is_written = std::env::var_os("FIRETOWER_WRITE_COMPLAINTS").is_some();
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder().join("bad")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(!files.is_empty());
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let complaints = read(name, &read_text(&path)).err().unwrap_or_default();
        let said: String = complaints.iter().map(|complaint| format!("{complaint}\n")).collect();
        let expected = path.with_extension("complaint");
        if is_written {
            fs::write(&expected, &said).unwrap();
        }
        assert!(!said.is_empty(), "{name} is taken without complaint");
        assert_eq!(said, read_text(&expected), "{name}");
    }
}

#[test]
fn the_demo_is_as_the_demo_expects_it() {
    let text = read_text(&folder().join("demo.yaml"));
    let checked = read("demo.yaml", &text).unwrap();
    assert_eq!(checked.warnings, []);
    let topology = checked.topology;
    let places: Vec<&str> = topology.places().map(|place| place.node().name.as_str()).collect();
    let expected =
        ["global-0", "dub-p0", "dub-s0", "dub-s1", "ams-p0", "ams-s0", "ams-s1", "nyc-p0", "nyc-s0", "nyc-s1"];
    assert_eq!(places, expected);
    let Some(Place::Secondary(datacenter, node)) = topology.find("nyc-s1") else { panic!("nyc-s1 is a secondary") };
    assert_eq!(
        (datacenter.name.as_str(), datacenter.region.as_str(), node.http.as_str()),
        ("nyc", "us-east", "127.0.0.1:6135")
    );
    assert!(topology.find("nyc-s2").is_none());
    let mut targets = 0;
    for datacenter in topology.datacenters() {
        for file in datacenter.scrape_configs.iter().flat_map(|job| &job.file_sd).flat_map(|sd| &sd.files) {
            let groups = read_target_groups(file, &read_text(&folder().join(file))).unwrap();
            targets += groups.iter().map(|group| group.targets.len()).sum::<usize>();
        }
    }
    assert_eq!(targets, 15);
}

#[test]
fn three_regions_are_taken_as_they_are_written() {
    let text = read_text(&folder().join("three-regions.yaml"));
    let checked = read("three-regions.yaml", &text).unwrap();
    assert_eq!(checked.warnings, []);
    let topology = checked.topology;
    assert_eq!((topology.regions.len(), topology.datacenters().count(), topology.globals.len()), (3, 4, 2));
    for datacenter in topology.datacenters() {
        let jobs: Vec<&str> = datacenter.scrape_configs.iter().map(|job| job.job_name.as_str()).collect();
        assert_eq!((datacenter.primaries.len(), jobs), (2, vec!["node", "agent", "probe", "pushgateway"]));
    }
    assert_eq!(topology.retention.bytes, 200 << 30);
}

#[test]
fn keys_of_later_releases_are_taken_with_a_warning() {
    let text = read_text(&folder().join("demo.yaml")) + "tls: { ca: ca.pem }\nauth: {}\nrule_files: [ a.yaml ]\n";
    let lines = text.lines().count();
    let warnings: Vec<String> = read("t.yaml", &text).unwrap().warnings.iter().map(ToString::to_string).collect();
    let expected = [
        format!("t.yaml:{}:1: tls is not in force yet: this release reads over it", lines - 2),
        format!("t.yaml:{lines}:1: rule_files is not in force yet: this release reads over it"),
    ];
    assert_eq!(warnings, expected);
}
