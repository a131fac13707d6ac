//! What a parent does while its disk is full: it hears its children, and takes nothing from them.

use std::collections::VecDeque;
use std::time::Duration;

use firetower_model::Timestamp;
use firetower_wire::{FrameDown, ParentControl, Refusal, RefusalReason};
use tokio::sync::mpsc::Sender;

use super::{BATCH_MAX, Keeper, Parent, Reply};
use crate::error::Error;
use crate::inbound::Inbound;

/// How often children whose frames wait hear that they are not forgotten: within the 8 s that they wait for a word.
const COMFORT_EVERY: Duration = Duration::from_secs(2);

/// What came while the disk was full: no more than the inbox has room for.
#[derive(Default)]
pub(super) struct Held {
    waiting: VecDeque<Inbound>,
    comfort_due: Timestamp,
}

impl<P: Parent> Keeper<P> {
    /// Applies messages behind those that wait, in batches, as long as there is room on the disk.
    pub(super) fn receive(&mut self, messages: &mut Vec<Inbound>) -> Result<(), Error> {
        while !self.store.is_held() && !self.held.waiting.is_empty() {
            let count = self.held.waiting.len().min(BATCH_MAX);
            let mut first = self.held.waiting.drain(..count).collect();
            self.take(&mut first)?;
        }
        if !self.store.is_held() && !messages.is_empty() {
            return self.take(messages);
        }
        messages.drain(..).for_each(|message| self.hear(message));
        self.comfort();
        self.tick()
    }

    /// Hears a message while the disk is full: what needs no room on it.
    fn hear(&mut self, message: Inbound) {
        match message {
            Inbound::Hello { hello, answer, .. } => {
                let text = format!("the disk of {} is full: it takes nothing until there is room", self.identity.node);
                tracing::warn!(child = hello.node, text, "child refused");
                self.metrics.refused_child(RefusalReason::Busy);
                // Whoever greeted is gone only if its connection is.
                let _ = answer.send(ParentControl::Refused(Refusal::new(RefusalReason::Busy, text)));
            }
            Inbound::Heartbeat { session, status, at, .. } => drop(self.note_heartbeat(session, *status, at)),
            Inbound::Taken { session, generation, fingerprint } => self.note_taken(session, generation, fingerprint),
            Inbound::Gone { session } => self.note_gone(session),
            Inbound::Opening { child, incarnation, answer } => self.answer_opening(&child, incarnation, answer),
            Inbound::RowKeys { .. } | Inbound::Frame { .. } => self.held.waiting.push_back(message),
        }
    }

    /// Gives a word to the children whose frames wait: without one they would take this parent for dead.
    fn comfort(&mut self) {
        let now = self.clock.now();
        if now < self.held.comfort_due {
            return;
        }
        self.held.comfort_due = now + COMFORT_EVERY;
        let waiting = self.held.waiting.iter().filter_map(|message| match message {
            Inbound::Frame { out, .. } | Inbound::RowKeys { out, .. } => Some(out),
            _ => None,
        });
        let applied = self.replies.iter().filter_map(|reply| match reply {
            Reply::Frame { out, .. } => Some(out),
            Reply::Hello { .. } => None,
        });
        let mut told: Vec<&Sender<FrameDown>> = Vec::new();
        for out in waiting.chain(applied) {
            if !told.iter().any(|known| known.same_channel(out)) {
                told.push(out);
                // A full queue has words enough.
                let _ = out.try_send(FrameDown::Acknowledged(Vec::new()));
            }
        }
    }
}
