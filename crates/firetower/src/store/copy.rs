//! `firetower store backup` and `restore`.

use std::path::{self, Path};
use std::time::Duration;

use anyhow::Context;
use firetower_daemon::Surroundings;
use firetower_store::{Options, Store};
use serde_json::json;

use crate::access::{Access, Right};
use crate::arguments::{BackupArguments, Output, RestoreArguments};
use crate::client::Client;
use crate::output::print;
use crate::table;

/// How long a monitor may take to make a copy: on another file system all of it is written.
const TIMEOUT: Duration = Duration::from_secs(3_600);

/// Makes a copy of a data directory.
pub(super) fn backup(arguments: &BackupArguments) -> anyhow::Result<()> {
    let to = path::absolute(&arguments.to).with_context(|| format!("find {}", arguments.to.display()))?;
    let (files, bytes) = match &arguments.data {
        Some(data) => {
            if !data.join("CURRENT").is_file() {
                return Err(firetower_store::Error::NoStore { path: data.clone() }.into());
            }
            let made = Store::open(data, &options())?.backup(&to)?;
            (made.files, made.bytes)
        }
        None => {
            let client = Client::with_timeout(&Access::of(&arguments.ask, Right::Operate)?, TIMEOUT)?;
            let made = client.post("/api/v1/admin/backup", &json!({ "directory": to }))?;
            (made["data"]["files"].as_u64().unwrap_or_default(), made["data"]["bytes"].as_u64().unwrap_or_default())
        }
    };
    if arguments.output == Output::Json {
        return Ok(print(&format!("{:#}\n", json!({ "directory": to, "files": files, "bytes": bytes })))?);
    }
    say(&to, files, bytes, "")
}

/// Brings a copy back.
pub(super) fn restore(arguments: &RestoreArguments) -> anyhow::Result<()> {
    let (copied, incarnation) = Store::restore(&arguments.from, &arguments.data, &options())?;
    say(&arguments.data, copied.files, copied.bytes, &format!("; its incarnation is {incarnation}"))
}

fn say(to: &Path, files: u64, bytes: u64, more: &str) -> anyhow::Result<()> {
    let bytes = table::bytes(&bytes.into());
    Ok(print(&format!("{}: {files} files, {bytes}{more}\n", to.display()))?)
}

fn options() -> Options {
    let surroundings = Surroundings::system();
    Options::new(surroundings.clock.now(), surroundings.random.next_u64())
}
