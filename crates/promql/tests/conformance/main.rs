//! Runs Prometheus's own `*.test` scripts from `$CONFORMANCE/promql/cases` over series in memory.
//!
//! Without `CONFORMANCE` there is nothing to run. Cases are left out that need what this release refuses; all others
//! must pass, as instants and as the middle step of a range, over all series and over a tree whose leaves have some each.

#[cfg(test)]
mod features;
#[cfg(test)]
mod judge;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod script;
#[cfg(test)]
mod tree;

use std::path::{Path, PathBuf};

use firetower_promql::{Limits, Query, Question, Steps};
use script::Command;

use crate::features::Features;
use crate::memory::Memory;
use crate::tree::Tree;

/// How many cases there are at least that no left out feature is needed for: fewer would mean that they are not found.
const CASES_MIN: usize = 487;

#[test]
fn prometheus_scripts_pass() {
    let Some(folder) = folder() else { return };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder.join("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
    files.sort();
    let (mut run, mut left_out, mut failed) = (0, 0, Vec::new());
    for path in files {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let (mut memory, mut features) = (Memory::default(), Features::of_script(&stem));
        for command in script::parse(&std::fs::read_to_string(&path).unwrap()) {
            match command {
                Command::Clear => (memory, features) = (Memory::default(), Features::of_script(&stem)),
                Command::Load(load) => {
                    features.learn(&load);
                    memory.load(load);
                }
                Command::Case(case) if features.are_needed_by(&case) => left_out += 1,
                Command::Case(case) => {
                    run += 1;
                    let mut check = |place: &str, asked: judge::Asked<'_>| {
                        if let Err(why) = judge::run(&case, asked) {
                            failed.push(format!("{stem}:{} {place}: {}\n    {why}", case.line, case.query));
                        }
                    };
                    check("alone", &|query, question| {
                        query.evaluate(&memory, question, &Limits::PROMETHEUS, &|| false)
                    });
                    let tree = Tree::of(&memory);
                    check("in a tree", &|query, question| {
                        query.evaluate_below(&tree, &tree, question, &Limits::PROMETHEUS, &|| false)
                    });
                }
            }
        }
    }
    println!("{run} cases run, {} failed, {left_out} left out", failed.len());
    assert!(failed.is_empty(), "{} of {run} cases failed:\n{}", failed.len(), failed.join("\n"));
    assert!(run >= CASES_MIN, "only {run} cases were found");
}

#[test]
fn the_compliance_queries_evaluate() {
    let Some(folder) = folder() else { return };
    let text = std::fs::read_to_string(folder.join("queries.jsonl")).unwrap();
    let memory = Memory::default();
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let query = query_of(line);
        let steps = Steps::range(
            firetower_model::Timestamp::from_millis(0),
            firetower_model::Timestamp::from_millis(600_000),
            std::time::Duration::from_secs(10),
        );
        let question = Question { steps, look_back: judge::LOOK_BACK };
        let answer =
            Query::parse(&query).and_then(|query| query.evaluate(&memory, &question, &Limits::PROMETHEUS, &|| false));
        // What fails for its result only cannot fail over nothing.
        if let Err(error) = answer {
            assert!(line.contains("\"should_fail\": true"), "{query}: {error}");
        }
    }
}

/// Returns the query of a line like `{"query": "…"}`.
fn query_of(line: &str) -> String {
    let (_, text) = line.split_once("\"query\": \"").expect("each line has a query");
    let mut query = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next().filter(|c| *c != '"') {
        query.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    query
}

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("CONFORMANCE")?;
    Some(Path::new(&folder).join("promql"))
}
