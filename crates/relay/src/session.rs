//! The parent's side of each open `Control` call.

use std::time::Duration;

use firetower_daemon::{Peer, chain};
use firetower_wire::message::Message;
use firetower_wire::{ChildControl, ControlSession, Heartbeat, ParentControl, Refusal, RefusalReason, Sender};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::callers::Callers;
use crate::error::Error;
use crate::inbound::{Inbound, SessionId};
use crate::metrics::RelayMetrics;

/// How long a child may take to its first message.
pub(crate) const FIRST_LIMIT: Duration = Duration::from_secs(5);
/// Messages to a child that wait; a child that does not read them is cut off.
pub(crate) const OUT_MAX: usize = 64;
/// How long the other side may take to read what it was told before, until it is given up.
const SAY_LIMIT: Duration = Duration::from_secs(8);

/// Serves one `Control` call until it ends.
pub(crate) async fn serve_control(
    mut call: ControlSession,
    session: SessionId,
    keeper: mpsc::Sender<Inbound>,
    callers: Callers,
    metrics: RelayMetrics,
    cancel: CancellationToken,
) {
    let address = call.peer.address.clone();
    let ended = tokio::select! {
        biased;
        () = cancel.cancelled() => Ok(()),
        ended = control(&mut call, session, &keeper, &callers, &metrics) => ended,
    };
    let _ = keeper.send(Inbound::Gone { session }).await;
    if let Err(error) = ended {
        tracing::info!(peer = address, error = %chain(&error), "control call ended");
    }
}

async fn control(
    call: &mut ControlSession,
    session: SessionId,
    keeper: &mpsc::Sender<Inbound>,
    callers: &Callers,
    metrics: &RelayMetrics,
) -> Result<(), Error> {
    let first = timeout(FIRST_LIMIT, call.receiver.next()).await;
    let first = first.map_err(|_| Error::Silent { what: "hello", limit: FIRST_LIMIT })??;
    let Some(ChildControl::Hello(hello)) = first else { return Err(Error::Ended { call: "control" }) };
    if let Some(refusal) = unproven(&call.peer, &hello.node, metrics) {
        return say(&call.sender, ParentControl::Refused(refusal)).await;
    }
    let (out, mut to_send) = mpsc::channel(OUT_MAX);
    let (answer, answered) = oneshot::channel();
    let greeted = (hello.clone(), out.clone());
    hand(keeper, Inbound::Hello { session, hello, answer, out }).await?;
    let answer = answered.await.map_err(|_| Error::Ended { call: "control" })?;
    if matches!(answer, ParentControl::Refused(_)) {
        return say(&call.sender, answer).await;
    }
    let (hello, out) = greeted;
    let here = callers.let_in(session, &hello, out);
    say(&call.sender, answer).await?;
    loop {
        tokio::select! {
            biased;
            Some(message) = to_send.recv() => say(&call.sender, message).await?,
            said = call.receiver.next() => match said? {
                None => return Ok(()),
                Some(ChildControl::Hello(_)) => {}
                Some(ChildControl::Heartbeat(heartbeat)) => {
                    here.heard(&heartbeat.status);
                    let Heartbeat { status, highest_sequence: highest, at, claim } = *heartbeat;
                    let status = Box::new(status);
                    hand(keeper, Inbound::Heartbeat { session, status, highest, at, claim }).await?;
                }
                Some(ChildControl::AssignmentTaken { generation, fingerprint }) => {
                    hand(keeper, Inbound::Taken { session, generation, fingerprint }).await?;
                }
            },
        }
    }
}

/// Refuses a child that claims to be `node` where its certificate does not prove it.
pub(crate) fn unproven(peer: &Peer, node: &str, metrics: &RelayMetrics) -> Option<Refusal> {
    if peer.may_be(node) {
        return None;
    }
    let proven = peer.names.as_deref().unwrap_or_default().join(", ");
    let (peer, claimed) = (&peer.address, node);
    tracing::warn!(peer, claimed, proven, "child refused: its certificate does not name the node that it claims to be");
    metrics.refused_child(RefusalReason::WrongIdentity);
    let text = format!("this node's certificate is for {proven} and not for {node}: give it one of its own");
    Some(Refusal::new(RefusalReason::WrongIdentity, text))
}

/// Tells the other side something.
pub(crate) async fn say<T: Message>(other: &Sender<T>, message: T) -> Result<(), Error> {
    let said = timeout(SAY_LIMIT, other.send(message)).await;
    said.map_err(|_| Error::Silent { what: "room for a message", limit: SAY_LIMIT })??;
    Ok(())
}

/// Hands something to the keeper.
pub(crate) async fn hand(keeper: &mpsc::Sender<Inbound>, inbound: Inbound) -> Result<(), Error> {
    keeper.send(inbound).await.map_err(|_| Error::Ended { call: "keeper" })
}
