//! HTTP/1.1 as far as it is needed: a request with a body of known length, an answer whole or in
//! chunks.
//!
//! Used by `handle`. Bounds what a client can make the server hold (head, body) and how long it
//! can make it wait.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// Longest request line and headers together, in bytes.
const HEAD_BYTES: usize = 16 << 10;
/// Most headers.
const HEADERS: usize = 64;
/// How long a connection may be silent, and a request take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Vec<u8>,
    pub(super) keep_alive: bool,
}

/// A status and what is wrong.
pub(super) struct Refusal(pub(super) u16, pub(super) String);

/// A client.
pub(super) struct Connection {
    stream: TcpStream,
    /// Read, and not yet part of a request.
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// The next request; nothing if the client went away or says nothing.
    pub(super) fn read(&mut self, most: usize) -> Result<Option<Request>, Refusal> {
        let mut began = None;
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS];
            let mut head = httparse::Request::new(&mut headers);
            let parsed = head
                .parse(&self.buffer)
                .map_err(|error| Refusal(400, format!("not HTTP/1.1: {error}")))?;
            if let httparse::Status::Complete(start) = parsed {
                let header = |name: &str| {
                    let mut named = head.headers.iter();
                    let found = named.find(|header| header.name.eq_ignore_ascii_case(name))?;
                    std::str::from_utf8(found.value).ok().map(str::trim)
                };
                if header("transfer-encoding").is_some() {
                    return Err(Refusal(411, "send the body with a content-length".into()));
                }
                let length = match header("content-length") {
                    None => 0,
                    Some(text) => text
                        .parse::<usize>()
                        .map_err(|_| Refusal(400, "content-length is no number".into()))?,
                };
                if length > most {
                    let text = format!("the body has {length} bytes, at most {most} are taken");
                    return Err(Refusal(413, text));
                }
                let closes = header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
                let request = Request {
                    method: head.method.unwrap_or_default().to_owned(),
                    path: head.path.unwrap_or_default().to_owned(),
                    body: Vec::new(),
                    keep_alive: !closes && head.version == Some(1),
                };
                let expects = header("expect").is_some();
                return self.body(request, start, length, expects);
            }
            if self.buffer.len() >= HEAD_BYTES {
                return Err(Refusal(431, format!("the head exceeds {HEAD_BYTES} bytes")));
            }
            if !self.more(began)? {
                return Ok(None);
            }
            began.get_or_insert_with(Instant::now);
        }
    }

    fn body(
        &mut self,
        request: Request,
        start: usize,
        length: usize,
        expects: bool,
    ) -> Result<Option<Request>, Refusal> {
        if expects && self.buffer.len() < start + length {
            // A client that went away is noticed by the next read.
            let _ = self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let began = Some(Instant::now());
        while self.buffer.len() < start + length {
            if !self.more(began)? {
                return Ok(None);
            }
        }
        let rest = self.buffer.split_off(start + length);
        let body = self.buffer.split_off(start);
        self.buffer = rest;
        Ok(Some(Request { body, ..request }))
    }

    /// Reads what there is; false if the client is gone or silent.
    fn more(&mut self, began: Option<Instant>) -> Result<bool, Refusal> {
        if began.is_some_and(|began| began.elapsed() > PATIENCE) {
            return Err(Refusal(408, "the request takes too long to arrive".into()));
        }
        let mut piece = [0; 8192];
        match self.stream.read(&mut piece) {
            Ok(0) | Err(_) => Ok(false),
            Ok(read) => {
                self.buffer.extend_from_slice(&piece[..read]);
                Ok(true)
            }
        }
    }

    /// Whether the client closed the connection.
    pub(super) fn is_gone(&self) -> bool {
        let mut byte = [0];
        if self.stream.set_nonblocking(true).is_err() {
            return true;
        }
        let peeked = self.stream.peek(&mut byte);
        let gone = match peeked {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        };
        self.stream.set_nonblocking(false).is_err() || gone
    }

    /// Sends an answer.
    pub(super) fn send(
        &mut self,
        status: u16,
        kind: &str,
        body: &str,
        keep_alive: bool,
    ) -> std::io::Result<()> {
        let retry = if status == 503 {
            "retry-after: 1\r\n"
        } else {
            ""
        };
        let head = format!(
            "HTTP/1.1 {status} {}\r\ncontent-type: {kind}\r\n{retry}content-length: {}\r\n\
             connection: {}\r\n\r\n",
            reason(status),
            body.len(),
            if keep_alive { "keep-alive" } else { "close" }
        );
        self.stream
            .write_all([head.as_bytes(), body.as_bytes()].concat().as_slice())
    }

    /// Begins an answer of server-sent events.
    pub(super) fn begin_events(&mut self) -> std::io::Result<()> {
        self.stream.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
              transfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n",
        )
    }

    /// Sends an event.
    pub(super) fn event(&mut self, data: &str) -> std::io::Result<()> {
        let event = format!("data: {data}\n\n");
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        self.stream.write_all(chunk.as_bytes())
    }

    /// Ends the events.
    pub(super) fn end_events(&mut self) -> std::io::Result<()> {
        self.stream.write_all(b"0\r\n\r\n")
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}
