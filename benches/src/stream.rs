//! An answer as long as it likes, taken as it comes and never kept: of a list all that matters is how many rows it
//! has, and that its end comes.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

use crate::Failure;

/// How much is read at a time.
const PIECE: usize = 64 * 1024;

/// How a list ends: its JSON, and the last of its chunks.
const END: &[u8] = b"]}\r\n0\r\n\r\n";

/// A list that comes.
#[derive(Debug)]
pub struct Stream {
    connection: TcpStream,
    piece: Vec<u8>,
    read: Read,
}

impl Stream {
    /// Asks for it, and waits for the first of it.
    pub async fn open(address: SocketAddr, request: &[u8]) -> Result<Self, Failure> {
        let mut connection = TcpStream::connect(address).await?;
        connection.write_all(request).await?;
        let mut stream = Self { connection, piece: vec![0; PIECE], read: Read::default() };
        let length = stream.connection.read(&mut stream.piece).await?;
        if !stream.piece[..length].starts_with(b"HTTP/1.1 200 ") {
            return Err(format!("not a list: {}", String::from_utf8_lossy(&stream.piece[..length])).into());
        }
        stream.read.take(&stream.piece[..length]);
        Ok(stream)
    }

    /// Reads on to its end. How many rows it has.
    pub async fn rows(mut self) -> Result<usize, Failure> {
        while !self.read.ended() {
            let length = self.connection.read(&mut self.piece).await?;
            if length == 0 {
                return Err(format!("a list broke off after {} rows", self.read.rows()).into());
            }
            self.read.take(&self.piece[..length]);
        }
        Ok(self.read.rows())
    }

    /// Reads a piece, and pauses.
    pub async fn sip(&mut self, pause: Duration) -> Result<(), Failure> {
        let length = self.connection.read_exact(&mut self.piece).await?;
        self.read.take(&self.piece[..length]);
        if self.read.ended() {
            return Err("a list is too short to be read slowly".into());
        }
        sleep(pause).await;
        Ok(())
    }
}

/// What was read so far.
#[derive(Debug, Default)]
struct Read {
    objects: usize,
    last: Vec<u8>,
}

impl Read {
    fn take(&mut self, bytes: &[u8]) {
        // Every row is one object, and no text in it has a brace.
        self.objects += bytes.split(|byte| *byte == b'{').skip(1).count();
        self.last.extend_from_slice(&bytes[bytes.len().saturating_sub(END.len())..]);
        self.last.drain(..self.last.len().saturating_sub(END.len()));
    }

    /// JSON has no line breaks within a text, so nothing but the end reads like this.
    fn ended(&self) -> bool {
        self.last == END
    }

    /// All objects but the one around them.
    const fn rows(&self) -> usize {
        self.objects.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_the_end_are_found_in_pieces_of_any_size() {
        let answer =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1a\r\n{\"cards\":[{\"a\":1},{\"a\":2}\r\na\r\n,{\"a\":3}]}\r\n0\r\n\r\n";
        for size in [1, 2, 7, answer.len()] {
            let mut read = Read::default();
            for piece in answer.chunks(size) {
                assert!(!read.ended());
                read.take(piece);
            }
            assert_eq!((read.rows(), read.ended()), (3, true), "{size}");
        }
    }
}
