//! The encoding of names (PROTOCOL.md section 1): what is not plain becomes `=XX`, so that the result is legal
//! both as NATS subject tokens and as a KV key, and no two names share an encoding.

use std::fmt::Write as _;

/// True for the bytes that stand for themselves.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/')
}

/// Encodes `raw`; a dot stays a separator where `dots` is true and is encoded otherwise.
pub(super) fn encode(raw: &str, dots: bool) -> String {
    let mut encoded = String::with_capacity(raw.len());
    for byte in raw.bytes() {
        if is_plain(byte) || (dots && byte == b'.') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "={byte:02X}");
        }
    }
    encoded
}

/// Why a text is not an encoded name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    /// A byte that has to be written as `=XX`.
    Raw(u8),
    /// `=` without two upper-case hex digits, or an escape of a byte that needs none.
    Escape,
    /// The bytes behind the escapes are not UTF-8.
    Utf8,
}

/// Decodes an encoded name. Only the canonical encoding is accepted, so `encode(decode(x)) == x`.
pub(super) fn decode(encoded: &str, dots: bool) -> Result<String, Malformed> {
    let bytes = encoded.as_bytes();
    let mut raw = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'=' {
            let escaped = escaped_byte(bytes.get(at + 1..at + 3))?;
            if is_plain(escaped) || (dots && escaped == b'.') {
                return Err(Malformed::Escape);
            }
            raw.push(escaped);
            at += 3;
        } else if is_plain(byte) || (dots && byte == b'.') {
            raw.push(byte);
            at += 1;
        } else {
            return Err(Malformed::Raw(byte));
        }
    }
    String::from_utf8(raw).map_err(|_| Malformed::Utf8)
}

fn escaped_byte(digits: Option<&[u8]>) -> Result<u8, Malformed> {
    let Some(&[high, low]) = digits else { return Err(Malformed::Escape) };
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(Malformed::Escape),
    };
    Ok(digit(high)? * 16 + digit(low)?)
}
