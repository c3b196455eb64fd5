//! One connection to one server, up to its end.

use std::io;
use std::time::Duration;

use async_nats::ServerAddr;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::hello::{Login, ServerHello};
use super::tls;
use crate::clock::{SystemClock, within};
use crate::nats::connect::ConnectError;
use crate::nats::options::ConnectOptions;
use crate::wire::DecodeError;
use crate::wire::frame::{self, Frame};

/// Room for so much is made at a time, when there is hardly any left. (Messages that nobody has dealt with yet share it.)
const ROOM_BYTES: usize = 64 * 1024;
const ROOM_BYTES_MIN: usize = 4 * 1024;
/// How long a server may take what is said to it, which is a few bytes now and then.
const SAY_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a connection has ended, or never was.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("what came is no NATS: {0}")]
    Garbled(#[from] DecodeError),
    #[error("the server says: {0}")]
    Refused(String),
    #[error(transparent)]
    Option(#[from] ConnectError),
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("the server is another than that of the coordinator's first connection")]
    Elsewhere,
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection that a server has let in.
pub(super) struct Line {
    stream: Box<dyn Duplex>,
    buffer: BytesMut,
}

impl Line {
    /// Connects to one address.
    ///
    /// # Errors
    /// [`Cut::Elsewhere`], where `wanted` is the id of another server; nobody has been let in then.
    pub(super) async fn open(
        address: &ServerAddr,
        wanted: Option<&str>,
        options: &ConnectOptions,
        login: &Login,
    ) -> Result<Self, Cut> {
        let stream = TcpStream::connect((address.host(), address.port())).await?;
        stream.set_nodelay(true)?;
        let mut line = Self { stream: Box::new(stream), buffer: BytesMut::new() };
        let server = line.greeted().await?;
        if wanted.is_some_and(|wanted| wanted != server.server_id) {
            return Err(Cut::Elsewhere);
        }
        let wants_tls = options.tls.required || address.tls_required();
        if wants_tls || server.tls_required {
            line = line.over_tls(address, options).await?;
        }
        line.say(&login.answer(&server, options, wants_tls)?).await?;
        line.let_in().await?;
        Ok(line)
    }

    async fn greeted(&mut self) -> Result<ServerHello, Cut> {
        match self.next().await? {
            Frame::Info(info) => serde_json::from_slice(&info).map_err(|error| {
                Cut::Io(io::Error::new(io::ErrorKind::InvalidData, format!("what the server is: {error}")))
            }),
            Frame::Error(error) => Err(Cut::Refused(error)),
            other => Err(Cut::Refused(format!("{other:?}, and not what it is"))),
        }
    }

    /// What came in the open before this is not read any more: anybody may have said it.
    async fn over_tls(self, address: &ServerAddr, options: &ConnectOptions) -> Result<Self, Cut> {
        let settings = options.tls.clone();
        let config = tokio::task::spawn_blocking(move || tls::client_config(&settings)).await;
        let config = config.map_err(io::Error::other)??;
        let name = ServerName::try_from(address.host().to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config).connect(name, self.stream).await?;
        Ok(Self { stream: Box::new(stream), buffer: BytesMut::new() })
    }

    async fn let_in(&mut self) -> Result<(), Cut> {
        loop {
            match self.next().await? {
                Frame::Pong => return Ok(()),
                Frame::Error(error) => return Err(Cut::Refused(error)),
                Frame::Ping => self.say(b"PONG\r\n").await?,
                Frame::Info(_) | Frame::Done | Frame::Message(_) => {}
            }
        }
    }

    async fn next(&mut self) -> Result<Frame, Cut> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(frame);
            }
            self.read().await?;
        }
    }

    /// The next frame that has come already.
    pub(super) fn take(&mut self) -> Result<Option<Frame>, Cut> {
        Ok(frame::take(&mut self.buffer)?)
    }

    /// Waits for more.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn read(&mut self) -> Result<(), Cut> {
        if self.buffer.capacity() - self.buffer.len() < ROOM_BYTES_MIN {
            self.buffer.reserve(ROOM_BYTES);
        }
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(Cut::Io(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server has ended the connection",
            ))),
            _ => Ok(()),
        }
    }

    /// Says something.
    ///
    /// # Cancel safety
    /// None: the connection is of no use any more.
    pub(super) async fn say(&mut self, words: &[u8]) -> Result<(), Cut> {
        let said = async {
            self.stream.write_all(words).await?;
            self.stream.flush().await
        };
        within(&SystemClock, SAY_TIMEOUT, said).await.ok_or(Cut::Silent(SAY_TIMEOUT))?.map_err(Cut::Io)
    }
}
