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

/// The end of a list: its JSON, and the last chunk.
const END: &[u8] = b"]}\r\n0\r\n\r\n";

/// A list that is being read.
#[derive(Debug)]
pub struct Stream {
    connection: TcpStream,
    piece: Vec<u8>,
    progress: Progress,
}

impl Stream {
    /// Sends the request, and reads the first bytes of the answer.
    pub async fn open(address: SocketAddr, request: &[u8]) -> Result<Self, Failure> {
        let mut connection = TcpStream::connect(address).await?;
        connection.write_all(request).await?;
        let mut stream = Self { connection, piece: vec![0; PIECE], progress: Progress::default() };
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
#[derive(Debug, Default)]
struct Progress {
    objects: usize,
    last: Vec<u8>,
}

impl Progress {
    fn take(&mut self, bytes: &[u8]) {
        // Every row is one object, and no text contains a brace.
        self.objects += bytes.split(|byte| *byte == b'{').skip(1).count();
        self.last.extend_from_slice(&bytes[bytes.len().saturating_sub(END.len())..]);
        self.last.drain(..self.last.len().saturating_sub(END.len()));
    }

    /// JSON text contains no raw line break, so only the end of the list can look like this.
    fn ended(&self) -> bool {
        self.last == END
    }

    /// All objects but the outer one.
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
            let mut progress = Progress::default();
            for piece in answer.chunks(size) {
                assert!(!progress.ended());
                progress.take(piece);
            }
            assert_eq!((progress.rows(), progress.ended()), (3, true), "{size}");
        }
    }
}
