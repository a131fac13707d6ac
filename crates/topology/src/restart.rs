//! What a reload cannot change in a running monitor.

use crate::topology::{Node, Place, Topology};

/// Returns the keys that hold for the monitor `node` only after its restart, and that differ between `before`, the
/// topology that it was started with, and `after`.
///
/// Everything else holds from the reload on, as far as it concerns that monitor.
pub fn needing_restart(before: &Topology, after: &Topology, node: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut note = |is_changed: bool, key: &str| {
        if is_changed {
            keys.push(key.to_owned());
        }
    };
    note(before.defaults.window != after.defaults.window, "defaults.window");
    note(before.defaults.late_window != after.defaults.late_window, "defaults.late_window");
    note(before.store_memory != after.store_memory, "store_memory");
    note(before.inbox != after.inbox, "inbox");
    note(before.outbox != after.outbox, "outbox");
    note(before.queries != after.queries, "queries");
    note(before.tls != after.tls, "tls");
    note(before.auth != after.auth, "auth");
    let (Some(was), Some(is)) = (before.find(node), after.find(node)) else { return keys };
    note(was.node().http != is.node().http, "http");
    note(was.node().grpc != is.node().grpc, "grpc");
    let passes_rows_on = !matches!(was, Place::Global(_));
    note(passes_rows_on && before.rows != after.rows, "rows");
    note(passes_rows_on && before.promote != after.promote, "promote");
    match (was, is) {
        (Place::Global(_), Place::Global(_)) => note(before.services != after.services, "services"),
        (Place::Primary(was, _), Place::Primary(is, _)) => {
            note(dialled(&before.globals) != dialled(&after.globals), "global");
            note((&was.name, &was.region) != (&is.name, &is.region), "datacenter");
        }
        (Place::Secondary(was, _), Place::Secondary(is, _)) => {
            note(before.receive != after.receive, "receive");
            note(dialled(&was.primaries) != dialled(&is.primaries), "primaries");
            note((&was.name, &was.region) != (&is.name, &is.region), "datacenter");
        }
        _ => note(true, "role"),
    }
    keys
}

/// Returns what a child needs to know of its parents.
fn dialled(parents: &[Node]) -> Vec<(&str, Option<&str>)> {
    parents.iter().map(|parent| (parent.name.as_str(), parent.grpc.as_deref())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read;

    const TREE: &str = "firetower: 1
global: [ { node: g, http: 127.0.0.1:1, grpc: 127.0.0.1:2 } ]
regions:
  - region: eu
    datacenters:
      - datacenter: dub
        primaries: [ { node: p, http: 127.0.0.1:3, grpc: 127.0.0.1:4 } ]
        secondaries: [ { node: s, http: 127.0.0.1:5 } ]
        scrape_configs: [ { job_name: a } ]
";

    #[test]
    fn each_monitor_names_what_waits_for_its_restart() {
        let topology = |text: &str| read("t.yaml", text).unwrap_or_else(|faults| panic!("{faults:?}")).topology;
        let before = topology(TREE);
        let check = |was: &str, is: &str, expected: [&[&str]; 3]| {
            let after = topology(&TREE.replacen(was, is, 1));
            for (node, expected) in ["g", "p", "s"].into_iter().zip(expected) {
                assert_eq!(needing_restart(&before, &after, node), *expected, "{node}: {was:?} -> {is:?}");
            }
        };
        check("job_name: a", "job_name: b", [&[], &[], &[]]);
        check("firetower: 1", "firetower: 1\nretention: { raw: 2h }", [&[], &[], &[]]);
        check(
            "{ node: s, http: 127.0.0.1:5 }",
            "{ node: s, http: 127.0.0.1:5 }, { node: t, http: 127.0.0.1:6 }",
            [&[], &[], &[]],
        );
        let all: &[&str] = &["defaults.window", "store_memory"];
        check("firetower: 1", "firetower: 1\ndefaults: { window: 5s }\nstore_memory: 99MiB", [all; 3]);
        check("firetower: 1", "firetower: 1\nrows: { per_job: 9 }", [&[], &["rows"], &["rows"]]);
        check("firetower: 1", "firetower: 1\nreceive: { window: 9m }", [&[], &[], &["receive"]]);
        check("127.0.0.1:4", "127.0.0.1:9", [&[], &["grpc"], &["primaries"]]);
        check("127.0.0.1:2", "127.0.0.1:9", [&["grpc"], &["global"], &[]]);
        check("127.0.0.1:5", "127.0.0.1:9", [&[], &[], &["http"]]);
        check("datacenter: dub", "datacenter: ams", [&[], &["datacenter"], &["datacenter"]]);
    }
}
