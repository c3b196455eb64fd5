//! Typed access to the fields of a map, with messages that name the field and the value.
//!
//! A field that is null counts as absent, an unknown one is never looked at.

use std::borrow::Cow;
use std::fmt;

use super::value::{DecodeError, Value};

/// A map of named fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Fields<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Fields<'a> {
    /// Takes fields of which no name is there twice.
    pub(super) const fn new(fields: Vec<(Cow<'a, str>, Value<'a>)>) -> Self {
        Self(fields)
    }

    fn get(&self, name: &str) -> Option<&Value<'a>> {
        let (_, value) = self.0.iter().find(|(given, _)| given == name)?;
        (*value != Value::Null).then_some(value)
    }

    /// An integer of 64 bits. `1.0` and `"1"` are none.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i128>, DecodeError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Integer(number)) => Ok(Some(*number)),
            Some(other) => Err(mismatch(name, "an integer", other)),
        }
    }

    /// An integer that is not negative.
    pub(super) fn unsigned(&self, name: &str) -> Result<Option<u64>, DecodeError> {
        let Some(number) = self.integer(name)? else { return Ok(None) };
        let unsigned = u64::try_from(number);
        unsigned.map(Some).map_err(|_| mismatch(name, "an integer from 0", &Value::Integer(number)))
    }

    /// A number, with or without a fraction.
    pub(super) fn decimal(&self, name: &str) -> Result<Option<f64>, DecodeError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Float(number)) => Ok(Some(*number)),
            Some(Value::Integer(number)) => Ok(Some(*number as f64)),
            Some(other) => Err(mismatch(name, "a number", other)),
        }
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, DecodeError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(mismatch(name, "a text", other)),
        }
    }

    /// True or false.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, DecodeError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(mismatch(name, "true or false", other)),
        }
    }

    #[cfg(feature = "coordinator")]
    /// Bytes.
    pub(super) fn bytes(&self, name: &str) -> Result<Option<&[u8]>, DecodeError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bytes(bytes)) => Ok(Some(bytes)),
            Some(other) => Err(mismatch(name, "bytes", other)),
        }
    }

    /// A list of values.
    pub(super) fn list(&self, name: &str) -> Result<Option<&[Value<'a>]>, DecodeError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::List(list)) => Ok(Some(list)),
            Some(other) => Err(mismatch(name, "a list", other)),
        }
    }

    /// A list of maps, each made into something. The message about a bad one tells which it was.
    pub(super) fn maps<T>(
        &self,
        name: &str,
        make: impl Fn(&Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(list) = self.list(name)? else { return Ok(None) };
        let made = list.iter().enumerate().map(|(at, value)| {
            let made = match value {
                Value::Map(fields) => make(fields),
                other => Err(DecodeError(format!("must be a map, not {other}"))),
            };
            made.map_err(|error| DecodeError(format!("{name}[{at}]: {error}")))
        });
        made.collect::<Result<_, _>>().map(Some)
    }

    /// A map with the names of its fields.
    pub(super) fn map(&self, name: &str) -> Result<Option<&Self>, DecodeError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Map(fields)) => Ok(Some(fields)),
            Some(other) => Err(mismatch(name, "a map", other)),
        }
    }

    /// The names that are there.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }

    /// A text that must be there.
    pub(super) fn need_text(&self, name: &str) -> Result<&str, DecodeError> {
        need(name, self.text(name)?)
    }

    /// An integer from 0 that must be there.
    pub(super) fn need_unsigned(&self, name: &str) -> Result<u64, DecodeError> {
        need(name, self.unsigned(name)?)
    }

    /// A number that must be there and fit its type.
    pub(super) fn need_number<N: TryFrom<u64>>(&self, name: &str) -> Result<N, DecodeError> {
        let number = self.need_unsigned(name)?;
        N::try_from(number).map_err(|_| DecodeError(format!("\"{name}\" is too large: {number}")))
    }
}

fn mismatch(name: &str, wanted: &str, given: &Value<'_>) -> DecodeError {
    DecodeError(format!("\"{name}\" must be {wanted}, not {given}"))
}

/// A field that must be there.
pub(super) fn need<T>(name: &str, field: Option<T>) -> Result<T, DecodeError> {
    field.ok_or_else(|| DecodeError(format!("\"{name}\" is missing")))
}

/// What a field was parsed into, or a message that names the field.
pub(super) fn parsed<T, E: fmt::Display>(name: &str, result: Result<T, E>) -> Result<T, DecodeError> {
    result.map_err(|error| DecodeError(format!("\"{name}\": {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::format::Format;
    use crate::wire::value::parse;

    const BODY: &[u8] = br#"{"i":-1,"f":1.0,"t":"1","b":true,"l":[1],"m":{"x":1},"n":null}"#;

    #[test]
    fn null_is_absent_and_so_is_what_is_not_there() {
        let fields = parse(Format::Json, BODY).unwrap();
        for name in ["n", "nowhere"] {
            assert_eq!(fields.integer(name), Ok(None));
            assert_eq!(fields.text(name), Ok(None));
            assert_eq!(fields.need_text(name), Err(DecodeError(format!("\"{name}\" is missing"))));
        }
    }

    #[test]
    fn numbers_are_integers() {
        let fields = parse(Format::Json, BODY).unwrap();
        let message = |name: &str| fields.unsigned(name).unwrap_err().to_string();
        assert_eq!(fields.integer("i"), Ok(Some(-1)));
        assert_eq!(message("i"), "\"i\" must be an integer from 0, not -1");
        assert_eq!(message("f"), "\"f\" must be an integer, not 1.0");
        assert_eq!(message("t"), "\"t\" must be an integer, not \"1\"");
        assert_eq!(message("b"), "\"b\" must be an integer, not true");
        assert_eq!(message("l"), "\"l\" must be an integer, not a list");
        let nan = b"\x81\xa1f\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00";
        let fields = parse(Format::MessagePack, nan).unwrap();
        assert_eq!(fields.integer("f").unwrap_err().to_string(), "\"f\" must be an integer, not NaN");
    }

    #[test]
    fn a_bad_item_of_a_list_is_named() {
        let fields = parse(Format::Json, br#"{"l":[{"id":"a"},{"id":1}]}"#).unwrap();
        let ids = |name: &str| fields.maps(name, |item| item.need_text("id").map(str::to_owned));
        assert_eq!(ids("l").unwrap_err().to_string(), "l[1]: \"id\" must be a text, not 1");
        assert_eq!(ids("nowhere"), Ok(None));
    }
}
