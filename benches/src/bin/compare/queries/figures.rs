//! How long answers took, as a table.

use firetower_benches::Percentiles;
use serde_json::{Value, json};

use super::answer::Answer;
use super::peer::{FIRETOWER, PROMETHEUS};
use super::questions::{Compared, Question};
use crate::table::{mib, print_table};

/// One question to one peer.
#[derive(Default)]
pub(crate) struct Asked {
    /// How long the first answer after a start took.
    pub(crate) cold_ms: Option<f64>,
    pub(crate) wall_ms: Vec<f64>,
    /// Processor time an answer, by turn.
    pub(crate) cpu_ms: Vec<f64>,
    pub(crate) answer: Answer,
    /// What it says that the first peer does not.
    difference: Option<String>,
}

/// All questions to all peers.
pub(crate) struct Figures<'a> {
    questions: &'a [Question],
    peers: Vec<OfPeer>,
}

struct OfPeer {
    name: String,
    asked: Vec<Asked>,
    resident_bytes: u64,
}

impl Asked {
    fn wall(&self, share: f64) -> f64 {
        let walls = Percentiles::new(self.wall_ms.clone());
        // One that is asked once only was never warm.
        if self.wall_ms.is_empty() { self.cold_ms.unwrap_or(f64::NAN) } else { walls.at(share) }
    }

    fn cpu(&self) -> f64 {
        Percentiles::new(self.cpu_ms.clone()).at(0.5)
    }
}

impl<'a> Figures<'a> {
    pub(crate) fn new(questions: &'a [Question], peers: Vec<String>) -> Figures<'a> {
        let of_peer =
            |name| OfPeer { name, asked: questions.iter().map(|_| Asked::default()).collect(), resident_bytes: 0 };
        Figures { questions, peers: peers.into_iter().map(of_peer).collect() }
    }

    /// Returns the questions to one peer.
    pub(crate) fn of(&mut self, peer: usize) -> &mut [Asked] {
        &mut self.peers[peer].asked
    }

    pub(crate) fn set_resident(&mut self, peer: usize, bytes: u64) {
        self.peers[peer].resident_bytes = bytes;
    }

    /// Holds all answers against those of the first peer.
    pub(crate) fn compare(&mut self) {
        let Some((first, others)) = self.peers.split_first_mut() else { return };
        for other in others {
            let is_alike =
                [&first.name, &other.name].into_iter().all(|name| [PROMETHEUS, FIRETOWER].contains(&&**name));
            for ((question, this), that) in self.questions.iter().zip(&first.asked).zip(&mut other.asked) {
                that.difference = match question.compared {
                    Compared::Values => this.answer.difference(&that.answer),
                    Compared::ValuesOfPrometheus if is_alike => this.answer.difference(&that.answer),
                    _ => {
                        let (this, that) = (this.answer.series(), that.answer.series());
                        (this != that).then(|| format!("{that} series and not {this}"))
                    }
                };
            }
        }
    }

    pub(crate) fn print(&self) {
        let mut head: Vec<String> = ["question", "series"].map(str::to_owned).to_vec();
        for peer in &self.peers {
            head.extend(["p50 ms", "p99", "CPU-ms", "cold ms"].map(|what| format!("{} {what}", peer.name)));
        }
        head.push(format!("{FIRETOWER} / better"));
        let mut rows = vec![head];
        for (at, question) in self.questions.iter().enumerate() {
            let series = self.peers.first().map_or(0, |peer| peer.asked[at].answer.series());
            let mut row = vec![question.name.to_owned(), series.to_string()];
            for asked in self.peers.iter().map(|peer| &peer.asked[at]) {
                let cold = asked.cold_ms.unwrap_or(f64::NAN);
                row.extend([asked.wall(0.5), asked.wall(0.99), asked.cpu(), cold].map(short));
            }
            row.push(self.ratio(at).map_or(String::new(), |ratio| format!("{ratio:.2}")));
            rows.push(row);
        }
        print_table(&rows);
        for peer in &self.peers {
            println!("{}: {} MiB resident", peer.name, mib(peer.resident_bytes as f64));
            for (question, asked) in self.questions.iter().zip(&peer.asked) {
                if let Some(difference) = &asked.difference {
                    println!("  {} is answered differently: {difference}", question.name);
                }
            }
        }
    }

    /// Returns how long ours takes beside the better of the others.
    fn ratio(&self, question: usize) -> Option<f64> {
        let wall = |peer: &OfPeer| peer.asked[question].wall(0.5);
        let ours = self.peers.iter().find(|peer| peer.name == FIRETOWER).map(wall)?;
        let others = self.peers.iter().filter(|peer| peer.name != FIRETOWER).map(wall);
        Some(ours / others.min_by(f64::total_cmp)?)
    }

    pub(crate) fn json(&self) -> Value {
        let asked = |(question, asked): (&Question, &Asked)| {
            json!({
                "question": question.name,
                "series": asked.answer.series(),
                "p50_ms": asked.wall(0.5),
                "p99_ms": asked.wall(0.99),
                "cpu_ms": asked.cpu(),
                "cold_ms": asked.cold_ms,
                "answers": asked.wall_ms.len(),
                "difference": asked.difference,
            })
        };
        let of_peer = |peer: &OfPeer| {
            json!({
                "peer": peer.name,
                "resident_bytes": peer.resident_bytes,
                "questions": self.questions.iter().zip(&peer.asked).map(asked).collect::<Value>(),
            })
        };
        self.peers.iter().map(of_peer).collect()
    }
}

fn short(ms: f64) -> String {
    match ms {
        ms if ms.is_nan() => String::new(),
        ms if ms < 10.0 => format!("{ms:.1}"),
        ms => format!("{ms:.0}"),
    }
}
