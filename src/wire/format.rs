//! The two formats of a body: which one it is, and encoding into it.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

/// The largest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = 128 * 1024;
/// The largest reply, in bytes.
pub const REPLY_BYTES_MAX: usize = 512 * 1024;

/// Most events and grants fit into so many bytes.
const JSON_BYTES_USUAL: usize = 256;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// For people and shells, and for answers to what has no format.
    #[default]
    Json,
    /// For libraries: a map with the names of its fields.
    MessagePack,
}

impl Format {
    /// The format that a body begins in: JSON where the first byte that is not blank is `{`, MessagePack where
    /// the first byte announces a map. `None` for an empty body and for one that is neither; the reply to
    /// those is in JSON, the default.
    pub fn of(body: &[u8]) -> Option<Self> {
        if let Some(0x80..=0x8f | 0xde | 0xdf) = body.first() {
            return Some(Self::MessagePack);
        }
        let first = body.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        (first == Some(&b'{')).then_some(Self::Json)
    }
}

/// Encodes one of wire's own structs; a MessagePack map carries the names of the fields.
pub(super) fn encode<T: Serialize>(format: Format, body: &T) -> Bytes {
    let encoded = match format {
        Format::Json => json(body).map_err(|error| error.to_string()),
        Format::MessagePack => rmp_serde::to_vec_named(body).map_err(|error| error.to_string()),
    };
    match encoded {
        Ok(bytes) => bytes.into(),
        // Writing to memory cannot fail, and maps with other keys than texts, the one thing that JSON cannot
        // write, do not occur. An empty body in its stead could end up as the record of a lock.
        Err(error) => unreachable!("a body cannot be encoded: {error}"),
    }
}

fn json<T: Serialize>(body: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(JSON_BYTES_USUAL);
    serde_json::to_writer(&mut bytes, body)?;
    Ok(bytes)
}

/// Whole milliseconds, rounded down: what stands on the wire of a length of time.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(feature = "coordinator")]
/// Bytes that MessagePack stores as bytes and not as a list of numbers.
pub(super) struct Binary<'a>(pub(super) &'a [u8]);

#[cfg(feature = "coordinator")]
impl Serialize for Binary<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells_the_format() {
        for json in ["{}", " {", "\r\n\t {\"a\":", "{\u{0}"] {
            assert_eq!(Format::of(json.as_bytes()), Some(Format::Json), "{json:?}");
        }
        for packed in [&[0x80][..], &[0x8f, 0xff], &[0xde], &[0xdf, 0xff, 0xff]] {
            assert_eq!(Format::of(packed), Some(Format::MessagePack), "{packed:?}");
        }
        for neither in [&b""[..], b" ", b"[]", b"null", b"\"{\"", b"\xef\xbb\xbf{}", b"\x93", b" \x80"] {
            assert_eq!(Format::of(neither), None, "{neither:?}");
        }
    }

    #[test]
    fn message_pack_carries_names_and_bytes() {
        #[derive(Serialize)]
        struct Body {
            a: Binary<'static>,
            #[serde(skip_serializing_if = "Option::is_none")]
            b: Option<u8>,
        }
        let body = Body { a: Binary(b"xy"), b: None };
        assert_eq!(&encode(Format::MessagePack, &body)[..], b"\x81\xa1a\xc4\x02xy");
    }

    #[test]
    fn milliseconds_are_rounded_down() {
        assert_eq!(millis(Duration::from_micros(1_999)), 1);
        assert_eq!(millis(Duration::MAX), u64::MAX);
    }
}
