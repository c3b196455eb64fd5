//! The way of one process to one server: it can be cut, held up or delayed, each direction by itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::clock::{Clock as _, SystemClock};
use crate::types::Timestamp;

/// So many pieces may be on their way in a direction before it takes no more.
const PIECES_MAX: usize = 1_024;
const PIECE_BYTES_MAX: usize = 16 * 1_024;

/// How one direction is at the moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Way {
    /// Nothing arrives. What is sent waits, and is lost where the connection ends meanwhile.
    pub(super) held: bool,
    /// Everything arrives this much later.
    pub(super) delay: Duration,
}

/// Which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the process to the server.
    Up,
    /// From the server to the process.
    Down,
}

#[derive(Debug)]
pub(super) struct Proxy {
    address: SocketAddr,
    up: watch::Sender<Way>,
    down: watch::Sender<Way>,
    cuts: watch::Sender<u64>,
}

/// What a connection listens to.
#[derive(Clone)]
struct Heard {
    up: watch::Receiver<Way>,
    down: watch::Receiver<Way>,
    cuts: watch::Receiver<u64>,
}

impl Proxy {
    /// In front of the server on this port of 127.0.0.1. It ends with the runtime.
    pub(super) async fn start(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (up, down) = (watch::Sender::new(Way::default()), watch::Sender::new(Way::default()));
        let cuts = watch::Sender::new(0);
        let heard = Heard { up: up.subscribe(), down: down.subscribe(), cuts: cuts.subscribe() };
        tokio::spawn(accept(listener, port, heard));
        Ok(Self { address, up, down, cuts })
    }

    pub(super) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Ends every connection; new ones are served.
    pub(super) fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    pub(super) fn set(&self, direction: Direction, way: Way) {
        match direction {
            Direction::Up => self.up.send_replace(way),
            Direction::Down => self.down.send_replace(way),
        };
    }
}

async fn accept(listener: TcpListener, port: u16, heard: Heard) {
    while let Ok((process, _)) = listener.accept().await {
        let mut heard = heard.clone();
        heard.cuts.mark_unchanged();
        tokio::spawn(async move {
            // A server that is down refuses; the process then sees its connection end.
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            if process.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
                return;
            }
            let ((from_process, to_process), (from_server, to_server)) =
                (process.into_split(), server.into_split());
            let Heard { up, down, mut cuts } = heard;
            tokio::select! {
                () = pump(from_process, to_server, up) => {}
                () = pump(from_server, to_process, down) => {}
                _ = cuts.changed() => {}
            }
        });
    }
}

/// Carries one direction until its source is over, and all that came from it has arrived: what a process says last
/// is not lost.
async fn pump(from: OwnedReadHalf, to: OwnedWriteHalf, way: watch::Receiver<Way>) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    tokio::join!(take_in(from, sender, way.clone()), hand_on(to, receiver, way));
}

async fn take_in(
    mut from: OwnedReadHalf,
    sender: mpsc::Sender<(Timestamp, Bytes)>,
    way: watch::Receiver<Way>,
) {
    loop {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES_MAX);
        match from.read_buf(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let due = SystemClock::boot() + way.borrow().delay;
                if sender.send((due, piece.freeze())).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn hand_on(
    mut to: OwnedWriteHalf,
    mut receiver: mpsc::Receiver<(Timestamp, Bytes)>,
    mut way: watch::Receiver<Way>,
) {
    while let Some((due, piece)) = receiver.recv().await {
        SystemClock.sleep_until(due).await;
        if way.wait_for(|way| !way.held).await.is_err() || to.write_all(&piece).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::within;

    /// A server that says back what it hears, a proxy before it, and a connection through that.
    async fn echoed() -> (Proxy, TcpStream) {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((connection, _)) = server.accept().await {
                let (mut read, mut write) = connection.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut read, &mut write).await });
            }
        });
        let proxy = Proxy::start(port).await.unwrap();
        let client = TcpStream::connect(proxy.address).await.unwrap();
        (proxy, client)
    }

    async fn echo(client: &mut TcpStream) -> io::Result<u8> {
        client.write_all(b"x").await?;
        client.read_u8().await
    }

    #[tokio::test]
    async fn each_direction_can_be_delayed_and_held() {
        let (proxy, mut client) = echoed().await;
        assert_eq!(echo(&mut client).await.unwrap(), b'x');
        let delay = Duration::from_millis(100);
        proxy.set(Direction::Down, Way { held: false, delay });
        let sent = SystemClock::boot();
        assert_eq!(echo(&mut client).await.unwrap(), b'x');
        assert!(SystemClock::boot().since(sent) >= delay);
        for direction in [Direction::Up, Direction::Down] {
            proxy.set(direction, Way { held: true, delay: Duration::ZERO });
            client.write_all(b"y").await.unwrap();
            assert!(within(&SystemClock, delay, client.read_u8()).await.is_none(), "{direction:?}");
            proxy.set(direction, Way::default());
            assert_eq!(client.read_u8().await.unwrap(), b'y');
        }
    }

    #[tokio::test]
    async fn what_is_said_last_arrives() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap().port()).await.unwrap();
        proxy.set(Direction::Up, Way { held: false, delay: Duration::from_millis(50) });
        let mut client = TcpStream::connect(proxy.address).await.unwrap();
        client.write_all(b"farewell").await.unwrap();
        drop(client);
        let mut heard = Vec::new();
        server.accept().await.unwrap().0.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"farewell");
    }

    #[tokio::test]
    async fn a_cut_ends_what_is_there_and_nothing_later() {
        let (proxy, mut client) = echoed().await;
        assert_eq!(echo(&mut client).await.unwrap(), b'x');
        proxy.cut();
        assert!(echo(&mut client).await.is_err());
        let mut again = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(echo(&mut again).await.unwrap(), b'x');
    }
}
