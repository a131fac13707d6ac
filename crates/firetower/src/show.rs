//! `firetower status`, `health` and `query`: an answer as a table or as it came.

mod account;
mod health;
mod plot;
mod query;
mod status;

use std::process::ExitCode;

use serde_json::Value;
use time::OffsetDateTime;

use crate::access::{Access, Right};
use crate::arguments::{HealthArguments, Output, QueryArguments, QueryOutput, StatusArguments};
use crate::client::Client;
use crate::output::{note, print};

pub(crate) use health::health_text;
pub(crate) use status::status_text;

/// Shows the whole tree, or what became of every raw sample in it.
pub(crate) fn status(arguments: &StatusArguments) -> anyhow::Result<ExitCode> {
    let StatusArguments { account, ask, output } = arguments;
    let body = Client::new(&Access::of(ask, Right::Read)?)?.json("/api/v1/status", &[])?;
    if *account {
        let book = account::book(&body["data"]);
        show(*output, &book, account::account_text)?;
        return Ok(if account::is_closed(&book) { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    show(*output, &body, |body| status_text(&body["data"]))?;
    Ok(ExitCode::SUCCESS)
}

/// Shows the health of targets.
pub(crate) fn health(arguments: &HealthArguments) -> anyhow::Result<()> {
    let limit = arguments.limit.map(|limit| limit.to_string());
    let params = [("datacenter", &arguments.datacenter), ("state", &arguments.state), ("limit", &limit)];
    let params: Vec<(&str, &str)> =
        params.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
    let body = Client::new(&Access::of(&arguments.ask, Right::Read)?)?.json("/health/summary", &params)?;
    show(arguments.output, &body, health_text)
}

/// Shows what an expression evaluates to; what the monitor remarks goes to standard error.
pub(crate) fn query(arguments: &QueryArguments) -> anyhow::Result<()> {
    let (path, params) = query::request(arguments, OffsetDateTime::now_utc())?;
    let borrowed: Vec<(&str, &str)> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = Client::new(&Access::of(&arguments.ask, Right::Read)?)?.json(path, &borrowed)?;
    for (kind, remarks) in [("warning", &body["warnings"]), ("info", &body["infos"])] {
        for remark in remarks.as_array().into_iter().flatten() {
            note(&format!("{kind}: {}", remark.as_str().unwrap_or_default()));
        }
    }
    let data = &body["data"];
    let text = match arguments.output {
        _ if arguments.plot => {
            let step = params.iter().find(|(name, _)| *name == "step").and_then(|(_, step)| step.parse().ok());
            plot::plot_text(data, step)
        }
        QueryOutput::Table => query::query_text(data),
        QueryOutput::Json => format!("{body:#}\n"),
        QueryOutput::Csv => query::query_csv(data)?,
    };
    Ok(print(&text)?)
}

fn show(output: Output, body: &Value, as_table: impl Fn(&Value) -> String) -> anyhow::Result<()> {
    let text = match output {
        Output::Table => as_table(body),
        Output::Json => format!("{body:#}\n"),
    };
    Ok(print(&text)?)
}
