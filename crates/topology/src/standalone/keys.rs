//! The tables of a Prometheus configuration file, besides those of `scrape_configs`.

use crate::keys::{Key, Section};

const RULES: &str = "rules are not evaluated yet";
const JOB: &str = "as in a job, for those that do not say it";
const LIMIT: &str = "as in a job; 0 is no limit";

/// The tables as the reference shows them.
pub(crate) const SECTIONS: &[Section] = &[
    Section { title: "A Prometheus configuration file", keys: FILE },
    Section { title: "global", keys: GLOBAL },
    Section { title: "A file of scrape_config_files", keys: INCLUDED },
];

pub(super) const FILE: &[Key] = &[
    Key::supported("global", "what holds for all jobs"),
    Key::supported("scrape_configs", "the jobs"),
    Key::supported("scrape_config_files", "patterns of files with more jobs; read again on reload"),
    Key::warned("rule_files", RULES),
    Key::warned("alerting", "alerts are not sent yet"),
    Key::warned("remote_write", "samples are not sent on: let the other store scrape or query this one"),
    Key::warned("remote_read", "queries are answered from this store alone"),
    Key::warned("storage", "say how long to keep samples with --retention"),
    Key::warned("tracing", "no traces are sent"),
    Key::warned("otlp", "OTLP is not received: let a collector expose the metrics as a page"),
    Key::warned("runtime", "there is no garbage collector to tune"),
];

pub(super) const GLOBAL: &[Key] = &[
    Key::supported("scrape_interval", "`1m`"),
    Key::supported("scrape_timeout", "`10s`, but not longer than the interval"),
    Key::supported("scrape_protocols", JOB),
    Key::supported("external_labels", "for what leaves the secondary; `${NAME}` stands for an environment variable"),
    Key::supported("body_size_limit", LIMIT),
    Key::supported("sample_limit", LIMIT),
    Key::supported("label_limit", LIMIT),
    Key::supported("label_name_length_limit", LIMIT),
    Key::supported("label_value_length_limit", LIMIT),
    Key::supported("target_limit", LIMIT),
    Key::warned("evaluation_interval", RULES),
    Key::warned("rule_query_offset", RULES),
    Key::warned("query_log_file", "queries are not logged"),
];

pub(super) const INCLUDED: &[Key] = &[Key::supported("scrape_configs", "the jobs; relative paths start at the file")];
