//! `GET /health/summary`: how many targets are in which state, and those that are not well.

use std::collections::HashSet;

use firetower_model::{HealthCounts, NodeHealth, State};
use serde_json::{Value, json};

use crate::error::Error;
use crate::json::rfc3339;
use crate::params::Params;

/// How many targets are listed if nobody says.
const LIMIT_DEFAULT: usize = 100;

/// How many targets may be listed.
const LIMIT_MAX: usize = 100_000;

/// How many unhealthy targets a status names.
const NAMED_MAX: usize = 20;

/// Which targets are asked for; `None` is any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthAsked {
    /// Those of this datacenter.
    pub datacenter: Option<String>,
    /// Those in this state; the counts are of all states.
    pub state: Option<State>,
    /// How many are listed at most.
    pub limit: usize,
}

/// What is known of the health of targets.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthFound {
    /// All targets of the datacenter asked for, by state.
    pub counts: HealthCounts,
    /// Those known one by one (the unhealthy), in order of datacenter and `host:port`.
    pub nodes: Vec<NodeHealth>,
}

/// One place where a service is meant to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceInstance {
    /// Name of the service.
    pub service: String,
    /// Name of the datacenter.
    pub datacenter: String,
    /// `host:port` of the target that it runs on.
    pub node_key: String,
}

pub(super) fn read_params(params: &Params) -> Result<HealthAsked, Error> {
    params.only(&["datacenter", "state", "limit"])?;
    Ok(HealthAsked {
        datacenter: params.get("datacenter").map(str::to_owned),
        state: params.get("state").map(read_state).transpose()?,
        limit: params.count("limit", LIMIT_DEFAULT, LIMIT_MAX)?,
    })
}

fn read_state(word: &str) -> Result<State, Error> {
    let states = [State::Unknown, State::Online, State::Degraded, State::Offline];
    states.into_iter().find(|state| state.as_str() == word).ok_or_else(|| Error::Parameter {
        name: "state",
        value: word.into(),
        expected: "online, degraded, offline or unknown",
    })
}

pub(super) fn summary(
    asked: &HealthAsked,
    read: &dyn Fn(&HealthAsked) -> HealthFound,
    services: &[ServiceInstance],
) -> Value {
    let found = read(asked);
    let is_asked_for = |instance: &&ServiceInstance| {
        asked.datacenter.as_ref().is_none_or(|datacenter| *datacenter == instance.datacenter)
    };
    let desired: Vec<&ServiceInstance> = services.iter().filter(is_asked_for).collect();
    json!({
        "total_nodes": found.counts.total(),
        "online_nodes": found.counts.online,
        "offline_nodes": found.counts.offline,
        "degraded_nodes": found.counts.degraded,
        "failed_workloads": failed(&desired, asked, read),
        "desired_workloads": desired.len(),
        "node_details": found.nodes.iter().map(node_details).collect::<Vec<Value>>(),
    })
}

/// Returns how many of `desired` stand on a target that is offline.
fn failed(desired: &[&ServiceInstance], asked: &HealthAsked, read: &dyn Fn(&HealthAsked) -> HealthFound) -> usize {
    if desired.is_empty() {
        return 0;
    }
    let every_offline = HealthAsked { state: Some(State::Offline), limit: usize::MAX, ..asked.clone() };
    let nodes = read(&every_offline).nodes;
    let offline: HashSet<(&str, &str)> =
        nodes.iter().map(|node| (node.datacenter.as_str(), node.node_key.as_str())).collect();
    desired.iter().filter(|at| offline.contains(&(at.datacenter.as_str(), at.node_key.as_str()))).count()
}

fn node_details(node: &NodeHealth) -> Value {
    let (host, port) = host_and_port(&node.node_key);
    json!({
        "node_key": node.node_key,
        "host": host,
        "port": port,
        "status": node.state.as_str(),
        "cpu_usage": node.cpu_usage,
        "memory_usage": node.memory_usage,
        "last_check": rfc3339(node.last_check),
        "consecutive_failures": node.consecutive_failures,
        "response_time": node.response_time_seconds,
    })
}

/// Returns the first of the unhealthy targets, with what is wrong with them.
pub(super) fn unhealthy(read: &dyn Fn(&HealthAsked) -> HealthFound) -> Value {
    let found = read(&HealthAsked { datacenter: None, state: None, limit: NAMED_MAX });
    let named = found.nodes.iter().map(|node| {
        json!({
            "datacenter": node.datacenter,
            "job": node.job,
            "node_key": node.node_key,
            "instance": if node.instance.is_empty() { &node.node_key } else { &node.instance },
            "status": node.state.as_str(),
            "reason": node.reason,
        })
    });
    named.collect()
}

fn host_and_port(node_key: &str) -> (&str, Option<u16>) {
    let split = node_key.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = split.map_or((node_key, None), |(host, port)| (host, Some(port)));
    (host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_key_splits_into_host_and_port() {
        assert_eq!(host_and_port("db-1.dub:9100"), ("db-1.dub", Some(9100)));
        assert_eq!(host_and_port("[::1]:9100"), ("::1", Some(9100)));
        assert_eq!(host_and_port("db-1"), ("db-1", None));
        assert_eq!(host_and_port("db-1:http"), ("db-1:http", None));
    }
}
