//! Questions in PromQL to Prometheus, VictoriaMetrics and one secondary over the same hour, in turns.

mod answer;
mod figures;
mod peer;
mod questions;
mod write;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use firetower_benches::{Page, Pages, now_ms};
use firetower_model::Timestamp;
use serde_json::Value;

use crate::Common;
use crate::history::History;
use crate::run::Directory;

use answer::Answer;
use figures::{Asked, Figures};
use peer::{FIRETOWER, PROMETHEUS, Peer, Program, VICTORIA_METRICS};
use questions::{Question, questions};
use write::Writer;

/// Each question is asked again in its turn until so much time is over, or so often: processor time is counted in hundredths of a second.
const TURN: Duration = Duration::from_millis(400);
const ASKED_MAX: usize = 20;
/// The moment up to which an earlier run's data go.
const END_FILE: &str = "end";

/// What `compare queries` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How much data there is.
    #[arg(long, default_value_t = 3_600)]
    history_seconds: u64,
    /// How long ago it ends: from 10800 on all of it is settled.
    #[arg(long, default_value_t = 0)]
    ago_seconds: u64,
    /// How often each peer takes its turn once warm.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Which peers.
    #[arg(long, value_delimiter = ',', default_values = [PROMETHEUS, VICTORIA_METRICS, FIRETOWER])]
    only: Vec<String>,
    /// Debian's Prometheus.
    #[arg(long, default_value = PROMETHEUS)]
    prometheus: String,
    /// Debian's VictoriaMetrics.
    #[arg(long, default_value = VICTORIA_METRICS)]
    victoria_metrics: String,
    /// Asks about the data that an earlier run with the same arguments has left in --directory.
    #[arg(long, requires = "directory")]
    again: bool,
}

/// Writes the same samples to all, then asks all of them the same.
pub(crate) fn measure(options: &Options, common: &Common) -> Result<Value> {
    let is_plain = !common.cadvisor && common.recorded.is_none() && !common.unlike && common.block.is_none();
    ensure!(is_plain, "questions are about nodes that are alike, in blocks of the usual length");
    let directory = if options.again {
        Directory::Kept(common.directory.clone().unwrap_or_default().join("queries"))
    } else {
        Directory::make(common, "queries")?
    };
    let peers: Vec<Program> =
        options.only.iter().map(|name| Program::find(name, options, common)).collect::<Result<_>>()?;
    let page = Page::of_dashboards(1, common.series).with_decimals();
    let end_path = directory.path().join(END_FILE);
    if !options.again {
        let end = write_all(&peers, options, common, &page, directory.path())?;
        fs::write(&end_path, end.as_millis().to_string())?;
    }
    let end: i64 = fs::read_to_string(&end_path)?.parse().context("read when the data end")?;
    let instance = format!("{}:9100", Page::node_name(common.targets / 2));
    let questions = questions(end, options.history_seconds, &instance, &page);
    ask_all(&peers, &questions, options, directory.path())
}

/// Gives all peers the same samples; returns the moment at which all are asked, just after the last.
fn write_all(
    peers: &[Program],
    options: &Options,
    common: &Common,
    page: &Page,
    directory: &Path,
) -> Result<Timestamp> {
    let end = Timestamp::from_millis(now_ms()) - Duration::from_secs(options.ago_seconds);
    let history = History {
        pages: &Pages::Node(page.clone()),
        targets: common.targets,
        interval: Duration::from_secs(common.interval_seconds),
        scrapes: options.history_seconds / common.interval_seconds,
        end,
    };
    let others: Vec<&Program> = peers.iter().filter(|program| program.name != FIRETOWER).collect();
    let others: Vec<Peer> = others.into_iter().map(|program| program.start(directory)).collect::<Result<_>>()?;
    let mut writer = Writer::new(others.iter().map(Peer::write_url).collect(), history.scrapes);
    history.write(&directory.join(FIRETOWER), |store, rows| writer.add(store, rows))?;
    eprintln!("{} samples written", writer.samples());
    others.into_iter().try_for_each(Peer::stop)?;
    Ok(end)
}

/// Asks everybody in turns, while the others have no processor: first each question once after a start, then warm.
fn ask_all(peers: &[Program], questions: &[Question], options: &Options, directory: &Path) -> Result<Value> {
    let mut figures = Figures::new(questions, peers.iter().map(|peer| peer.name.clone()).collect());
    let mut running = Vec::new();
    for (at, program) in peers.iter().enumerate() {
        let peer = program.start(directory)?;
        for (question, asked) in questions.iter().zip(figures.of(at)) {
            let (took, answer) = ask(&peer, question)?;
            (asked.cold_ms, asked.answer) = (Some(took.as_secs_f64() * 1e3), answer);
        }
        peer.pause()?;
        running.push(peer);
    }
    for round in 0..options.rounds {
        for (at, peer) in running.iter().enumerate() {
            eprintln!("round {round}: {}", peers[at].name);
            peer.resume()?;
            for (question, asked) in questions.iter().zip(figures.of(at)).filter(|(question, _)| !question.is_once) {
                turn(peer, question, asked)?;
            }
            peer.pause()?;
        }
    }
    for (at, peer) in running.into_iter().enumerate() {
        peer.resume()?;
        figures.set_resident(at, peer.resident_bytes()?);
        peer.stop()?;
    }
    figures.compare();
    figures.print();
    Ok(figures.json())
}

/// Asks a question again and again, and notes how long that took.
fn turn(peer: &Peer, question: &Question, asked: &mut Asked) -> Result<()> {
    let (before, mut spent, mut times) = (peer.cpu_seconds()?, Duration::ZERO, 0);
    while spent < TURN && times < ASKED_MAX {
        let (took, answer) = ask(peer, question)?;
        (spent, times) = (spent + took, times + 1);
        asked.wall_ms.push(took.as_secs_f64() * 1e3);
        asked.answer = answer;
    }
    asked.cpu_ms.push((peer.cpu_seconds()? - before) * 1e3 / times as f64);
    Ok(())
}

/// Asks a question, all its parts one after the other; returns how long that took and what the answers are.
fn ask(peer: &Peer, question: &Question) -> Result<(Duration, Answer)> {
    let (mut spent, mut answer) = (Duration::ZERO, Answer::default());
    for path in &question.paths {
        let (took, body) = peer.ask(path)?;
        spent += took;
        answer.add(&body).with_context(|| format!("{} of {}", question.name, peer.name()))?;
    }
    Ok((spent, answer))
}
