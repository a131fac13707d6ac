//! The parent's side of each open call: reads, decodes, and hands on.

use std::time::Duration;

use firetower_daemon::chain;
use firetower_wire::{
    ChildControl, ControlSession, FrameDown, FrameSession, FrameUp, Heartbeat, ParentControl, Refusal, RefusalReason,
    decode_frame,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::inbound::{Inbound, SessionId};
use crate::metrics::{RelayMetrics, peer};

/// How long a child may take to its first message.
const FIRST_LIMIT: Duration = Duration::from_secs(5);
/// Messages to a child that wait; a child that does not read them is cut off.
const OUT_MAX: usize = 64;

/// Serves one `Control` call until it ends.
pub(crate) async fn serve_control(
    mut call: ControlSession,
    session: SessionId,
    keeper: mpsc::Sender<Inbound>,
    cancel: CancellationToken,
) {
    let address = call.peer.address.clone();
    let ended = tokio::select! {
        () = cancel.cancelled() => Ok(()),
        ended = control(&mut call, session, &keeper) => ended,
    };
    let _ = keeper.send(Inbound::Gone { session }).await;
    if let Err(error) = ended {
        tracing::info!(peer = address, error = %chain(&error), "control call ended");
    }
}

async fn control(call: &mut ControlSession, session: SessionId, keeper: &mpsc::Sender<Inbound>) -> Result<(), Error> {
    let first = timeout(FIRST_LIMIT, call.receiver.next()).await;
    let first = first.map_err(|_| Error::Silent { what: "hello", limit: FIRST_LIMIT })??;
    let Some(ChildControl::Hello(hello)) = first else { return Err(Error::Ended { call: "control" }) };
    let (out, mut to_send) = mpsc::channel(OUT_MAX);
    let (answer, answered) = oneshot::channel();
    hand(keeper, Inbound::Hello { session, hello, answer, out }).await?;
    let answer = answered.await.map_err(|_| Error::Ended { call: "control" })?;
    let is_refused = matches!(answer, ParentControl::Refused(_));
    call.sender.send(answer).await?;
    if is_refused {
        return Ok(());
    }
    loop {
        tokio::select! {
            said = call.receiver.next() => match said? {
                None => return Ok(()),
                Some(ChildControl::Hello(_)) => {}
                Some(ChildControl::Heartbeat(heartbeat)) => {
                    let Heartbeat { status, highest_sequence: highest, claim, .. } = *heartbeat;
                    let status = Box::new(status);
                    hand(keeper, Inbound::Heartbeat { session, status, highest, claim }).await?;
                }
                Some(ChildControl::AssignmentTaken { generation, fingerprint }) => {
                    hand(keeper, Inbound::Taken { session, generation, fingerprint }).await?;
                }
            },
            Some(say) = to_send.recv() => call.sender.send(say).await?,
        }
    }
}

/// Serves one `Live` or `Backlog` call until it ends.
pub(crate) async fn serve_frames(
    mut call: FrameSession,
    session: SessionId,
    keeper: mpsc::Sender<Inbound>,
    metrics: RelayMetrics,
    cancel: CancellationToken,
) {
    let address = call.peer.address.clone();
    let ended = tokio::select! {
        () = cancel.cancelled() => Ok(()),
        ended = frames(&mut call, session, &keeper, &metrics) => ended,
    };
    if let Err(error) = ended {
        tracing::info!(peer = address, error = %chain(&error), "frame call ended");
    }
}

async fn frames(
    call: &mut FrameSession,
    session: SessionId,
    keeper: &mpsc::Sender<Inbound>,
    metrics: &RelayMetrics,
) -> Result<(), Error> {
    let first = timeout(FIRST_LIMIT, call.receiver.next()).await;
    let first = first.map_err(|_| Error::Silent { what: "opening", limit: FIRST_LIMIT })??;
    let Some(FrameUp::Opening(opening)) = first else { return Err(Error::Ended { call: "frames" }) };
    let (child, incarnation) = (opening.node, opening.incarnation);
    let (out, mut to_send) = mpsc::channel(OUT_MAX);
    loop {
        tokio::select! {
            biased;
            Some(say) = to_send.recv() => call.sender.send(say).await?,
            said = call.receiver.next() => match said? {
                None => return Ok(()),
                Some(FrameUp::Opening(_)) => {}
                Some(FrameUp::RowKeys(row_keys)) => {
                    let (child, out) = (child.clone(), out.clone());
                    hand(keeper, Inbound::RowKeys { child, incarnation, row_keys, out }).await?;
                }
                Some(FrameUp::Frame(sealed)) => {
                    metrics.received_frames.get_or_create(&peer(&child)).inc();
                    metrics.received_bytes.get_or_create(&peer(&child)).inc_by(sealed.payload.len() as u64);
                    let row_keys_needed = sealed.row_keys_needed;
                    let frame = match decode_frame(sealed.sequence, sealed.weight, sealed.kind, &sealed.payload) {
                        Ok(frame) => frame,
                        Err(error) => {
                            metrics.malformed_frames.get_or_create(&peer(&child)).inc();
                            let text = format!("frame {}: {}", sealed.sequence, chain(&error));
                            let refusal = Refusal { reason: RefusalReason::Malformed, text };
                            call.sender.send(FrameDown::Refused(refusal)).await?;
                            return Err(error.into());
                        }
                    };
                    let (child, out) = (child.clone(), out.clone());
                    hand(keeper, Inbound::Frame { session, child, incarnation, frame, row_keys_needed, out }).await?;
                }
            },
        }
    }
}

async fn hand(keeper: &mpsc::Sender<Inbound>, inbound: Inbound) -> Result<(), Error> {
    keeper.send(inbound).await.map_err(|_| Error::Ended { call: "keeper" })
}
