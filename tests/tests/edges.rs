//! The crates know each other as ARCHITECTURE.md says, and only downwards.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The heading of the table of edges.
const HEADING: &str = "## Edges";

/// A crate by its folder's name.
type Name = String;

/// Who knows whom.
type Edges = BTreeMap<Name, BTreeSet<Name>>;

/// What a crate is, as the table has it; the order is that of the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Words,
    Rule,
    Mover,
    Surface,
    Role,
    Binary,
    Measure,
    Proof,
}

impl Layer {
    fn parse(word: &str) -> Option<Layer> {
        Some(match word {
            "words" => Layer::Words,
            "rule" => Layer::Rule,
            "mover" => Layer::Mover,
            "surface" => Layer::Surface,
            "role" => Layer::Role,
            "binary" => Layer::Binary,
            "measure" => Layer::Measure,
            "proof" => Layer::Proof,
            _ => return None,
        })
    }
}

#[derive(Debug, Default)]
struct Table {
    layers: BTreeMap<Name, Layer>,
    edges: Edges,
}

#[test]
fn edges_are_those_of_the_table() -> Result<()> {
    let (written, real) = (table()?.edges, real_edges()?);
    let mut differences = Vec::new();
    for name in written.keys().chain(real.keys()).collect::<BTreeSet<_>>() {
        match (written.get(name), real.get(name)) {
            (Some(_), None) => differences.push(format!("{name} is in the table and not in the workspace")),
            (None, Some(_)) => differences.push(format!("{name} is in the workspace and not in the table")),
            (Some(written), Some(real)) => {
                differences.extend(written.difference(real).map(|other| format!("{name} does not know {other}")));
                differences.extend(real.difference(written).map(|other| format!("{name} knows {other}")));
            }
            (None, None) => {}
        }
    }
    ensure!(differences.is_empty(), "unlike the table in ARCHITECTURE.md:\n{}", differences.join("\n"));
    Ok(())
}

#[test]
fn edges_go_down_only() -> Result<()> {
    let table = table()?;
    let mut faults = Vec::new();
    for (name, others) in real_edges()? {
        for other in others {
            let layer = |name: &str| table.layers.get(name).with_context(|| format!("{name} has no layer"));
            if !is_allowed(layer(&name)?, layer(&other)?, &other) {
                faults.push(format!("{name} must not know {other}"));
            }
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// Returns whether a crate of layer `from` may know `other`, of layer `to`.
///
/// Rules and movers do not know each other; `daemon` is what every mover may stand on. Of the surface `query` stands on
/// `relay`, and `api` on `query`.
fn is_allowed(from: &Layer, to: &Layer, other: &str) -> bool {
    match (from, to) {
        (Layer::Mover, Layer::Mover) => other == "daemon",
        (Layer::Mover, Layer::Rule) => false,
        (Layer::Surface, Layer::Surface) => matches!(other, "relay" | "query"),
        (from, to) => to < from,
    }
}

#[test]
fn the_rule_of_layers_refuses_what_it_should() {
    let cases = [
        (Layer::Words, Layer::Words, "model", false),
        (Layer::Rule, Layer::Words, "model", true),
        (Layer::Rule, Layer::Rule, "health", false),
        (Layer::Rule, Layer::Mover, "daemon", false),
        (Layer::Mover, Layer::Rule, "topology", false),
        (Layer::Mover, Layer::Mover, "daemon", true),
        (Layer::Mover, Layer::Mover, "store", false),
        (Layer::Surface, Layer::Mover, "store", true),
        (Layer::Surface, Layer::Surface, "api", false),
        (Layer::Surface, Layer::Surface, "query", true),
        (Layer::Role, Layer::Role, "global", false),
        (Layer::Role, Layer::Binary, "firetower", false),
        (Layer::Binary, Layer::Role, "agent", true),
    ];
    for (from, to, other, expected) in cases {
        assert_eq!(is_allowed(&from, &to, other), expected, "{from:?} to {other}, {to:?}");
    }
}

/// Reads the table: one row a crate, of its name, its layer, and those that it knows.
fn table() -> Result<Table> {
    let text = std::fs::read_to_string(root()?.join("ARCHITECTURE.md")).context("read ARCHITECTURE.md")?;
    let section = text.split_once(&format!("\n{HEADING}\n")).context("ARCHITECTURE.md has no table of edges")?.1;
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let mut table = Table::default();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, layer, others] = cells[..] else { anyhow::bail!("a row needs three cells: {row}") };
        let name = name.trim_matches('`').to_owned();
        let layer = Layer::parse(layer).with_context(|| format!("{layer:?} is no layer: {row}"))?;
        let others = others.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        ensure!(table.edges.insert(name.clone(), others).is_none(), "{name} has two rows");
        table.layers.insert(name, layer);
    }
    Ok(table)
}

/// Asks cargo which package of the workspace depends on which; what only tests and build scripts need is no edge.
fn real_edges() -> Result<Edges> {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root()?)
        .output()
        .context("run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("parse cargo's metadata")?;

    let mut edges = Edges::new();
    for package in metadata["packages"].as_array().context("packages")? {
        let dependencies = package["dependencies"].as_array().context("dependencies")?;
        let is_edge = |dependency: &&serde_json::Value| dependency["path"].is_string() && dependency["kind"].is_null();
        let others = dependencies.iter().filter(is_edge).map(|dependency| folder(&dependency["path"]));
        let name = folder_of_manifest(&package["manifest_path"])?;
        edges.insert(name, others.collect::<Result<_>>()?);
    }
    Ok(edges)
}

fn folder_of_manifest(path: &serde_json::Value) -> Result<Name> {
    let folder = Path::new(path.as_str().context("manifest_path")?).parent().context("a manifest lies in a folder")?;
    folder_name(folder)
}

fn folder(path: &serde_json::Value) -> Result<Name> {
    folder_name(Path::new(path.as_str().context("path")?))
}

fn folder_name(path: &Path) -> Result<Name> {
    let name = path.file_name().and_then(|name| name.to_str()).with_context(|| format!("name of {path:?}"))?;
    Ok(name.to_owned())
}

fn root() -> Result<PathBuf> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(tests.parent().context("the tests lie in the repository")?.to_owned())
}
