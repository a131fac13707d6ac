//! Full and read-only disks, damaged files, and copies brought back, with real processes.
//!
//! Small file systems are mounted in memory, for which these tests need to be root, as CI is.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_tests::{Disk, Layout, Process, Tree, check_account, firetower, wait_for};

/// How long a monitor may take to notice that its disk has changed, on a busy machine.
const NOTICE: Duration = Duration::from_secs(90);
const SECONDARY: &str = "dub-s0";

fn small() -> Layout {
    let more = "store_memory: 16MiB\nretention: { free: 8MiB }\n".to_owned();
    Layout { secondaries: 1, targets: 5, series: 30, more, ..Layout::default() }
}

/// Replaces the secondary's data directory by a small file system.
fn move_to_small_disk(tree: &mut Tree) -> Result<Disk> {
    tree.wait_complete("global-0")?;
    tree.kill(SECONDARY)?;
    let data = tree.data(SECONDARY);
    fs::remove_dir_all(&data)?;
    let disk = Disk::mount(&data)?;
    tree.restart(SECONDARY)?;
    tree.wait_complete("global-0")?;
    Ok(disk)
}

/// Waits until the secondary says that it is not ready, with `words` in the reason.
fn wait_refused(tree: &Tree, words: &str) -> Result<()> {
    wait_for(&format!("not ready: {words}"), NOTICE, || {
        let (status, text) = tree.ask(SECONDARY).get("/-/ready")?;
        ensure!(status == 503 && text.contains(words), "{status} {text}");
        Ok(Some(()))
    })
}

fn samples(tree: &Tree) -> Result<usize> {
    let ups = tree.ask(SECONDARY).series("up{job=\"fleet\"}[1h]")?;
    Ok(ups.iter().map(|series| series.samples.len()).sum())
}

fn run(arguments: &[&str]) -> Result<(Output, String)> {
    let output = Command::new(firetower()?).args(arguments).output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output, said))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path of another kind")
}

#[test]
fn a_full_disk_is_said_counted_and_got_over() -> Result<()> {
    Tree::check(small(), |tree| {
        let disk = move_to_small_disk(tree)?;
        disk.fill()?;
        wait_refused(tree, "is full")?;
        ensure!(tree.ask(SECONDARY).metric("firetower_store_held")? == Some(1.0), "not held");
        wait_told(tree, SECONDARY)?;
        let before = samples(tree)?;
        ensure!(before > 0, "it does not answer any more");
        wait_for("scrapes are given up, and counted", NOTICE, || {
            let given_up = tree.ask(SECONDARY).metric("firetower_store_given_up_samples_total")?;
            Ok(given_up.filter(|samples| *samples > 100.0))
        })?;
        disk.make_room()?;
        wait_for("ready again", NOTICE, || Ok(tree.ask(SECONDARY).is_ready()?.then_some(())))?;
        tree.wait_complete("global-0")?;
        let account = wait_closed(tree)?;
        ensure!(account.contains("disk_full"), "what was given up is not in the account:\n{account}");
        ensure!(samples(tree)? > before, "nothing new is kept");
        Ok(())
    })
}

#[test]
fn a_parent_whose_disk_is_full_hears_its_children_and_takes_nothing() -> Result<()> {
    const PRIMARY: &str = "dub-p0";
    Tree::check(small(), |tree| {
        tree.wait_complete("global-0")?;
        tree.kill(PRIMARY)?;
        let data = tree.data(PRIMARY);
        fs::remove_dir_all(&data)?;
        let disk = Disk::mount(&data)?;
        tree.restart(PRIMARY)?;
        let from_ms = tree.wait_complete("global-0")?;
        disk.fill()?;
        wait_told(tree, PRIMARY)?;
        let queued = |tree: &Tree| -> Result<i64> {
            let status = tree.ask("global-0").json("/api/v1/status")?;
            let account =
                find(&status, SECONDARY).context("the secondary is not in the status")?["accounts"][0].clone();
            account["queued"].as_i64().with_context(|| account.to_string())
        };
        // Ten windows: longer than a child may be silent.
        let window = (small().targets * small().series) as i64 * 2;
        wait_for("frames wait at the secondary", NOTICE, || Ok((queued(tree)? > 10 * window).then_some(())))?;
        let status = tree.ask("global-0").json("/api/v1/status")?;
        let connected = find(&status, SECONDARY).map(|node| node["connected"].clone());
        ensure!(connected == Some(true.into()), "the secondary counts as lost: {connected:?}");
        tree.kill(SECONDARY)?;
        tree.launch(SECONDARY)?;
        wait_for("the child is told", NOTICE, || {
            Ok(tree.said(SECONDARY)?.contains("the disk of dub-p0 is full").then_some(()))
        })?;
        disk.make_room()?;
        tree.wait_complete("global-0")?;
        tree.wait_exact("global-0", tree.grid_since(from_ms))?;
        let account = wait_closed(tree)?;
        ensure!(!account.contains("disk_full"), "the child kept all of it:\n{account}");
        Ok(())
    })
}

/// Waits until every account closes, whatever was dropped for a reason; returns what `firetower status --account` prints.
fn wait_closed(tree: &Tree) -> Result<String> {
    let url = format!("http://127.0.0.1:{}", tree.port("global-0"));
    wait_for("the account closes", NOTICE, || {
        let (output, said) = run(&["status", "--account", "--url", &url])?;
        ensure!(output.status.success(), "{said}");
        Ok(Some(said))
    })
}

/// Waits until `firetower status` says at the top that the disk of `name` is full.
fn wait_told(tree: &Tree, name: &str) -> Result<()> {
    let url = format!("http://127.0.0.1:{}", tree.port("global-0"));
    wait_for("the status has it", NOTICE, || {
        let (_, said) = run(&["status", "--url", &url])?;
        ensure!(said.contains(&format!("ALARM {name}: its disk is full")), "{said}");
        Ok(Some(()))
    })
}

#[test]
fn a_read_only_disk_still_answers() -> Result<()> {
    Tree::check(small(), |tree| {
        let disk = move_to_small_disk(tree)?;
        tree.stop(SECONDARY)?;
        disk.remount("ro")?;
        tree.launch(SECONDARY)?;
        wait_refused(tree, "cannot be written")?;
        let before = samples(tree)?;
        ensure!(before > 0, "it does not answer");
        ensure!(tree.ask(SECONDARY).metric("firetower_store_read_only")? == Some(1.0), "not said by a metric");
        disk.remount("rw")?;
        wait_for("ready again", NOTICE, || Ok(tree.ask(SECONDARY).is_ready()?.then_some(())))?;
        tree.wait_complete("global-0")?;
        ensure!(samples(tree)? > before, "nothing new is kept");
        Ok(())
    })
}

#[test]
fn a_copy_is_made_beside_the_monitor_and_brought_back() -> Result<()> {
    Tree::check(small(), |tree| {
        tree.wait_complete("global-0")?;
        let (data, copy) = (tree.data(SECONDARY), tree.directory().join("copy"));
        let url = format!("http://127.0.0.1:{}", tree.port(SECONDARY));
        let (output, said) = run(&["store", "backup", text(&copy)?, "--url", &url])?;
        ensure!(output.status.success(), "{said}");
        for directory in [&copy, &data] {
            let (output, said) = run(&["store", "check", "--data", text(directory)?])?;
            ensure!(output.status.code() == Some(0) && said.starts_with("sound"), "{said}");
        }
        let incarnation = |tree: &Tree| -> Result<String> {
            let status = tree.ask("global-0").json("/api/v1/status")?;
            Ok(find(&status, SECONDARY).context("the secondary is not in the status")?["incarnation"].to_string())
        };
        let before = incarnation(tree)?;
        tree.wait_sampled(SECONDARY, 3)?;
        tree.kill(SECONDARY)?;
        let (output, said) = run(&["store", "restore", text(&copy)?, "--data", text(&data)?])?;
        ensure!(output.status.code() == Some(1) && said.contains("not empty"), "{said}");
        fs::remove_dir_all(&data)?;
        let (output, said) = run(&["store", "restore", text(&copy)?, "--data", text(&data)?])?;
        ensure!(output.status.success(), "{said}");
        tree.restart(SECONDARY)?;
        tree.wait_complete("global-0")?;
        wait_for("the parents hear of the new life", NOTICE, || Ok((incarnation(tree)? != before).then_some(())))?;
        wait_for("the account closes", NOTICE, || check_account(&tree.ask("global-0")).map(Some))?;
        Ok(())
    })
}

/// Returns the status of the monitor `name`, wherever in `status` it is.
fn find<'a>(status: &'a serde_json::Value, name: &str) -> Option<&'a serde_json::Value> {
    match status {
        serde_json::Value::Object(fields) if fields.get("node").is_some_and(|node| node == name) => Some(status),
        serde_json::Value::Object(fields) => fields.values().find_map(|value| find(value, name)),
        serde_json::Value::Array(values) => values.iter().find_map(|value| find(value, name)),
        _ => None,
    }
}

#[test]
fn a_directory_copied_back_by_hand_is_found_out_by_the_parent() -> Result<()> {
    Tree::check(small(), |tree| {
        tree.wait_complete("global-0")?;
        tree.stop(SECONDARY)?;
        let (data, old) = (tree.data(SECONDARY), tree.directory().join("old"));
        fs::rename(&data, &old)?;
        fs::create_dir(&data)?;
        for entry in fs::read_dir(&old)? {
            let entry = entry?;
            fs::copy(entry.path(), data.join(entry.file_name()))?;
        }
        tree.restart(SECONDARY)?;
        tree.wait_complete("global-0")?;
        tree.stop(SECONDARY)?;
        fs::remove_dir_all(&data)?;
        fs::rename(&old, &data)?;
        // It may be ready for a moment before a parent tells it.
        tree.launch(SECONDARY)?;
        tree.wait_complete("global-0")?;
        let said = tree.said(SECONDARY)?;
        ensure!(said.contains("begins a new life"), "no new life:\n{said}");
        wait_for("the account closes", NOTICE, || check_account(&tree.ask("global-0")).map(Some))?;
        Ok(())
    })
}

#[test]
fn a_damaged_directory_is_said_in_plain_words() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    let arguments = ["secondary", "--standalone", "--http", "127.0.0.1:0", "--data", text(&data)?];
    let mut process = Process::start("s", directory.path(), Command::new(firetower()?).args(arguments))?;
    wait_for("a store", NOTICE, || Ok(data.join("CURRENT").exists().then_some(())))?;
    process.kill()?;
    let mut current = fs::read(data.join("CURRENT"))?;
    current[10] ^= 1;
    fs::write(data.join("CURRENT"), current)?;
    let (output, said) = run(&arguments)?;
    ensure!(output.status.code() == Some(1) && said.contains("firetower store check --data"), "{said}");
    let (output, said) = run(&["store", "check", "--data", text(&data)?])?;
    ensure!(output.status.code() == Some(1) && said.contains("fault: CURRENT"), "{said}");
    Ok(())
}

#[test]
fn a_log_that_cannot_be_written_ends_nobody() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut ports = firetower_tests::Ports::claim()?;
    let port = ports.take()?;
    let mut command = Command::new(firetower()?);
    command.args(["secondary", "--standalone", "--http", &format!("127.0.0.1:{port}"), "--data"]);
    command
        .arg(directory.path().join("data"))
        .stdout(Stdio::null())
        .stderr(fs::File::options().write(true).open("/dev/full")?);
    let mut child = command.spawn()?;
    let answers = firetower_tests::Answers::of_port(port);
    let ready = wait_for("ready", NOTICE, || Ok(answers.is_ready()?.then_some(())));
    let ended = child.try_wait()?;
    child.kill()?;
    child.wait()?;
    ensure!(ended.is_none(), "it has ended: {ended:?}");
    ready
}
