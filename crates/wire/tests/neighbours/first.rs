//! Both sides of the wire as they first were, made of `testdata/first` alone.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use prost::Message;
use prost::bytes::Buf;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http;
use tonic::server::{Grpc, StreamingService};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};
use tower::Service;

/// The recorded session, and the old files that it is written in.
#[derive(Clone)]
pub(crate) struct Session {
    pool: DescriptorPool,
    /// Call, type and message, in order; bodies are inside their frames and heartbeats.
    said: Vec<(String, String, DynamicMessage)>,
}

impl Session {
    pub(crate) fn read() -> Session {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/first");
        let files = protox::compile(["firetower/v1/tree.proto", "firetower/v1/frame.proto"], [&root]).unwrap();
        let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
        let mut session = Session { pool, said: Vec::new() };
        let text = std::fs::read_to_string(root.join("session.txt")).unwrap();
        let mut inside: Option<Vec<u8>> = None;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.splitn(3, ' ');
            let (call, kind, fields) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            let mut message = DynamicMessage::parse_text_format(session.of(kind), fields).expect(line);
            if !["ChildControl", "ParentControl", "FrameUp", "FrameDown"].contains(&kind) {
                inside = Some(message.encode_to_vec());
                continue;
            }
            if let Some(bytes) = inside.take() {
                put_inside(&mut message, bytes);
            }
            session.said.push((call.to_owned(), kind.to_owned(), message));
        }
        session
    }

    pub(crate) fn messages(&self, call: &str, kind: &str) -> Vec<DynamicMessage> {
        let matches = |said: &&(String, String, DynamicMessage)| said.0 == call && said.1 == kind;
        self.said.iter().filter(matches).map(|(_, _, message)| message.clone()).collect()
    }

    fn of(&self, kind: &str) -> MessageDescriptor {
        self.pool.get_message_by_name(&format!("firetower.v1.{kind}")).unwrap()
    }

    fn codec(&self, decoded: &str) -> OldCodec {
        OldCodec(self.of(decoded))
    }
}

/// Puts the bytes of a status into its heartbeat, or those of a body into its frame.
fn put_inside(message: &mut DynamicMessage, bytes: Vec<u8>) {
    for (outer, inner) in [("heartbeat", "status"), ("frame", "payload")] {
        if !message.has_field_by_name(outer) {
            continue;
        }
        let bytes = if outer == "frame" { zstd::bulk::compress(&bytes, 3).unwrap() } else { bytes.clone() };
        let Some(Value::Message(outer)) = message.get_field_by_name_mut(outer) else { panic!("{outer} is a message") };
        outer.set_field_by_name(inner, Value::Bytes(bytes.into()));
    }
}

/// A message of the old files, whichever.
struct OldCodec(MessageDescriptor);

impl Codec for OldCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = OldEncoder;
    type Decoder = OldDecoder;

    fn encoder(&mut self) -> OldEncoder {
        OldEncoder
    }

    fn decoder(&mut self) -> OldDecoder {
        OldDecoder(self.0.clone())
    }
}

struct OldEncoder;

impl Encoder for OldEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

struct OldDecoder(MessageDescriptor);

impl Decoder for OldDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        DynamicMessage::decode(self.0.clone(), bytes).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// A child that speaks the old wire.
pub(crate) struct OldChild {
    session: Session,
    channel: Channel,
}

/// What its parent says in one call.
pub(crate) struct Heard(Streaming<DynamicMessage>);

impl OldChild {
    pub(crate) async fn dial(session: &Session, address: &str) -> OldChild {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        OldChild { session: session.clone(), channel }
    }

    pub(crate) async fn call(&self, call: &str, said: Vec<DynamicMessage>) -> Heard {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_maybe_shared(format!("/firetower.v1.Tree/{call}")).unwrap();
        let codec = self.session.codec(if call == "Control" { "ParentControl" } else { "FrameDown" });
        // It has said all, and goes on to listen.
        let up = tokio_stream::iter(said).chain(tokio_stream::pending());
        let response = grpc.streaming(Request::new(up), path, codec).await.unwrap();
        Heard(response.into_inner())
    }
}

impl Heard {
    /// Waits for all messages of the call, as text.
    pub(crate) async fn all(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(message) = self.0.message().await.unwrap() {
            all.push(message.to_text_format());
        }
        all
    }
}

type Down = Pin<Box<dyn Stream<Item = Result<DynamicMessage, Status>> + Send>>;

/// A parent that speaks the old wire: it says its part of the session, whatever it hears.
#[derive(Clone)]
pub(crate) struct OldParent {
    session: Session,
    heard: mpsc::UnboundedSender<String>,
}

impl OldParent {
    /// Returns its address, and what it hears, as text.
    pub(crate) async fn start(session: &Session) -> (String, mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (heard, hears) = mpsc::unbounded_channel();
        let parent = OldParent { session: session.clone(), heard };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(parent.clone());
                tokio::spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new()).http2_only();
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        (address, hears)
    }
}

impl<B> Service<http::Request<B>> for OldParent
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send,
    B::Data: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let is_control = request.uri().path().ends_with("/Control");
        let (decoded, said) = if is_control {
            ("ChildControl", self.session.messages("control", "ParentControl"))
        } else {
            ("FrameUp", self.session.messages("live", "FrameDown"))
        };
        let mut grpc = Grpc::new(self.session.codec(decoded));
        let say = Say { said, heard: self.heard.clone() };
        Box::pin(async move { Ok(grpc.streaming(say, request).await) })
    }
}

struct Say {
    said: Vec<DynamicMessage>,
    heard: mpsc::UnboundedSender<String>,
}

impl StreamingService<DynamicMessage> for Say {
    type Response = DynamicMessage;
    type ResponseStream = Down;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Down>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<DynamicMessage>>) -> Self::Future {
        let (said, heard) = (std::mem::take(&mut self.said), self.heard.clone());
        Box::pin(async move {
            let mut up = request.into_inner();
            tokio::spawn(async move {
                while let Ok(Some(message)) = up.message().await {
                    let _ = heard.send(message.to_text_format());
                }
            });
            let down = tokio_stream::iter(said).map(Ok).chain(tokio_stream::pending());
            Ok(Response::new(Box::pin(down) as Down))
        })
    }
}
