//! Reads an answer from a connection into a worker's buffers.

use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::Poll;

use firetower_daemon::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::count::{PageLimits, SampleCount};
use crate::buffers::{Buffers, Lease};
use crate::error::Error;
use crate::exposition::MediaType;
use crate::room::Room;

/// How long an answer's head may be.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How many headers an answer may have.
const HEADERS_MAX: usize = 100;
/// How many bytes there is room for at least before a read.
const ROOM_LEAST: usize = 16 << 10;

/// Where a page lies in a worker's buffers.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Raw(Range<usize>),
    /// So many bytes from the first on.
    Inflated(usize),
}

/// A page, in the buffers of a worker.
pub(crate) struct Fetched {
    pub(crate) lease: Lease,
    pub(crate) body: Body,
    pub(crate) media_type: MediaType,
    /// Size of the body as it travelled.
    pub(crate) wire_bytes: usize,
}

/// An answer, whatever it says.
pub(super) struct Exchange {
    lease: Lease,
    head: Head,
    body: Range<usize>,
    /// Where a redirect leads.
    pub(super) location: Option<String>,
    pub(super) is_reusable: bool,
}

impl Exchange {
    /// Makes a page of the answer if that is one.
    pub(super) fn finish(mut self, limits: PageLimits) -> Result<Fetched, Error> {
        let Head { status, reason, is_gzip, media_type, .. } = self.head;
        if status != 200 {
            return Err(Error::HttpStatus { status, reason });
        }
        let wire_bytes = self.body.len();
        let mut body = Body::Raw(self.body.clone());
        if is_gzip && wire_bytes > 0 {
            let worker = &mut *self.lease;
            let length = worker.inflater.inflate(&worker.raw[self.body], &mut worker.inflated, limits)?;
            body = Body::Inflated(length);
        }
        Ok(Fetched { lease: self.lease, body, media_type, wire_bytes })
    }
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Length {
    Known(usize),
    Chunked,
    UntilClose,
}

#[derive(Debug)]
struct Head {
    status: u16,
    /// Its words, unless it is 200.
    reason: String,
    length: Length,
    is_kept_alive: bool,
    is_gzip: bool,
    media_type: MediaType,
    location: Option<String>,
}

/// Reads one answer. No buffer is taken before its first byte is there, so that who waits for a target holds none.
pub(super) async fn read_response(
    stream: &mut Stream,
    limits: PageLimits,
    buffers: &Buffers,
) -> Result<Exchange, Error> {
    let (mut lease, mut filled) = first_bytes(stream, buffers).await.map_err(|source| Error::Closed { source })?;
    if filled == 0 {
        return Err(Error::Closed { source: io::ErrorKind::UnexpectedEof.into() });
    }
    let (mut start, mut looked_at) = (0, 0);
    let (mut head, head_length) = loop {
        // A head ends with a line: one that comes byte by byte is not read anew for each of them.
        let is_worth = looked_at == 0 || memchr::memchr(b'\n', &lease.raw[looked_at..filled]).is_some();
        match if is_worth { parse_head(&lease.raw[start..filled])? } else { None } {
            // What comes before the answer is passed over, and counts for its head.
            Some((head, length)) if (100..200).contains(&head.status) && start + length <= HEAD_BYTES_MAX => {
                (start, looked_at) = (start + length, start + length);
            }
            Some(found) if !(100..200).contains(&found.0.status) => break found,
            None if filled <= HEAD_BYTES_MAX => {
                looked_at = filled;
                if read_more(stream, &mut lease.raw, &mut filled).await? == 0 {
                    return Err(Error::Cut);
                }
            }
            _ => return Err(Error::Head { reason: "its head is too long".into() }),
        }
    };
    // A packed body is only ever larger than what is in it by a few bytes in a thousand, and is counted unpacked.
    let PageLimits { bytes, .. } = limits;
    let packed = PageLimits::of_bytes(bytes.saturating_add(bytes / 512 + 1024));
    let limits = if head.is_gzip || head.status != 200 { packed } else { limits };
    let mut incoming = Incoming {
        stream,
        raw: &mut lease.raw,
        start: start + head_length,
        filled,
        limit: limits.bytes,
        count: SampleCount::new(limits),
    };
    let (body, is_whole) = match head.length {
        Length::Known(length) => incoming.known(length).await?,
        Length::Chunked => incoming.chunked().await?,
        Length::UntilClose => (incoming.until_close().await?, false),
    };
    let location = head.location.take().filter(|_| matches!(head.status, 301 | 302 | 303 | 307 | 308));
    let is_reusable = is_whole && head.is_kept_alive;
    Ok(Exchange { lease, head, body, location, is_reusable })
}

/// Waits for the first bytes and reads them into a worker's buffers, held only once they are there.
async fn first_bytes(stream: &mut Stream, buffers: &Buffers) -> io::Result<(Lease, usize)> {
    poll_fn(|context| {
        let mut lease = buffers.take();
        lease.raw.make(ROOM_LEAST);
        let mut room = ReadBuf::new(&mut lease.raw);
        match Pin::new(&mut *stream).poll_read(context, &mut room) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                let filled = room.filled().len();
                Poll::Ready(Ok((lease, filled)))
            }
        }
    })
    .await
}

/// Reads more bytes behind those `filled`; returns how many, 0 at the end.
async fn read_more(stream: &mut Stream, raw: &mut Room, filled: &mut usize) -> Result<usize, Error> {
    if raw.len() - *filled < ROOM_LEAST {
        raw.make((raw.len() * 2).max(*filled + ROOM_LEAST));
    }
    let count = stream.read(&mut raw[*filled..]).await.map_err(|source| Error::Receive { source })?;
    *filled += count;
    Ok(count)
}

/// A body on its way.
struct Incoming<'a> {
    stream: &'a mut Stream,
    raw: &'a mut Room,
    /// Where it begins.
    start: usize,
    /// Where what has come ends.
    filled: usize,
    /// How many bytes it may have.
    limit: usize,
    count: SampleCount,
}

impl Incoming<'_> {
    /// Reads a body of known length; also tells whether nothing comes after it.
    async fn known(&mut self, length: usize) -> Result<(Range<usize>, bool), Error> {
        let limit = self.limit;
        if length > limit {
            return Err(Error::BodySize { limit });
        }
        let end = self.start + length;
        self.raw.make(end);
        while self.filled < end {
            self.count.advance(&self.raw[self.start..self.filled])?;
            let room = &mut self.raw[self.filled..];
            let count = self.stream.read(room).await.map_err(|source| Error::Receive { source })?;
            if count == 0 {
                return Err(Error::Cut);
            }
            self.filled += count;
        }
        Ok((self.start..end, self.filled == end))
    }

    async fn until_close(&mut self) -> Result<Range<usize>, Error> {
        let limit = self.limit;
        while self.filled - self.start <= limit {
            self.count.advance(&self.raw[self.start..self.filled])?;
            if read_more(self.stream, self.raw, &mut self.filled).await? == 0 {
                return Ok(self.start..self.filled);
            }
        }
        Err(Error::BodySize { limit })
    }

    /// Reads a chunked body and joins its chunks in place; also tells whether nothing comes after it.
    async fn chunked(&mut self) -> Result<(Range<usize>, bool), Error> {
        let Incoming { start, limit, .. } = *self;
        let mut chunks = Chunks { joined: start, next: start, state: ChunkState::Size };
        loop {
            chunks.advance(self.raw, self.filled)?;
            if chunks.joined - start > limit {
                return Err(Error::BodySize { limit });
            }
            if chunks.state == ChunkState::Done {
                return Ok((start..chunks.joined, chunks.next == self.filled));
            }
            self.count.advance(&self.raw[start..chunks.joined])?;
            // What is left of the head of a chunk moves up, so that the buffer holds the body once.
            self.raw.copy_within(chunks.next..self.filled, chunks.joined);
            self.filled -= chunks.next - chunks.joined;
            chunks.next = chunks.joined;
            if self.filled - chunks.joined > HEAD_BYTES_MAX {
                return Err(Error::Head { reason: "the head of a chunk is too long".into() });
            }
            if read_more(self.stream, self.raw, &mut self.filled).await? == 0 {
                return Err(Error::Cut);
            }
        }
    }
}

/// How far a chunked body has been joined.
struct Chunks {
    /// Where the joined bytes end.
    joined: usize,
    /// Where the bytes not looked at begin.
    next: usize,
    state: ChunkState,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum ChunkState {
    Size,
    Bytes(usize),
    LineFeed,
    Trailer,
    Done,
}

impl Chunks {
    /// Joins what can be joined of `raw[..filled]`.
    fn advance(&mut self, raw: &mut [u8], filled: usize) -> Result<(), Error> {
        let fault = |reason: &str| Error::Head { reason: reason.into() };
        loop {
            let rest = &raw[self.next..filled];
            match self.state {
                ChunkState::Size => match httparse::parse_chunk_size(rest).map_err(|_| fault("a chunk has no size"))? {
                    httparse::Status::Partial => return Ok(()),
                    httparse::Status::Complete((length, size)) => {
                        self.next += length;
                        let size = usize::try_from(size).map_err(|_| fault("a chunk is too large"))?;
                        self.state = if size == 0 { ChunkState::Trailer } else { ChunkState::Bytes(size) };
                    }
                },
                ChunkState::Bytes(size) => {
                    let count = size.min(rest.len());
                    raw.copy_within(self.next..self.next + count, self.joined);
                    self.next += count;
                    self.joined += count;
                    if count < size {
                        self.state = ChunkState::Bytes(size - count);
                        return Ok(());
                    }
                    self.state = ChunkState::LineFeed;
                }
                ChunkState::LineFeed | ChunkState::Trailer => {
                    let Some(length) = memchr::memchr(b'\n', rest) else { return Ok(()) };
                    self.next += length + 1;
                    let is_empty = matches!(&rest[..length], b"" | b"\r");
                    self.state = match self.state {
                        ChunkState::LineFeed if is_empty => ChunkState::Size,
                        ChunkState::LineFeed => return Err(fault("a chunk is longer than its size")),
                        _ if is_empty => ChunkState::Done,
                        _ => ChunkState::Trailer,
                    };
                }
                ChunkState::Done => return Ok(()),
            }
        }
    }
}

/// Reads the head of an answer and returns its length too; `None` if it is not whole yet.
fn parse_head(raw: &[u8]) -> Result<Option<(Head, usize)>, Error> {
    let fault = |reason: String| Error::Head { reason };
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(raw).map_err(|error| fault(error.to_string()))? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(length) => length,
    };
    let status = response.code.unwrap_or_default();
    let mut head = Head {
        status,
        reason: response.reason.filter(|_| status != 200).unwrap_or_default().to_owned(),
        length: if status == 204 || status == 304 { Length::Known(0) } else { Length::UntilClose },
        is_kept_alive: response.version == Some(1),
        is_gzip: false,
        media_type: MediaType::Missing,
        location: None,
    };
    let (mut is_chunked, mut known_length) = (false, None);
    for header in response.headers.iter() {
        let value = String::from_utf8_lossy(header.value);
        let has_word = |word: &str| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word));
        match header.name {
            name if name.eq_ignore_ascii_case("content-length") => {
                let digits = Some(value.trim()).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                let length = digits.and_then(|digits| digits.parse::<usize>().ok());
                let length = length.ok_or_else(|| fault(format!("content-length {value:?} is no number")))?;
                if known_length.replace(length).is_some_and(|before| before != length) {
                    return Err(fault("it has more than one content-length".into()));
                }
            }
            name if name.eq_ignore_ascii_case("transfer-encoding") => is_chunked = has_word("chunked"),
            name if name.eq_ignore_ascii_case("connection") => {
                head.is_kept_alive = !has_word("close") && (head.is_kept_alive || has_word("keep-alive"));
            }
            name if name.eq_ignore_ascii_case("content-encoding") => {
                let is = |word: &str| value.trim().eq_ignore_ascii_case(word);
                head.is_gzip = is("gzip") || is("x-gzip");
                if !head.is_gzip && !is("") && !is("identity") {
                    return Err(fault(format!("content-encoding {value:?} was not asked for")));
                }
            }
            name if name.eq_ignore_ascii_case("content-type") => {
                head.media_type = MediaType::of_content_type(&value);
            }
            name if name.eq_ignore_ascii_case("location") => head.location = Some(value.into_owned()),
            _ => {}
        }
    }
    match known_length {
        _ if is_chunked => head.length = Length::Chunked,
        Some(length) if head.length == Length::UntilClose => head.length = Length::Known(length),
        _ => {}
    }
    Ok(Some((head, length)))
}
