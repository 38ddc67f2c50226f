//! A minimal HTTP/1.1 client on a persistent connection, which supports what the service's answers need.

use std::{net::SocketAddr, ops::Range};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::Failure;

/// A connection that carries one request at a time.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// The server refuses it.
    pub async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(1024) })
    }

    /// Sends a request and returns the body of the complete answer.
    ///
    /// # Errors
    ///
    /// The connection breaks, or the status is not 200.
    pub async fn send(&mut self, request: &[u8]) -> Result<&[u8], Failure> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let answer = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the server closed the connection".into());
            }
            match parse(&self.buffer)? {
                Some(answer) if answer.body.end <= self.buffer.len() => break answer,
                _ => {}
            }
        };
        if answer.body.end < self.buffer.len() {
            return Err("the server sent more than one answer".into());
        }
        let body = &self.buffer[answer.body];
        if answer.status == 200 { Ok(body) } else { Err(format!("status {}: {}", answer.status, String::from_utf8_lossy(body)).into()) }
    }
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    /// The range of the body, which may not have arrived completely.
    body: Range<usize>,
}

/// Parses the head once it is complete.
fn parse(bytes: &[u8]) -> Result<Option<Answer>, &'static str> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "the head of an answer is not text")?;
    let (first, headers) = head.split_once("\r\n").ok_or("the answer has no headers")?;
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).ok_or("not an HTTP/1.1 answer")?;
    let length: usize = headers
        .split("\r\n")
        .filter_map(|header| header.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or("the answer has no Content-Length")?;
    Ok(Some(Answer { status, body: end + 4..end + 4 + length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_parsed_into_its_status_and_body_range() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(parse(bytes), Ok(Some(Answer { status: 200, body: 70..72 })));
        assert_eq!(parse(&bytes[..70]), Ok(Some(Answer { status: 200, body: 70..72 })));
        assert_eq!(parse(&bytes[..69]), Ok(None));
        assert_eq!(parse(b""), Ok(None));
        let refused = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(parse(refused).unwrap().unwrap().status, 503);
    }

    #[test]
    fn a_malformed_answer_is_refused() {
        for malformed in ["SSH-2.0\r\n\r\n", "HTTP/1.1 x\r\na: b\r\n\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"] {
            assert!(parse(malformed.as_bytes()).is_err(), "{malformed}");
        }
    }
}
