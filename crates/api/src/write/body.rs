//! Bodies of write requests, within a memory that all of them share.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{StatusCode, header};
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::Refusal;

/// Reads bodies; a piece that comes when there is no room waits.
pub(super) struct Bodies {
    /// Bytes of one body.
    bytes_max: usize,
    /// Bytes of all bodies at once.
    room: Arc<Semaphore>,
}

/// A whole body, and the room that it takes.
pub(super) struct HeldBody {
    pub(super) bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    /// Lets bodies have `bytes_max` each, and `count` times that together.
    pub(super) fn new(bytes_max: usize, count: usize) -> Bodies {
        let room = bytes_max.saturating_mul(count).min(Semaphore::MAX_PERMITS);
        Bodies { bytes_max, room: Arc::new(Semaphore::new(room)) }
    }

    /// Reads the body of `request`, which must be there by `deadline`.
    pub(super) async fn read(&self, request: Request, deadline: Instant) -> Result<HeldBody, Refusal> {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length: Option<usize> = length.and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length| length > self.bytes_max) {
            return Err(self.too_large());
        }
        let mut pieces = request.into_body().into_data_stream();
        let mut body = HeldBody { bytes: Vec::new(), _room: None };
        while let Some(piece) = timeout_at(deadline, pieces.next()).await.map_err(|_| slow())? {
            let piece = piece
                .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "malformed", "the body did not come to its end"))?;
            if body.bytes.len() + piece.len() > self.bytes_max {
                return Err(self.too_large());
            }
            let room = Arc::clone(&self.room).acquire_many_owned(u32::try_from(piece.len()).unwrap_or(u32::MAX));
            let room = timeout_at(deadline, room).await.map_err(|_| Refusal::busy())?;
            match (&mut body._room, room) {
                (Some(held), Ok(more)) => held.merge(more),
                (held, room) => *held = room.ok(),
            }
            body.bytes.extend_from_slice(&piece);
        }
        Ok(body)
    }

    fn too_large(&self) -> Refusal {
        let text = format!("the body has more than {} bytes", self.bytes_max);
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text)
    }
}

fn slow() -> Refusal {
    Refusal::new(StatusCode::REQUEST_TIMEOUT, "slow", "the body took too long")
}
