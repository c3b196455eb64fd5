//! A mode on the wire: its word in `mode`, and beside `counting` the `capacity`.

use crate::types::{Mode, Permits};

use super::fields::{Fields, parsed};
use super::value::{DecodeError, shown};

/// What stands in `capacity` beside this mode.
pub(super) const fn capacity(mode: Mode) -> Option<u16> {
    match mode {
        Mode::Counting { capacity } => Some(capacity),
        Mode::Exclusive | Mode::Shared => None,
    }
}

/// Reads `mode` and `capacity`.
pub(super) fn decode(fields: &Fields<'_>) -> Result<Mode, DecodeError> {
    match fields.need_text("mode")? {
        "exclusive" => Ok(Mode::Exclusive),
        "shared" => Ok(Mode::Shared),
        "counting" => {
            let capacity = fields.need_unsigned("capacity")?;
            let permits = parsed("capacity", Permits::new(1, capacity))?;
            Ok(Mode::Counting { capacity: permits.capacity() })
        }
        other => Err(DecodeError(format!("unknown mode {}", shown(other)))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::arbitrary;
    use crate::wire::format::Format;
    use crate::wire::value::parse;

    #[test]
    fn a_counting_mode_needs_its_capacity() {
        for body in
            [r#"{"mode":"counting"}"#, r#"{"mode":"counting","capacity":0}"#, r#"{"mode":"both"}"#, "{}"]
        {
            assert!(decode(&parse(Format::Json, body.as_bytes()).unwrap()).is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn modes_round_trip(mode in arbitrary::mode()) {
            let body = serde_json::json!({"mode": mode.as_str(), "capacity": capacity(mode)}).to_string();
            prop_assert_eq!(decode(&parse(Format::Json, body.as_bytes()).unwrap()), Ok(mode));
        }
    }
}
