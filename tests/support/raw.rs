//! A connection without a library: it sends what no library would.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use super::{NatsServer, PATIENCE};

pub(crate) struct Raw(BufReader<TcpStream>);

impl Raw {
    pub(crate) fn connect(server: &NatsServer) -> Self {
        let url = server.url();
        let stream = TcpStream::connect(url.strip_prefix("nats://").unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut raw = Self(BufReader::new(stream));
        assert!(raw.line().starts_with("INFO "));
        let options = r#"{"verbose":false,"pedantic":false,"headers":true,"no_responders":true}"#;
        raw.send(format!("CONNECT {options}\r\n").as_bytes());
        raw
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).unwrap();
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Everything that was sent before has reached the server, which still talks to us. Returns what it said.
    pub(crate) fn settle(&mut self) -> String {
        self.send(b"PING\r\n");
        let mut said = String::new();
        loop {
            match self.line() {
                line if line.starts_with("PONG") => return said,
                line if line.starts_with("PING") => self.send(b"PONG\r\n"),
                line if line.is_empty() => panic!("the server has ended the connection: {said}"),
                line => said += &line,
            }
        }
    }

    /// All that the server says before it ends the connection.
    pub(crate) fn until_closed(&mut self) -> String {
        let mut said = Vec::new();
        // It may end it with a reset.
        let ended = self.0.read_to_end(&mut said);
        let waits =
            |error: io::Error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        assert!(!ended.is_err_and(waits), "the server does not end the connection");
        String::from_utf8_lossy(&said).into_owned()
    }
}
