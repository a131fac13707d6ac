//! `firetower store check`.

use std::process::ExitCode;

use firetower_store::{CheckFault, Checked, check as check_directory};
use serde_json::{Value, json};

use crate::arguments::{CheckStoreArguments, Output};
use crate::output::print;
use crate::table::{Column, bytes, count, table};

/// What can be done about faults.
const WAY_OUT: &str = "
`firetower store restore` brings a copy back into an empty directory. Without one, a directory on which the monitor does not
start is moved away, and the monitor begins with none: its parents count the loss.
";

/// Reads a whole data directory, and says what is damaged.
pub(super) fn check(arguments: &CheckStoreArguments) -> anyhow::Result<ExitCode> {
    let checked = check_directory(&arguments.data)?;
    let text = match arguments.output {
        Output::Table => text(&checked),
        Output::Json => format!("{:#}\n", body(&checked)),
    };
    print(&text)?;
    Ok(if checked.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn body(checked: &Checked) -> Value {
    let list = |faults: &[CheckFault]| -> Value {
        let fault = |fault: &CheckFault| json!({ "file": fault.file, "family": fault.family, "text": fault.text, "means": fault.means });
        faults.iter().map(fault).collect()
    };
    json!({
        "files": checked.files,
        "bytes": checked.bytes,
        "entries": checked.entries.iter().map(|(family, entries)| json!({ "family": family, "entries": entries })).collect::<Value>(),
        "faults": list(&checked.faults),
        "faults_unlisted": checked.faults_unlisted,
        "remarks": list(&checked.remarks),
    })
}

/// Returns what was read in a line, a table of the families, and each fault with what it means.
fn text(checked: &Checked) -> String {
    let faults = checked.faults.len() as u64 + checked.faults_unlisted;
    let verdict = match faults {
        0 => "sound".to_owned(),
        1 => "1 fault".to_owned(),
        _ => format!("{faults} faults"),
    };
    let read = (count(&checked.files.into()), bytes(&checked.bytes.into()));
    let mut out = format!("{verdict}: {} files, {}\n", read.0, read.1);
    if !checked.entries.is_empty() {
        let row = |(family, entries): &(&str, u64)| vec![(*family).to_owned(), count(&(*entries).into())];
        let rows = checked.entries.iter().map(row).collect();
        out.push('\n');
        out.push_str(&table(&[Column::Text("FAMILY"), Column::Number("ENTRIES")], rows));
    }
    let mut list = |heading: &str, faults: &[CheckFault]| {
        for fault in faults {
            let place = [fault.file.as_str(), fault.family].into_iter().filter(|part| !part.is_empty());
            let place = place.collect::<Vec<_>>().join(", ");
            out.push_str(&format!(
                "\n{heading}: {place}{}{}\n  {}\n",
                if place.is_empty() { "" } else { ": " },
                fault.text,
                fault.means
            ));
        }
    };
    list("fault", &checked.faults);
    list("remark", &checked.remarks);
    if checked.faults_unlisted > 0 {
        out.push_str(&format!("\nand {} more\n", checked.faults_unlisted));
    }
    if faults > 0 {
        out.push_str(WAY_OUT);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_by_file_and_family() {
        let fault =
            |file: &str, family, text: &str, means| CheckFault { file: file.into(), family, text: text.into(), means };
        let sound = Checked { files: 3, bytes: 2_048, entries: vec![("meta", 2)], ..Checked::default() };
        assert_eq!(text(&sound), "sound: 3 files, 2.0 KiB\n\nFAMILY  ENTRIES\nmeta          2\n");
        let damaged = Checked {
            entries: Vec::new(),
            faults: vec![fault("000012.sst", "raw_blocks", "block checksum mismatch", "samples in it are lost")],
            remarks: vec![fault("000013.log", "", "was not written whole", "what was synced is before it")],
            faults_unlisted: 1,
            ..sound
        };
        let shown = text(&damaged);
        let expected = "2 faults: 3 files, 2.0 KiB\n\nfault: 000012.sst, raw_blocks: block checksum mismatch\n  samples in it are lost\n\n\
                        remark: 000013.log: was not written whole\n  what was synced is before it\n\nand 1 more\n";
        assert!(shown.starts_with(expected), "{shown}");
    }
}
