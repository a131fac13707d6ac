//! `firetower status`, `health` and `query`: an answer as a table or as it came.

mod account;
mod health;
mod query;
mod status;

use std::process::ExitCode;

use serde_json::Value;

use crate::access::{Access, Right};
use crate::arguments::{HealthArguments, Output, QueryArguments, StatusArguments};
use crate::client::Client;
use crate::output::print;

pub(crate) use health::health_text;
pub(crate) use status::status_text;

/// Shows the whole tree, or what became of every raw sample in it.
pub(crate) fn status(arguments: &StatusArguments) -> anyhow::Result<ExitCode> {
    let StatusArguments { account, ask } = arguments;
    let body = Client::new(&Access::of(ask, Right::Read)?)?.json("/api/v1/status", &[])?;
    if *account {
        let book = account::book(&body["data"]);
        show(ask.output, &book, account::account_text)?;
        return Ok(if account::is_closed(&book) { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    show(ask.output, &body, |body| status_text(&body["data"]))?;
    Ok(ExitCode::SUCCESS)
}

/// Shows the health of targets.
pub(crate) fn health(arguments: &HealthArguments) -> anyhow::Result<()> {
    let limit = arguments.limit.map(|limit| limit.to_string());
    let params = [("datacenter", &arguments.datacenter), ("state", &arguments.state), ("limit", &limit)];
    let params: Vec<(&str, &str)> =
        params.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
    let body = Client::new(&Access::of(&arguments.ask, Right::Read)?)?.json("/health/summary", &params)?;
    show(arguments.ask.output, &body, health_text)
}

/// Shows what a selector selects.
pub(crate) fn query(arguments: &QueryArguments) -> anyhow::Result<()> {
    let mut params = vec![("query", arguments.selector.as_str())];
    params.extend(arguments.time.as_deref().map(|time| ("time", time)));
    let body = Client::new(&Access::of(&arguments.ask, Right::Read)?)?.json("/api/v1/query", &params)?;
    show(arguments.ask.output, &body, |body| query::query_text(&body["data"]))
}

fn show(output: Output, body: &Value, as_table: impl Fn(&Value) -> String) -> anyhow::Result<()> {
    let text = match output {
        Output::Table => as_table(body),
        Output::Json => format!("{body:#}\n"),
    };
    Ok(print(&text)?)
}
