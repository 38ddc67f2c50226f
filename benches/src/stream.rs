//! Reads a list of any length as a stream without storing it, and counts its rows.

use bench::Failure;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

/// The number of bytes read at a time.
const PIECE: usize = 64 * 1024;

/// How the rows of an answer are found in its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// A byte that each row has once.
    row: u8,
    /// How often the rest of the answer has it.
    others: usize,
    /// The end: that of the body, and the last chunk.
    end: &'static [u8],
}

impl Shape {
    /// A list in JSON. Every row is one object, as is the list, and no text contains a brace.
    pub const LIST: Self = Self { row: b'{', others: 1, end: b"]}\r\n0\r\n\r\n" };

    /// A statement in JSON, of movements of one type. The totals and that of the type are objects too.
    pub const STATEMENT: Self = Self { others: 3, ..Self::LIST };

    /// A statement in CSV. Every line has a time, which ends with a Z: also those of the two balances.
    pub const CSV: Self = Self { row: b'Z', others: 2, end: b",,,\r\n\r\n0\r\n\r\n" };
}

/// A list that is being read.
#[derive(Debug)]
pub struct Stream {
    connection: TcpStream,
    piece: Vec<u8>,
    progress: Progress,
}

impl Stream {
    /// Sends the request, and reads the first bytes of the answer.
    pub async fn open(address: SocketAddr, request: &[u8], shape: Shape) -> Result<Self, Failure> {
        let mut connection = TcpStream::connect(address).await?;
        connection.write_all(request).await?;
        let mut stream = Self { connection, piece: vec![0; PIECE], progress: Progress::of(shape) };
        let length = stream.connection.read(&mut stream.piece).await?;
        if !stream.piece[..length].starts_with(b"HTTP/1.1 200 ") {
            return Err(format!("not a list: {}", String::from_utf8_lossy(&stream.piece[..length])).into());
        }
        stream.progress.take(&stream.piece[..length]);
        Ok(stream)
    }

    /// Reads to the end, and returns the number of rows.
    pub async fn rows(mut self) -> Result<usize, Failure> {
        while !self.progress.ended() {
            let length = self.connection.read(&mut self.piece).await?;
            if length == 0 {
                return Err(format!("the list broke off after {} rows", self.progress.rows()).into());
            }
            self.progress.take(&self.piece[..length]);
        }
        Ok(self.progress.rows())
    }

    /// Reads a piece and pauses.
    pub async fn read_and_pause(&mut self, pause: Duration) -> Result<(), Failure> {
        let length = self.connection.read_exact(&mut self.piece).await?;
        self.progress.take(&self.piece[..length]);
        if self.progress.ended() {
            return Err("the list is too short to be read slowly".into());
        }
        sleep(pause).await;
        Ok(())
    }
}

/// What has been read so far.
#[derive(Debug)]
struct Progress {
    shape: Shape,
    found: usize,
    last: Vec<u8>,
}

impl Progress {
    const fn of(shape: Shape) -> Self {
        Self { shape, found: 0, last: Vec::new() }
    }

    fn take(&mut self, bytes: &[u8]) {
        let Shape { row, end, .. } = self.shape;
        self.found += bytes.split(|byte| *byte == row).skip(1).count();
        self.last.extend_from_slice(&bytes[bytes.len().saturating_sub(end.len())..]);
        self.last.drain(..self.last.len().saturating_sub(end.len()));
    }

    /// Only the last chunk is empty, so only the end of the answer can look like this.
    fn ended(&self) -> bool {
        self.last == self.shape.end
    }

    const fn rows(&self) -> usize {
        self.found.saturating_sub(self.shape.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_the_end_are_found_in_pieces_of_any_size() {
        let answer =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1a\r\n{\"cards\":[{\"a\":1},{\"a\":2}\r\na\r\n,{\"a\":3}]}\r\n0\r\n\r\n";
        let file = b"HTTP/1.1 200 OK\r\ndate: x\r\n\r\n10\r\na,at\r\n,0Z,,,\r\nb,1Z,,,\r\n\r\n9\r\n,2Z,,,\r\n\r\n0\r\n\r\n";
        for (answer, shape, rows) in [(&answer[..], Shape::LIST, 3), (file, Shape::CSV, 1)] {
            for size in [1, 2, 7, answer.len()] {
                let mut progress = Progress::of(shape);
                for piece in answer.chunks(size) {
                    assert!(!progress.ended());
                    progress.take(piece);
                }
                assert_eq!((progress.rows(), progress.ended()), (rows, true), "{size}");
            }
        }
    }
}
