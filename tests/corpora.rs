//! The inputs that fuzzing has found worth keeping, run through the functions that are fuzzed (`tests/fuzz/run`).

use std::path::Path;

#[path = "fuzz/targets.rs"]
mod targets;

#[test]
fn every_kept_input_is_decoded_or_refused() {
    for (name, target) in targets::ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
        let inputs: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(inputs.len() > 10, "{name} has {} inputs", inputs.len());
        for path in inputs {
            let input = std::fs::read(&path).unwrap();
            let done = std::panic::catch_unwind(|| target(&input));
            assert!(done.is_ok(), "{}", path.display());
        }
    }
}
