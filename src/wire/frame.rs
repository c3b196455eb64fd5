//! What a NATS server says to a connection that takes no headers: lines, and behind some of them a body.
//!
//! Subjects and replies are what somebody else has sent: the server passes on any bytes but white space. The rest is
//! the server's own, and where it makes no sense, nothing behind it can be read either.
//! (The protocol: <https://docs.nats.io/reference/reference-protocols/nats-protocol>.)

use bytes::{Buf as _, Bytes, BytesMut};

use super::value::DecodeError;

/// The longest line. Those with a message have at most the server's `max_control_line` (4 KiB), twice; the one with
/// what the server can do lists the servers of its cluster.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// The longest body: the most that a server can be told to take.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One thing that a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// What it is and can do, in JSON.
    Info(Bytes),
    /// A message for a subscription.
    Message(Delivered),
    /// It wants a sign of life.
    Ping,
    /// It has done all that it was sent before the ping that this answers.
    Pong,
    /// It has done something; only said to those who want to hear it.
    Done,
    /// It has not, and why.
    Error(String),
}

/// A message for a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The number of the subscription.
    pub subscription: u64,
    /// Where it was sent. Bytes that are not UTF-8 have become U+FFFD.
    pub subject: String,
    /// Where an answer goes, in the same way.
    pub reply: Option<String>,
    /// Its body.
    pub body: Bytes,
}

/// Takes the first frame out of what has come; `None` where its end has not come yet, and nothing is taken then.
///
/// # Errors
/// Bytes that no server sends to such a connection. Nothing behind them can be read.
pub fn take(buffer: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
    let Some(end) = buffer.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n') else {
        let too_long = buffer.len() >= LINE_BYTES_MAX;
        return if too_long { Err(DecodeError::new("a line without an end")) } else { Ok(None) };
    };
    let line = buffer[..end].trim_ascii_end();
    let (verb, rest) = line.split_at(line.iter().position(|byte| is_blank(*byte)).unwrap_or(line.len()));
    let rest = rest.trim_ascii_start();
    let frame = match verb {
        b"MSG" => return take_message(buffer, end),
        b"PING" => Frame::Ping,
        b"PONG" => Frame::Pong,
        b"+OK" => Frame::Done,
        b"-ERR" => Frame::Error(text(rest).trim_matches('\'').to_owned()),
        b"INFO" => Frame::Info(Bytes::copy_from_slice(rest)),
        _ => return Err(DecodeError::new(format!("not a word of a NATS server: {:?}", text(verb)))),
    };
    buffer.advance(end + 1);
    Ok(Some(frame))
}

/// `MSG <subject> <number> [reply] <bytes>`, and so many bytes behind it.
fn take_message(buffer: &mut BytesMut, end: usize) -> Result<Option<Frame>, DecodeError> {
    let head = Head::parse(&buffer[..end])?;
    let whole = end + 1 + head.length + 2;
    if buffer.len() < whole {
        return Ok(None);
    }
    let Head { subscription, subject, reply, length } = head;
    buffer.advance(end + 1);
    let body = buffer.split_to(length).freeze();
    let behind = buffer.split_to(2);
    if &behind[..] != b"\r\n" {
        return Err(DecodeError::new("a body that goes on behind its end"));
    }
    Ok(Some(Frame::Message(Delivered { subscription, subject, reply, body })))
}

struct Head {
    subscription: u64,
    subject: String,
    reply: Option<String>,
    length: usize,
}

impl Head {
    fn parse(line: &[u8]) -> Result<Self, DecodeError> {
        let mut words = line.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty()).skip(1);
        let mut next = || words.next();
        let (subject, subscription, reply, length) = match (next(), next(), next(), next(), next()) {
            (Some(subject), Some(number), Some(reply), Some(length), None) => {
                (subject, number, Some(reply), length)
            }
            (Some(subject), Some(number), Some(length), None, None) => (subject, number, None, length),
            _ => return Err(DecodeError::new("a message with too few or too many words")),
        };
        let length = usize::try_from(number(length)?).unwrap_or(usize::MAX);
        if length > BODY_BYTES_MAX {
            return Err(DecodeError::new(format!("a body of {length} bytes")));
        }
        let subscription = number(subscription)?;
        Ok(Self { subscription, subject: text(subject), reply: reply.map(text), length })
    }
}

/// What divides words. Others than these are part of a word: a subject may hold any other byte.
const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn number(word: &[u8]) -> Result<u64, DecodeError> {
    let digits = std::str::from_utf8(word).ok().filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| DecodeError::new(format!("not a number: {:?}", text(word))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<Frame>, DecodeError> {
        let mut buffer = BytesMut::from(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = take(&mut buffer)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    fn message(subject: &str, reply: Option<&str>, body: &[u8]) -> Frame {
        Frame::Message(Delivered {
            subscription: 7,
            subject: subject.into(),
            reply: reply.map(Into::into),
            body: Bytes::copy_from_slice(body),
        })
    }

    #[test]
    fn knows_the_servers_words() {
        let said = all(b"INFO {\"a\": 1} \r\nPING\r\nPONG\r\n+OK\r\n-ERR 'Stale Connection'\r\n").unwrap();
        let info = Frame::Info(Bytes::from_static(b"{\"a\": 1}"));
        let error = Frame::Error("Stale Connection".into());
        assert_eq!(said, [info, Frame::Ping, Frame::Pong, Frame::Done, error]);
        let said = all(b"MSG a.b 7 2\r\nhi\r\nMSG a 7 _INBOX.x 0\r\n\r\n").unwrap();
        assert_eq!(said, [message("a.b", None, b"hi"), message("a", Some("_INBOX.x"), b"")]);
    }

    #[test]
    fn what_others_send_may_be_any_bytes() {
        let said = all(b"MSG a.\xff\xfe 7 _INBOX.\xc3 3\r\n\r\n\xff\r\nPING\r\n").unwrap();
        let odd = message("a.\u{fffd}\u{fffd}", Some("_INBOX.\u{fffd}"), b"\r\n\xff");
        assert_eq!(said, [odd, Frame::Ping]);
        // White space that only Unicode knows, and control characters, divide nothing.
        let said = all("MSG a\u{a0}b\u{b}\u{85} 7 1\r\nx\r\n".as_bytes()).unwrap();
        assert_eq!(said, [message("a\u{a0}b\u{b}\u{85}", None, b"x")]);
    }

    #[test]
    fn what_no_server_says_is_an_error() {
        for bytes in [
            &b"HELLO\r\n"[..],
            b"\r\n",
            b"MSG a 7\r\n",
            b"MSG a 7 b 2 3\r\nhi\r\n",
            b"MSG a x 2\r\nhi\r\n",
            b"MSG a 7 +2\r\nhi\r\n",
            b"MSG a 7 99999999999999999999\r\n",
            b"MSG a 7 67108865\r\n",
            b"MSG a 7 2\r\nhix\n",
            b"HMSG a 7 12 12\r\nNATS/1.0\r\n\r\n\r\n",
            &[b'x'; LINE_BYTES_MAX],
        ] {
            assert!(all(bytes).is_err(), "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]));
        }
    }

    fn word() -> impl Strategy<Value = Vec<u8>> {
        let byte = any::<u8>().prop_filter("divides words", |byte| !byte.is_ascii_whitespace());
        proptest::collection::vec(byte, 1..20)
    }

    proptest! {
        /// However a stream is cut into pieces, the same comes out of it.
        #[test]
        fn pieces_of_any_length_are_put_together(
            messages in proptest::collection::vec((word(), proptest::option::of(word()), any::<Vec<u8>>()), 1..6),
            cuts in proptest::collection::vec(1_usize..40, 1..20),
        ) {
            let mut bytes = Vec::new();
            let mut expected = Vec::new();
            for (subject, reply, body) in &messages {
                bytes.extend_from_slice(&[b"MSG ", &subject[..], b" 7 "].concat());
                if let Some(reply) = reply {
                    bytes.extend_from_slice(&[reply, &b" "[..]].concat());
                }
                bytes.extend_from_slice(&[format!("{}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat());
                expected.push(message(&text(subject), reply.as_deref().map(text).as_deref(), body));
            }
            let (mut buffer, mut found, mut rest) = (BytesMut::new(), Vec::new(), &bytes[..]);
            for length in cuts.iter().cycle() {
                let (piece, behind) = rest.split_at((*length).min(rest.len()));
                buffer.extend_from_slice(piece);
                while let Some(frame) = take(&mut buffer)? {
                    found.push(frame);
                }
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, expected);
            prop_assert!(buffer.is_empty());
        }
    }
}
