//! The files under `topology/`: those that are fine, and those that break one rule each with what is said about it.

use std::fs;
use std::path::{Path, PathBuf};

use firetower_topology::{Complaint, Place, SAMPLE_LIMIT, key_reference, read, read_scrape_config, read_target_groups};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topology")
}

fn read_text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a reader says about the text of a file, line by line.
type Said = fn(&str, &str) -> Vec<Complaint>;

/// Holds what is said about each file of a folder equal to what is beside it, in a file with another `extension`.
///
/// `FIRETOWER_WRITE_COMPLAINTS=1` writes those anew, to be read before they are kept.
fn check(files: &str, extension: &str, say: Said) {
    let is_written = std::env::var_os("FIRETOWER_WRITE_COMPLAINTS").is_some();
    let (inside, ending) = files.rsplit_once("/*.").expect("a folder, and how its files end");
    let files = fs::read_dir(folder().join(inside)).expect("the folder is there").flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|own| own == ending)).collect();
    files.sort();
    assert!(!files.is_empty());
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let said: String = say(&name, &read_text(&path)).iter().map(|complaint| format!("{complaint}\n")).collect();
        let expected = path.with_extension(extension);
        if is_written {
            fs::write(&expected, &said).expect("the folder can be written to");
        }
        assert!(!said.is_empty(), "{name} is taken without a word");
        assert_eq!(said, read_text(&expected), "{name}");
    }
}

#[test]
fn a_bad_file_is_met_with_the_complaint_beside_it() {
    check("bad/*.yaml", "complaint", |name, text| read(name, text).err().unwrap_or_default());
    check("bad/prometheus/*.yml", "complaint", |name, text| read_scrape_config(name, text).err().unwrap_or_default());
}

#[test]
fn a_file_that_does_not_do_all_it_says_is_met_with_the_warning_beside_it() {
    check("warned/*.yaml", "warning", |name, text| read(name, text).unwrap().warnings);
    check("warned/*.yml", "warning", |name, text| read_scrape_config(name, text).unwrap().warnings);
}

/// `FIRETOWER_WRITE_COMPLAINTS=1` writes it anew.
#[test]
fn the_reference_of_keys_is_what_the_reader_goes_by() {
    let path = folder().join("scrape_configs.md");
    if std::env::var_os("FIRETOWER_WRITE_COMPLAINTS").is_some() {
        fs::write(&path, key_reference()).unwrap();
    }
    assert_eq!(read_text(&path), key_reference());
}

/// Every key that the reference calls supported is in the example with everything.
#[test]
fn everything_is_taken_without_a_word() {
    let text = read_text(&folder().join("scrape-everything.yaml"));
    let checked = read("scrape-everything.yaml", &text).unwrap();
    assert_eq!(checked.warnings, []);
    let jobs = &checked.topology.datacenters().next().unwrap().scrape_configs;
    let node = &jobs[0];
    let found = (node.static_groups.len(), node.file_sd.len(), node.http_sd.len(), node.dns_sd.len());
    assert_eq!((found, node.relabel.len(), node.metric_relabel.len()), ((1, 1, 2, 5), 10, 2));
    assert_eq!((node.sample_limit, node.target_limit), (2000, 100));
    assert!(jobs[1..].iter().all(|job| (job.sample_limit, job.target_limit) == (SAMPLE_LIMIT, 5000)));
    assert_eq!(checked.topology.external_labels.len(), 3);

    let reference = key_reference();
    let of_jobs = reference.split("## A Prometheus configuration file").next().unwrap();
    for line in of_jobs.lines().filter(|line| line.contains("| supported |")) {
        let key = line.split('`').nth(1).unwrap();
        assert!(text.contains(&format!("{key}:")), "{key}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let text = read_text(&folder().join("scrape-everything.yaml"));
    let shown = format!("{:?}", read("scrape-everything.yaml", &text).unwrap());
    for secret in ["abc", "Zmlyb2Q6d29yZA", "\"word\"", "MIIB"] {
        assert!(text.contains(secret.trim_matches('"')) && !shown.contains(secret), "{secret}");
    }
    let bad = read_text(&folder().join("bad/http-access.complaint"))
        + &read_text(&folder().join("bad/discoveries.complaint"));
    assert!(!bad.contains("abc") && !bad.contains("me:word"));
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
    let files = topology.tls.as_ref().unwrap().of_node("nyc-s1");
    let files = [files.ca_file, files.cert_file, files.key_file];
    assert_eq!(files, ["ca.pem", "nyc-s1.pem", "nyc-s1-key.pem"].map(|name| format!("demo-certs/{name}")));
    let auth = topology.auth.as_ref().unwrap();
    assert_eq!(auth.read_token_files, ["demo-certs/read.token"]);
    assert_eq!(auth.operate_token_files, ["demo-certs/operate.token"]);
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
    let text = read_text(&folder().join("demo.yaml")) + "alerting: {}\nrule_files: [ a.yaml ]\n";
    let lines = text.lines().count();
    let warnings: Vec<String> = read("t.yaml", &text).unwrap().warnings.iter().map(ToString::to_string).collect();
    let expected = [format!("t.yaml:{lines}:1: rule_files is not in force yet: this release reads over it")];
    assert_eq!(warnings, expected);
}
