use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

fn topology() -> Topology {
    load::topology(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/three-regions.yaml"))).unwrap()
}

#[test]
fn nothing_is_overwritten_unless_it_is_renewed() {
    let (folder, topology) = (tempfile::tempdir().unwrap(), topology());
    let folder = folder.path().join("certs");
    let servers = [Server { name: "agent".into(), hosts: vec!["localhost".into(), "10.0.0.9".into()] }];
    let order = |overwrite| Order { folder: &folder, topology: &topology, servers: &servers, days: 30, overwrite };
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert!(make(&order(Overwrite::Certificates)).is_err(), "there is no authority to renew with");

    let count = topology.places().count();
    let made = make(&order(Overwrite::Never)).unwrap();
    assert_eq!(made.len(), 2 * (1 + count + servers.len()) + 2);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), made.len());
    for entry in fs::read_dir(&folder).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let is_secret = name.ends_with("-key.pem") || name.ends_with(".token");
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if is_secret { 0o600 } else { 0o644 }, "{name}");
    }
    let kept = [CA, CA_KEY, TOKENS[0], TOKENS[1]].map(read);
    assert!(kept[2].trim().len() == 64 && kept[2] != kept[3]);
    let certificate = read("dub-s0.pem");
    let error = make(&order(Overwrite::Never)).map(drop).unwrap_err().to_string();
    assert!(error.starts_with("refuse to overwrite ") && error.contains("dub-s0-key.pem"), "{error}");
    assert_eq!(certificate, read("dub-s0.pem"));

    let made = make(&order(Overwrite::Certificates)).unwrap();
    assert_eq!(made.len(), 2 * (count + servers.len()));
    assert_ne!(certificate, read("dub-s0.pem"));
    assert_eq!(kept, [CA, CA_KEY, TOKENS[0], TOKENS[1]].map(read));
}

#[test]
fn a_certificate_names_its_node_and_where_that_listens() {
    let (folder, topology) = (tempfile::tempdir().unwrap(), topology());
    fn order<'a>(folder: &'a Path, topology: &'a Topology, servers: &'a [Server]) -> Order<'a> {
        Order { folder, topology, servers, days: 30, overwrite: Overwrite::Never }
    }
    let leaves = leaves(&order(folder.path(), &topology, &[])).unwrap();
    let primary = leaves.iter().find(|leaf| leaf.name == "dub-p0").unwrap();
    assert_eq!(primary.hosts, ["dub-p0", "p0.dub.example.net", "localhost", "127.0.0.1", "::1"]);
    let check = |name: &str, host: &str, expected: &str| {
        let servers = [Server { name: name.into(), hosts: vec![host.into()] }];
        let error = make(&order(folder.path(), &topology, &servers)).map(drop).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("agent", "dub-p0", "dub-p0 is the name of a monitor");
    check("ca", "localhost", "two files would be called ca.pem");
    check("dub-p0", "localhost", "two files would be called dub-p0.pem");
}

#[test]
fn the_keys_to_put_into_a_topology_can_be_read() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/three-regions.yaml")).unwrap();
    let (start, rest) = text.split_once("# `firetower certs` makes").unwrap();
    let (_, rest) = rest.split_once("\nglobal:").unwrap();
    let said = keys(Path::new("t/certs"), Path::new("t"));
    let (_, said) = said.split_once("\n\n").unwrap();
    let checked = firetower_topology::read("t.yaml", &format!("{start}{said}\nglobal:{rest}")).unwrap();
    assert_eq!(checked.topology.tls.unwrap().of_node("dub-s0").key_file, "certs/dub-s0-key.pem");
    assert_eq!(checked.topology.auth.unwrap().read_token_files, ["certs/read.token"]);
}

#[test]
fn what_a_topology_names_is_made_where_it_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let demo = load::topology(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/demo.yaml"))).unwrap();
    let agents = [Server { name: "agent".into(), hosts: vec!["127.0.0.1".into()] }];
    let mend = || make_missing(&demo, folder.path(), &agents).unwrap().is_some();
    assert!(mend());
    assert!(!mend(), "all is there");
    fs::remove_file(folder.path().join("demo-certs/agent-key.pem")).unwrap();
    assert!(mend() && !mend());
    let into = folder.path().join("demo-certs");
    make(&Order { folder: &into, topology: &demo, servers: &agents, days: 1, overwrite: Overwrite::Certificates })
        .unwrap();
    assert!(mend() && !mend(), "they end within a day");
    let mut other = demo.clone();
    other.tls.as_mut().unwrap().key_file = "demo-certs/{node}.key".into();
    let error = make_missing(&other, folder.path(), &agents).unwrap_err().to_string();
    assert!(error.contains("global-0.key is missing"), "{error}");
    assert_eq!(make_missing(&Topology { tls: None, ..other }, folder.path(), &[]).unwrap(), None);
}
