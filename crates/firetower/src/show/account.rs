//! What became of every raw sample, hop by hop, counted at both ends.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::table::{Column, count, table, text};

/// Returns all accounts in a status: those of the senders, and what the receivers counted.
pub(crate) fn book(status: &Value) -> Value {
    let (mut accounts, mut received) = (BTreeMap::new(), BTreeMap::new());
    gather(status, &mut accounts, &mut received);
    let (accounts, received): (Vec<Value>, Vec<Value>) =
        (accounts.into_values().collect(), received.into_values().collect());
    json!({ "accounts": accounts, "received": received })
}

/// Each account once: both primaries of a pair tell of a secondary, and the later one holds.
type ByHop = BTreeMap<(String, String), Value>;

fn gather(value: &Value, accounts: &mut ByHop, received: &mut ByHop) {
    let Value::Object(fields) = value else {
        return value.as_array().into_iter().flatten().for_each(|item| gather(item, accounts, received));
    };
    if let Some(node) = fields.get("node").and_then(Value::as_str) {
        for (found, list, peer) in [(&mut *accounts, "accounts", "parent"), (&mut *received, "received", "child")] {
            for hop in fields.get(list).and_then(Value::as_array).into_iter().flatten() {
                let mut hop = hop.clone();
                hop["node"] = node.into();
                found.insert((node.to_owned(), text(&hop[peer])), hop);
            }
        }
    }
    let below = fields.iter().filter(|(name, _)| !matches!(name.as_str(), "accounts" | "received"));
    below.for_each(|(_, field)| gather(field, accounts, received));
}

/// Tells whether every account closes, and no child counts more as delivered than was applied.
pub(crate) fn is_closed(book: &Value) -> bool {
    let is_zero = |hops: &Value, key: &str| list(hops).all(|hop| hop[key].as_i64() == Some(0));
    is_zero(&book["accounts"], "residual") && is_zero(&book["received"], "excess")
}

/// Returns a table of the senders' accounts, with what each parent says that it has applied, and one of the receivers'.
pub(crate) fn account_text(book: &Value) -> String {
    let columns = [
        Column::Text("MONITOR"),
        Column::Text("PARENT"),
        Column::Number("COLLECTED"),
        Column::Number("DELIVERED"),
        Column::Number("QUEUED"),
        Column::Number("DROPPED"),
        Column::Number("RESIDUAL"),
        Column::Text("REASONS"),
    ];
    let sent = list(&book["accounts"]).map(|account| {
        let reasons = account["dropped"].as_object().into_iter().flatten();
        let dropped: u64 = reasons.clone().filter_map(|(_, samples)| samples.as_u64()).sum();
        let reasons: Vec<String> = reasons.map(|(reason, samples)| format!("{reason} {samples}")).collect();
        let [node, parent] = ["node", "parent"].map(|key| text(&account[key]));
        let [collected, delivered, queued, residual] =
            ["collected", "delivered", "queued", "residual"].map(|key| count(&account[key]));
        let reasons = if reasons.is_empty() { "-".to_owned() } else { reasons.join(", ") };
        vec![node, parent, collected, delivered, queued, dropped.to_string(), residual, reasons]
    });
    let mut out = table(&columns, sent.collect());
    let columns = [
        Column::Text("MONITOR"),
        Column::Text("CHILD"),
        Column::Number("APPLIED"),
        Column::Number("DELIVERED"),
        Column::Number("EXCESS"),
        Column::Number("APPLIED BEFORE"),
        Column::Number("INCARNATION LOST"),
    ];
    let received = list(&book["received"]).map(|hop| {
        let counts = ["applied", "delivered", "excess", "applied_before", "incarnation_lost"];
        ["node", "child"].map(|key| text(&hop[key])).into_iter().chain(counts.map(|key| count(&hop[key]))).collect()
    });
    out.push('\n');
    out.push_str(&table(&columns, received.collect()));
    out
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hop_is_shown_once_from_both_ends() {
        let account = |residual: i64| {
            json!({
                "parent": "dub-p0", "collected": 1_000, "delivered": 900, "queued": 80,
                "dropped": { "late_unmerged": 15, "outbox_full": 5 }, "residual": residual
            })
        };
        let received = json!({
            "child": "dub-s0", "applied": 910, "applied_before": 70, "delivered": 900, "incarnation_lost": 12,
            "excess": 0
        });
        let status = |residual: i64| {
            let secondary = json!({ "node": "dub-s0", "accounts": [account(residual)], "received": [] });
            json!({ "node": "global-0", "accounts": [], "received": [], "regions": [{ "datacenters": [{
                "primaries": [{ "node": "dub-p0", "accounts": [], "received": [received] }],
                "secondaries": [secondary]
            }] }] })
        };
        let expected = "\
MONITOR  PARENT  COLLECTED  DELIVERED  QUEUED  DROPPED  RESIDUAL  REASONS
dub-s0   dub-p0       1000        900      80       20         0  late_unmerged 15, outbox_full 5

MONITOR  CHILD   APPLIED  DELIVERED  EXCESS  APPLIED BEFORE  INCARNATION LOST
dub-p0   dub-s0      910        900       0              70                12
";
        assert_eq!(account_text(&book(&status(0))), expected);
        assert!(is_closed(&book(&status(0))) && !is_closed(&book(&status(-1))));
    }
}
