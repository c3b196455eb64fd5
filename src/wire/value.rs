//! Any JSON or MessagePack body as a value: strict about what two decoders could read differently.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize as _;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::fields::Fields;
use super::format::Format;

/// How deep lists and maps may nest. The deepest message of natslock has four levels.
const DEPTH_MAX: usize = 32;
/// Up to so many fields, comparing each with each is faster than sorting them.
const FEW_FIELDS: usize = 16;

/// How serde_json hands numbers over where any crate of the program turns its feature `arbitrary_precision` on:
/// as a map with this one field, in which the number is a text.
const NUMBER_FIELD: &str = "$serde_json::private::Number";

/// Bytes that do not decode to what was expected, with the reason for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub(super) String);

impl DecodeError {
    /// An error with this text.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// One value of a body. Texts and bytes are borrowed from it where the format allows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// Every integer of 64 bits, with or without a sign.
    Integer(i128),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    List(Vec<Self>),
    Map(Fields<'a>),
}

/// Decodes a body that must be a map, and nothing but a map.
pub(super) fn parse(format: Format, body: &[u8]) -> Result<Fields<'_>, DecodeError> {
    let value = match format {
        Format::Json => parse_json(body).map_err(|error| invalid("JSON", &error))?,
        Format::MessagePack => {
            parse_message_pack(body).map_err(|error| invalid("MessagePack", &reason(&error)))?
        }
    };
    match value {
        Value::Map(fields) => Ok(fields),
        other => Err(DecodeError(format!("the body must be a map of fields, not {other}"))),
    }
}

fn invalid(format: &str, reason: &dyn fmt::Display) -> DecodeError {
    DecodeError(format!("the body is not valid {format}: {reason}"))
}

fn parse_json(body: &[u8]) -> Result<Value<'_>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = Nested::TOP.read(&mut reader)?;
    reader.end()?;
    Ok(value)
}

fn parse_message_pack(body: &[u8]) -> Result<Value<'_>, rmp_serde::decode::Error> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(body);
    let value = Nested::TOP.read(&mut reader)?;
    // The reader does not tell what it has left over, but only at the end is there no marker to read.
    match bool::deserialize(&mut reader) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
        _ => Err(rmp_serde::decode::Error::custom("bytes behind the end of the map")),
    }
}

/// What is wrong with a MessagePack body, in words that do not speak of IO.
fn reason(error: &rmp_serde::decode::Error) -> String {
    use rmp_serde::decode::Error;
    match error {
        Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) => "it ends too early".into(),
        Error::TypeMismatch(marker) => format!("unexpected marker {marker:?}"),
        other => other.to_string(),
    }
}

/// Reads a value at some depth.
#[derive(Clone, Copy)]
struct Nested {
    levels_left: usize,
}

impl Nested {
    const TOP: Self = Self { levels_left: DEPTH_MAX };

    fn read<'de, D: Deserializer<'de>>(self, reader: D) -> Result<Value<'de>, D::Error> {
        reader.deserialize_any(self)
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let levels_left = self.levels_left.checked_sub(1);
        let levels_left =
            levels_left.ok_or_else(|| E::custom(format!("it nests deeper than {DEPTH_MAX} levels")))?;
        Ok(Self { levels_left })
    }
}

impl<'de> serde::de::DeserializeSeed<'de> for Nested {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value<'de>, D::Error> {
        self.read(reader)
    }
}

impl<'de> Visitor<'de> for Nested {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without extension types")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(bool))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(Value::Float(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(text.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(text.to_owned().into()))
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Value<'de>, E> {
        Ok(Value::Bytes(bytes.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        let seed = self.deeper()?;
        // The announced length is not believed: it may be four billion in a body of ten bytes.
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(seed)? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value<'de>, A::Error> {
        let seed = self.deeper()?;
        let mut fields = Vec::new();
        while let Some(name) = entries.next_key_seed(FieldName)? {
            fields.push((name, entries.next_value_seed(seed)?));
        }
        if let [(name, Value::Text(text))] = &fields[..]
            && name == NUMBER_FIELD
        {
            return number(text).ok_or_else(|| A::Error::custom(format!("{} is no number", shown(text))));
        }
        match duplicate(&fields) {
            Some(name) => Err(A::Error::custom(format!("field {name:?} is there twice"))),
            None => Ok(Value::Map(Fields::new(fields))),
        }
    }
}

/// A number as the two formats have it.
fn number<'a>(text: &str) -> Option<Value<'a>> {
    let integer = text.parse().ok().filter(|number| (i64::MIN.into()..=u64::MAX.into()).contains(number));
    let float = || text.parse().ok().filter(|number: &f64| number.is_finite());
    integer.map(Value::Integer).or_else(|| float().map(Value::Float))
}

/// The first name that is there twice.
fn duplicate<'f>(fields: &'f [(Cow<'_, str>, Value<'_>)]) -> Option<&'f str> {
    let names = || fields.iter().map(|(name, _)| name.as_ref());
    if fields.len() <= FEW_FIELDS {
        return names()
            .enumerate()
            .find(|&(at, name)| names().take(at).any(|earlier| earlier == name))
            .map(|(_, name)| name);
    }
    let mut sorted: Vec<&str> = names().collect();
    sorted.sort_unstable();
    sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// Reads the key of a map.
struct FieldName;

impl<'de> serde::de::DeserializeSeed<'de> for FieldName {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Cow<'de, str>, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldName {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text as the name of a field")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(name.into())
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(name.to_owned().into())
    }
}

/// As a message about it shows it: numbers and short texts as they are.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(bool) => bool.fmt(f),
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Text(text) => f.write_str(&shown(text)),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::List(_) => f.write_str("a list"),
            Self::Map(_) => f.write_str("a map"),
        }
    }
}

/// A text of the sender's in a message or a log: quoted, escaped and not long.
pub(super) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{:?}... ({} bytes)", &text[..end], text.len()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(format: Format, body: &[u8]) -> String {
        match parse(format, body) {
            Ok(fields) => panic!("{fields:?} was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn both_formats_give_the_same_values() {
        let json = br#"{"a":null,"b":[true,-1,18446744073709551615],"c":{"d":"x\n"},"e":1.5}"#;
        let tree: serde_json::Value = serde_json::from_slice(json).unwrap();
        let packed = rmp_serde::to_vec_named(&tree).unwrap();
        assert_eq!(parse(Format::Json, json).unwrap(), parse(Format::MessagePack, &packed).unwrap());
    }

    #[test]
    fn numbers_may_come_as_texts_of_serde_json() {
        let of = |text: &str| {
            let body = format!("{{\"a\":{{\"{NUMBER_FIELD}\":\"{text}\"}}}}");
            parse(Format::Json, body.as_bytes()).map(|fields| fields.unsigned("a"))
        };
        assert_eq!(of("18446744073709551615"), Ok(Ok(Some(u64::MAX))));
        for bad in ["18446744073709551616", "-1", "1.0", "1e3"] {
            assert!(of(bad).unwrap().is_err(), "{bad} was taken");
        }
        assert!(of("x").is_err() && of("1e999").is_err());
        let plain = parse(Format::Json, b"{\"a\":7,\"b\":1.5}").unwrap();
        assert_eq!((plain.unsigned("a"), plain.unsigned("b").is_err()), (Ok(Some(7)), true));
    }

    #[test]
    fn duplicates_are_refused_at_every_depth() {
        for body in [r#"{"a":1,"a":1}"#, r#"{"x":{"a":1,"a":2}}"#, r#"{"x":[[{"a":1,"b":2,"a":2}]]}"#] {
            assert!(refusal(Format::Json, body.as_bytes()).contains("\"a\" is there twice"), "{body}");
        }
        let many: Vec<String> = (0..40).chain([17]).map(|n| format!("\"k{n}\":0")).collect();
        let many = format!("{{{}}}", many.join(","));
        assert!(refusal(Format::Json, many.as_bytes()).contains("\"k17\" is there twice"));
        assert!(refusal(Format::MessagePack, b"\x82\xa1a\x01\xa1a\x02").contains("\"a\" is there twice"));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        assert!(refusal(Format::Json, b"{} x").contains("trailing"));
        assert!(refusal(Format::Json, b"{}{}").contains("trailing"));
        assert!(parse(Format::Json, b" {} \r\n").is_ok(), "blanks are part of JSON");
        for tail in [0x00, 0x80, 0xc0, 0xc1, 0xc2, 0xdd] {
            assert!(refusal(Format::MessagePack, &[0x80, tail]).contains("behind the end"));
        }
    }

    #[test]
    fn announced_lengths_are_not_believed() {
        for marker in [0xdd, 0xdf, 0xdb, 0xc6, 0xc9] {
            let body = [0x81, 0xa1, b'a', marker, 0xff, 0xff, 0xff, 0xff, 0x01, 0x02];
            assert!(refusal(Format::MessagePack, &body).contains("not valid MessagePack"), "{marker:x}");
        }
        assert!(refusal(Format::MessagePack, &[0xdf, 0xff, 0xff, 0xff, 0xff]).contains("it ends too early"));
    }

    #[test]
    fn nesting_is_bounded() {
        let json = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(Format::Json, json(DEPTH_MAX - 1).as_bytes()).is_ok());
        assert!(refusal(Format::Json, json(DEPTH_MAX).as_bytes()).contains("nests deeper than 32"));
        assert!(refusal(Format::Json, "{\"a\":".repeat(20_000).as_bytes()).contains("nests deeper"));
        let mut packed = b"\x81\xa1a".to_vec();
        packed.extend([0x91; 100_000]);
        assert!(refusal(Format::MessagePack, &packed).contains("nests deeper than 32"));
    }

    #[test]
    fn what_is_no_map_of_named_fields_is_refused() {
        assert!(refusal(Format::Json, b"[1]").contains("not a list"));
        assert!(refusal(Format::MessagePack, b"\x07").contains("not 7"));
        assert!(refusal(Format::MessagePack, b"\x81\x01\x01").contains("a text as the name of a field"));
        assert!(refusal(Format::Json, b"{1:1}").contains("key must be a string"));
        assert!(refusal(Format::MessagePack, b"\x81\xa1\xff\x01").contains("not valid MessagePack"));
        assert!(refusal(Format::MessagePack, b"\x81\xa1a\xd4\x01\x00").contains("without extension types"));
        assert!(refusal(Format::MessagePack, b"\x81\xa1a\xc1").contains("Reserved"));
        assert!(refusal(Format::Json, b"{\"a\":NaN}").contains("not valid JSON"));
    }

    #[test]
    fn texts_of_the_sender_are_escaped_and_cut() {
        assert_eq!(shown("a\r\nb"), r#""a\r\nb""#);
        assert_eq!(shown(&"é".repeat(41)), format!("\"{}\"... (82 bytes)", "é".repeat(40)));
    }
}
