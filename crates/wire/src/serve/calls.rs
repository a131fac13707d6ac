//! The calls of one connection, as gRPC sees them.

use std::pin::Pin;
use std::sync::Arc;

use firetower_daemon::{Peer, Place};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use crate::message::Message;
use crate::proto;
use crate::proto::tree_server::Tree;
use crate::serve::{Accepted, AnswerSession, ControlSession, FrameSession, Lane};
use crate::session::{QUEUE_MESSAGES_MAX, Receiver, Sender};

type Down<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

pub(super) struct Calls {
    pub(super) peer: Peer,
    pub(super) accepted: mpsc::Sender<Accepted>,
    pub(super) place: Arc<Place>,
}

impl Calls {
    async fn hand_over(&self, accepted: Accepted) -> Result<(), Status> {
        self.accepted.send(accepted).await.map_err(|_| Status::unavailable("stopping"))
    }

    async fn frames(
        &self,
        lane: Lane,
        request: Request<Streaming<proto::FrameUp>>,
    ) -> Result<Response<Down<proto::FrameDown>>, Status> {
        let (sender, down) = reply();
        let receiver = Receiver::of_peer(request.into_inner(), Arc::clone(&self.place));
        let session = FrameSession { peer: self.peer.clone(), lane, sender, receiver };
        self.hand_over(Accepted::Frames(session)).await?;
        Ok(Response::new(down))
    }
}

fn reply<T: Message>() -> (Sender<T>, Down<T::Proto>) {
    let (queue, queued) = mpsc::channel(QUEUE_MESSAGES_MAX);
    (Sender::new(queue), Box::pin(ReceiverStream::new(queued).map(Ok)))
}

#[tonic::async_trait]
impl Tree for Calls {
    type ControlStream = Down<proto::ParentControl>;
    type LiveStream = Down<proto::FrameDown>;
    type BacklogStream = Down<proto::FrameDown>;
    type AnswerStream = Down<proto::AnswerDown>;

    async fn control(
        &self,
        request: Request<Streaming<proto::ChildControl>>,
    ) -> Result<Response<Self::ControlStream>, Status> {
        let (sender, down) = reply();
        let receiver = Receiver::of_peer(request.into_inner(), Arc::clone(&self.place));
        let session = ControlSession { peer: self.peer.clone(), sender, receiver };
        self.hand_over(Accepted::Control(session)).await?;
        Ok(Response::new(down))
    }

    async fn live(&self, request: Request<Streaming<proto::FrameUp>>) -> Result<Response<Self::LiveStream>, Status> {
        self.frames(Lane::Live, request).await
    }

    async fn backlog(
        &self,
        request: Request<Streaming<proto::FrameUp>>,
    ) -> Result<Response<Self::BacklogStream>, Status> {
        self.frames(Lane::Backlog, request).await
    }

    async fn answer(
        &self,
        request: Request<Streaming<proto::AnswerUp>>,
    ) -> Result<Response<Self::AnswerStream>, Status> {
        let (sender, down) = reply();
        let receiver = Receiver::of_peer(request.into_inner(), Arc::clone(&self.place));
        self.hand_over(Accepted::Answers(AnswerSession { peer: self.peer.clone(), sender, receiver })).await?;
        Ok(Response::new(down))
    }
}
