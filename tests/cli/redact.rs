//! Takes out what differs from run to run.

/// Ids, tokens and epochs, coordinators, times of day, ports and short spans. What stands in a column is
/// replaced so that the column keeps its width.
pub(super) fn redact(text: &str) -> String {
    text.split_inclusive('\n').map(line).collect()
}

fn line(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let inside = out.ends_with(|c: char| c.is_ascii_alphanumeric());
        if let Some((len, label)) = (!inside).then(|| something(rest, &out)).flatten() {
            rest = &rest[len..];
            out.push_str(label);
            let spaces = rest.len() - rest.trim_start_matches(' ').len();
            if spaces >= 2 {
                // A column: as wide as before.
                let width = (len + spaces).saturating_sub(label.len());
                out.push_str(&" ".repeat(width));
                rest = &rest[spaces..];
            }
        } else {
            let first = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..first]);
            rest = &rest[first..];
        }
    }
    out
}

/// What the text begins with, and what stands for it.
fn something(text: &str, before: &str) -> Option<(usize, &'static str)> {
    let run = |legal: fn(char) -> bool| text.len() - text.trim_start_matches(legal).len();
    let word = run(|c| c.is_ascii_alphanumeric() || c == '-');
    let digits = run(|c| c.is_ascii_digit());
    let hex = text[..word].bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if word == 36 && hex && text[..word].matches('-').count() == 4 {
        return Some((word, "[id]"));
    }
    if digits == 0 && !(word == 16 && hex) {
        return None;
    }
    if digits >= 12 && word == digits {
        return Some((digits, "[number]"));
    }
    if word == 16 && hex {
        return Some((word, "[coordinator]"));
    }
    let shape: String = text.chars().take(12).map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    if shape == "99:99:99.999" {
        return Some((12, "[time]"));
    }
    if before.ends_with("127.0.0.1:") {
        return Some((digits, "[port]"));
    }
    let json = ["held_ms\":", "waited_ms\":", "expires_in_ms\":", "pid\":"];
    if json.iter().any(|field| before.ends_with(field)) {
        return Some((digits, "[number]"));
    }
    let number = run(|c| c.is_ascii_digit() || c == '.');
    [" ms", " s"].into_iter().find_map(|unit| {
        let after = text[number..].strip_prefix(unit)?;
        (!after.starts_with(|c: char| c.is_alphanumeric())).then_some((number + unit.len(), "[span]"))
    })
}

#[test]
fn what_differs_is_taken_out_and_columns_stay() {
    let cases = [
        ("a 4b97b215-3201-4c9d-9751-715ad6544855 b", "a [id] b"),
        ("3676891585653248  x", "[number]          x"),
        ("12 ms  x\n", "[span] x\n"),
        ("held for 1.2 s\n", "held for [span]\n"),
        ("ttl 2 h", "ttl 2 h"),
        ("14:21:57.003  granted", "[time]        granted"),
        ("nats://127.0.0.1:4222,", "nats://127.0.0.1:[port],"),
        (r#""ttl_ms":30000,"waited_ms":7}"#, r#""ttl_ms":30000,"waited_ms":[number]}"#),
        ("a3e818bbe9094a58", "[coordinator]"),
        ("订单.42 and demo42", "订单.42 and demo42"),
    ];
    for (text, redacted) in cases {
        assert_eq!(redact(text), redacted);
    }
}
