//! `src/docs/guarantees.md` names a test behind each promise: each of them is there.

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Everything between single backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The path of a test: modules and a function, without an argument or an extension.
fn is_test(words: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    words.contains("::") && words.split("::").all(part)
}

/// All files of Rust, with what is in them.
pub(crate) struct Tests(Vec<(String, String)>);

impl Tests {
    pub(crate) fn find() -> Self {
        let mut found = Vec::new();
        files(&root().join("src"), &mut found);
        files(&root().join("tests"), &mut found);
        let code = found.into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "rs"));
        let read = |path: PathBuf| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.to_string_lossy().into_owned(), text)
        };
        Self(code.map(read).collect())
    }

    /// A function of this name in a file whose path ends in these modules.
    pub(crate) fn exists(&self, test: &str) -> bool {
        let Some((modules, name)) = test.rsplit_once("::") else { return false };
        let modules = modules.replace("::", "/");
        let ends = [format!("/{modules}.rs"), format!("/{modules}/mod.rs")];
        self.0.iter().any(|(path, text)| {
            ends.iter().any(|end| path.ends_with(end.as_str())) && text.contains(&format!("fn {name}("))
        })
    }
}

#[test]
fn every_test_that_the_guarantees_name_exists() {
    let guarantees = std::fs::read_to_string(root().join("src/docs/guarantees.md")).unwrap();
    let tests = Tests::find();
    let missing: Vec<_> = quoted(&guarantees)
        .into_iter()
        .filter(|words| match words {
            transcript if transcript.ends_with(".txt") => {
                !root().join("tests/scenarios").join(transcript).exists()
            }
            test if is_test(test) => !tests.exists(test),
            path if path.starts_with("tests/") || path.starts_with("examples/") => {
                !root().join(path).exists()
            }
            _ => false,
        })
        .collect();
    assert_eq!(missing, [""; 0], "named in src/docs/guarantees.md, and nowhere to be found");
    assert!(tests.exists("live::crash::a_killed_coordinator_forgets_nothing"));
    assert!(!tests.exists("live::crash::a_killed_coordinator_remembers_nothing"));
}
