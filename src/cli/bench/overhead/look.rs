//! Looking at a coordinator: as Prometheus does, and as somebody does who opens the view.

use std::io::{Error, Result};
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;

/// How a view begins what it shows, second by second.
const SHOWN: &str = "data:";

/// Reads the figures, and opens a view until it shows something. A view that stays open costs less each second: what
/// has been shown, the last five minutes above all, is not sent again.
pub(super) async fn look(at: SocketAddr) -> Result<()> {
    let mut figures = get(at, "/metrics").await?;
    while figures.next_line().await?.is_some() {}
    let mut view = get(at, "/live").await?;
    while let Some(line) = view.next_line().await? {
        if line.starts_with(SHOWN) {
            return Ok(());
        }
    }
    Err(Error::other("the view has ended and shown nothing"))
}

/// The lines of an answer, the first of which says that it is one.
async fn get(at: SocketAddr, path: &str) -> Result<Lines<BufReader<TcpStream>>> {
    let mut stream = TcpStream::connect(at).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next_line().await?.unwrap_or_default();
    match first.starts_with("HTTP/1.1 200 ") {
        true => Ok(lines),
        false => Err(Error::other(format!("{path} is answered {first:?}"))),
    }
}
