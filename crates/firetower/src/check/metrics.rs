//! `firetower check metrics`.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use firetower_scrape::exposition::{Format, Severity, check};

use crate::arguments::PageFormat;

/// How large a page may be.
const PAGE_BYTES_MAX: u64 = 1 << 30;

/// Checks a page; all remarks go to standard error.
pub(super) fn check_page(format: PageFormat, path: Option<&Path>) -> anyhow::Result<ExitCode> {
    let name = path.map_or("stdin".into(), |path| path.display().to_string());
    let page = read(path).with_context(|| format!("read {name}"))?;
    let format = match format {
        PageFormat::Prometheus => Format::Text,
        PageFormat::OpenMetrics => Format::OpenMetrics,
    };
    let mut code = ExitCode::SUCCESS;
    for remark in check(&page, format) {
        let (line, column, text) = (remark.line, remark.column, &remark.text);
        match remark.severity {
            Severity::Fault => {
                eprintln!("{name}:{line}:{column}: {text}");
                code = ExitCode::FAILURE;
            }
            Severity::Style => eprintln!("{name}:{line}:{column}: warning: {text}"),
        }
    }
    Ok(code)
}

fn read(path: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    let input: Box<dyn Read> = match path {
        Some(path) => Box::new(File::open(path)?),
        None => Box::new(stdin().lock()),
    };
    let mut page = Vec::new();
    input.take(PAGE_BYTES_MAX + 1).read_to_end(&mut page)?;
    ensure!(page.len() as u64 <= PAGE_BYTES_MAX, "it has more than {PAGE_BYTES_MAX} bytes");
    Ok(page)
}
