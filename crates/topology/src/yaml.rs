//! YAML read into a tree in which every key and value knows its place.
//!
//! Nothing is typed here: `15`, `15s` and `true` are all text. Aliases and merge keys (`<<`) are resolved.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle};

use crate::complaint::Place;

/// How many nodes a file may have once its aliases are resolved.
const NODES_MAX: usize = 1_000_000;

/// How deep lists and mappings may lie in each other: trees are walked, and taken apart, recursively.
const DEPTH_MAX: usize = 64;

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

impl Node {
    /// Returns what is under a key, if it is a mapping with that key.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// Returns its items, if it is a list.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// Tells whether it is a single value and one of these words.
    pub(crate) fn is_one_of(&self, words: &[&str]) -> bool {
        matches!(&self.value, Value::Text(text) if words.contains(&text.as_str()))
    }
}

/// What a [`Node`] holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a mapping with its value. A key may be repeated: whoever walks the tree complains.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) value: Node,
}

/// Why a text is not one YAML document, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) place: Place,
    pub(crate) message: String,
}

/// Reads the only document of `text`; one without any content is null.
pub(crate) fn parse(text: &str) -> Result<Node, Fault> {
    let mut builder = Builder::default();
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Fault { place: place(error.marker()), message: error.info() })?;
        let place = place(&span.start);
        if matches!(event, Event::DocumentStart(..)) {
            documents += 1;
        }
        if documents > 1 {
            return Err(Fault { place, message: "a second document begins here: one file holds one".into() });
        }
        builder.take(event, place).map_err(|message| Fault { place, message })?;
    }
    Ok(builder.root.unwrap_or(Node { place: Place::START, value: Value::Null }))
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line().max(1), column: marker.col() + 1 }
}

/// The collections that are open, innermost last.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

/// A list, or a mapping with the key that waits for its value, that has not ended yet.
struct Open {
    anchor: usize,
    node: Node,
    key: Option<(String, Place)>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), String> {
        match event {
            Event::SequenceStart(_, anchor, _) => return self.open(place, anchor, Value::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => return self.open(place, anchor, Value::Map(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { anchor, mut node, .. }) = self.open.pop() {
                    merge(&mut node);
                    return self.close(node, anchor);
                }
            }
            Event::Scalar(text, style, anchor, _) => {
                return self.close(Node { place, value: scalar(text, style) }, anchor);
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).ok_or("an alias inside its own anchor")?.clone();
                self.nodes += count(&node);
                return self.close(node, 0);
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, place: Place, anchor: usize, value: Value) -> Result<(), String> {
        if self.open.len() >= DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} lists and mappings inside each other"));
        }
        self.open.push(Open { anchor, node: Node { place, value }, key: None });
        Ok(())
    }

    /// Hands a whole node to the collection that it is in.
    fn close(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(format!("more than {NODES_MAX} values, with aliases written out"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut parent.node.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => match parent.key.take() {
                Some((key, key_place)) => entries.push(Entry { key, key_place, value: node }),
                None => parent.key = Some((key_text(&node)?, node.place)),
            },
            Value::Null | Value::Text(_) => {}
        }
        Ok(())
    }
}

fn key_text(node: &Node) -> Result<String, String> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        Value::Null => Ok("null".into()),
        Value::List(_) | Value::Map(_) => Err("a key must be a single word".into()),
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Value {
    let is_null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
    if is_null { Value::Null } else { Value::Text(text.into_owned()) }
}

fn count(node: &Node) -> usize {
    match &node.value {
        Value::Null | Value::Text(_) => 1,
        Value::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|entry| count(&entry.value)).sum::<usize>(),
    }
}

/// Replaces the key `<<` by the entries of the mappings under it, as far as their keys are not there yet.
fn merge(node: &mut Node) {
    let Value::Map(entries) = &mut node.value else { return };
    let Some(at) = entries.iter().position(|entry| entry.key == "<<") else { return };
    let merged = entries.remove(at).value;
    let sources = match merged.value {
        Value::List(sources) => sources,
        _ => vec![merged],
    };
    for source in sources {
        let Value::Map(more) = source.value else { continue };
        for entry in more {
            if !entries.iter().any(|own| own.key == entry.key) {
                entries.push(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a tree with the place of each value, and of each key.
    fn show(node: &Node) -> String {
        let inner = match &node.value {
            Value::Null => "null".into(),
            Value::Text(text) => format!("{text:?}"),
            Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
            Value::Map(entries) => {
                let entries: Vec<String> =
                    entries.iter().map(|e| format!("{}@{}={}", e.key, e.key_place, show(&e.value))).collect();
                format!("{{{}}}", entries.join(" "))
            }
        };
        format!("{inner}@{}", node.place)
    }

    #[test]
    fn every_key_and_value_has_its_place() {
        let cases = [
            ("", "null@1:1"),
            ("# only a comment\n", "null@1:1"),
            ("a: 1\n", "{a@1:1=\"1\"@1:4}@1:1"),
            ("a:\n  - b\n  - 'c'\n", "{a@1:1=[\"b\"@2:5 \"c\"@3:5]@2:3}@1:1"),
            ("é: { b: ~, c: \"\" }\n", "{é@1:1={b@1:6=null@1:9 c@1:12=\"\"@1:15}@1:4}@1:1"),
            ("a: &x { b: 1 }\nc: *x\n", "{a@1:1={b@1:9=\"1\"@1:12}@1:7 c@2:1={b@1:9=\"1\"@1:12}@1:7}@1:1"),
            (
                "a: &x { b: 1 }\nc: { <<: *x, d: 2 }\n",
                "{a@1:1={b@1:9=\"1\"@1:12}@1:7 c@2:1={d@2:14=\"2\"@2:17 b@1:9=\"1\"@1:12}@2:4}@1:1",
            ),
            ("{\"a\": [1, 2]}", "{a@1:2=[\"1\"@1:8 \"2\"@1:11]@1:7}@1:1"),
        ];
        for (text, expected) in cases {
            assert_eq!(show(&parse(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn what_lies_too_deep_is_refused() {
        let lists = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&lists(DEPTH_MAX)).is_ok());
        for text in [lists(DEPTH_MAX + 1), "[".repeat(1 << 20), "- ".repeat(1 << 16), "{a: ".repeat(1 << 16)] {
            let Fault { place, message } = parse(&text).unwrap_err();
            // Far deeper ones the parser itself gives up on.
            let is_ours = message == "more than 64 lists and mappings inside each other";
            assert!(is_ours || message == "recursion limit exceeded", "{place}: {message}");
        }
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..8 {
            let alias = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(", "));
        }
        assert!(parse(&text).unwrap_err().message.starts_with("more than 1000000 values"));
    }
}
