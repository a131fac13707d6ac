//! A link between two processes that is slow, deaf, cut or gone as one wishes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Bytes that wait in the link at most, in each direction: as much as a router with far too large a buffer.
const QUEUE_BYTES_MAX: usize = 256 << 10;
/// Bytes that cross the link in one piece.
const PIECE_BYTES: usize = 1_400;

/// What is wrong with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Nothing arrives, in either direction, and nobody is told.
    Hole,
    /// What the callee says does not arrive.
    DeafCaller,
    /// What the caller says does not arrive.
    DeafCallee,
    /// Connections are reset, and new ones as soon as they are there.
    Reset,
    /// Connections are closed, and new ones are taken and never answered.
    Silent,
    /// Connections are closed, and new ones are answered with bytes that mean nothing.
    Garbage,
}

/// How the link is now.
#[derive(Clone, Copy, Debug)]
struct State {
    fault: Fault,
    /// Bytes a second in each direction; 0 for any number.
    bytes_per_second: u64,
}

/// A link to one address; it goes on until it is dropped.
///
/// All its connections share one queue in each direction, as they do in a bottleneck.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    runtime: Option<Runtime>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may be dropped where nothing may block; nobody waits for what is on its way.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Proxy {
    /// Takes connections on a free port of this host, for `callee`.
    ///
    /// # Errors
    /// If it cannot listen.
    pub fn start(callee: impl Into<String>) -> Result<Proxy> {
        Proxy::start_on("127.0.0.1", callee)
    }

    /// The same at another address of this host.
    ///
    /// # Errors
    /// If it cannot listen.
    pub fn start_on(host: &str, callee: impl Into<String>) -> Result<Proxy> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = std::net::TcpListener::bind((host, 0)).context("listen")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let state = watch::Sender::new(State { fault: Fault::None, bytes_per_second: 0 });
        runtime.spawn(take_calls(listener, callee.into(), state.subscribe()));
        Ok(Proxy { address, state, runtime: Some(runtime) })
    }

    /// Returns where it takes connections.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes something wrong with the link, or right again.
    pub fn set_fault(&self, fault: Fault) {
        self.state.send_modify(|state| state.fault = fault);
    }

    /// Limits the bytes a second in each direction; 0 lifts the limit.
    pub fn set_rate(&self, bytes_per_second: u64) {
        self.state.send_modify(|state| state.bytes_per_second = bytes_per_second);
    }
}

/// One piece on its way, and where it goes.
struct Piece {
    bytes: Vec<u8>,
    to: mpsc::UnboundedSender<Vec<u8>>,
    _room: tokio::sync::OwnedSemaphorePermit,
}

/// One direction of the link.
#[derive(Clone)]
struct Direction {
    pieces: mpsc::UnboundedSender<Piece>,
    room: Arc<Semaphore>,
}

impl Direction {
    fn start(deaf: Fault, state: watch::Receiver<State>, tasks: &mut JoinSet<()>) -> Direction {
        let (pieces, queue) = mpsc::unbounded_channel();
        tasks.spawn(carry(queue, deaf, state));
        Direction { pieces, room: Arc::new(Semaphore::new(QUEUE_BYTES_MAX)) }
    }
}

async fn take_calls(listener: TcpListener, callee: String, state: watch::Receiver<State>) {
    let mut tasks = JoinSet::new();
    let up = Direction::start(Fault::DeafCallee, state.clone(), &mut tasks);
    let down = Direction::start(Fault::DeafCaller, state.clone(), &mut tasks);
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            Ok((caller, _)) = listener.accept() => {
                calls.spawn(connect(caller, callee.clone(), up.clone(), down.clone(), state.clone()));
            }
            Some(_) = calls.join_next(), if !calls.is_empty() => {}
        }
    }
}

/// Serves one connection until it ends, or a fault ends it.
async fn connect(caller: TcpStream, callee: String, up: Direction, down: Direction, mut state: watch::Receiver<State>) {
    let fault = state.borrow_and_update().fault;
    match fault {
        Fault::Reset => return drop(caller.set_zero_linger()),
        Fault::Silent => return drop(state.wait_for(|state| state.fault != Fault::Silent).await),
        Fault::Garbage => {
            let mut caller = caller;
            return drop(caller.write_all(&[0xff; 256]).await);
        }
        Fault::Hole => drop(state.wait_for(|state| state.fault != Fault::Hole).await),
        _ => {}
    }
    let Ok(parent) = TcpStream::connect(callee).await else { return };
    for stream in [&caller, &parent] {
        let _ = stream.set_nodelay(true);
        // Whatever ends it ends it at once: what nobody has taken by then is gone, and the far ends see a reset.
        let _ = stream.set_zero_linger();
    }
    let ends_it = |state: &State| matches!(state.fault, Fault::Reset | Fault::Silent | Fault::Garbage);
    let (from_caller, to_caller) = caller.into_split();
    let (from_parent, to_parent) = parent.into_split();
    let halves = async { tokio::join!(pass(from_caller, to_parent, &up), pass(from_parent, to_caller, &down)) };
    tokio::select! {
        _ = halves => {}
        Ok(_) = state.wait_for(ends_it) => {}
    }
}

/// Passes on what comes from one end, by way of the queue, until either end is through.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, direction: &Direction) {
    let (sender, mut arriving) = mpsc::unbounded_channel::<Vec<u8>>();
    let read = async {
        let mut piece = [0; PIECE_BYTES];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            let Ok(room) = Arc::clone(&direction.room).acquire_many_owned(count as u32).await else { break };
            let piece = Piece { bytes: piece[..count].to_vec(), to: sender.clone(), _room: room };
            if direction.pieces.send(piece).is_err() {
                break;
            }
        }
        drop(sender);
    };
    let write = async {
        while let Some(bytes) = arriving.recv().await {
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}

/// Carries pieces at the rate of the link, one after the other, while the link is not deaf.
async fn carry(mut queue: mpsc::UnboundedReceiver<Piece>, deaf: Fault, mut state: watch::Receiver<State>) {
    let mut free_at = Instant::now();
    while let Some(piece) = queue.recv().await {
        let is_open = |state: &State| state.fault != deaf && state.fault != Fault::Hole;
        let Ok(rate) = state.wait_for(is_open).await.map(|state| state.bytes_per_second) else { return };
        if rate > 0 {
            let takes = Duration::from_secs_f64(piece.bytes.len() as f64 / rate as f64);
            free_at = free_at.max(Instant::now()) + takes;
            sleep_until(free_at).await;
        }
        // Its end may be gone.
        let _ = piece.to.send(piece.bytes);
    }
}
