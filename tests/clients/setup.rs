//! The other languages' dependencies, under target/: fetched once from their registries, and again when the files that
//! name them change. Several test processes may do this at the same time.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder of the Python packages.
pub(super) fn python() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let requirements = client("python/requirements.txt");
        provide("python", &[&requirements], |folder| {
            let arguments = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"];
            let mut pip = Command::new("python3");
            pip.args(arguments).arg(folder).arg("-r").arg(&requirements);
            run(pip, "python3 (3.10 or newer) with pip; on Debian: apt install python3 python3-pip");
        })
    })
}

/// The folder of a Node project that has the client, its dependencies and the puppet.
pub(super) fn node() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let manifests = [client("javascript/package.json"), client("javascript/package-lock.json")];
        let sources = [client("javascript/natslock.mjs"), here("puppet.mjs")];
        let files: Vec<&Path> = manifests.iter().chain(&sources).map(PathBuf::as_path).collect();
        provide("javascript", &files, |folder| {
            for file in &files {
                let name = file.file_name().expect("a file has a name");
                fs::copy(file, folder.join(name)).expect("a file is copied");
            }
            let mut npm = Command::new("npm");
            npm.args(["ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder);
            run(npm, "node (20 or newer) with npm; on Debian: apt install nodejs npm");
        })
    })
}

/// A file beside this one.
pub(super) fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// A file of the clients.
pub(super) fn client(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/clients").join(name)
}

/// The folder that `make` fills: the one of an earlier run, unless the files that it depends on have changed. It gets
/// its name only when it is complete.
fn provide(name: &str, files: &[&Path], make: impl FnOnce(&Path)) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    fs::create_dir_all(&root).expect("a folder for the dependencies");
    let lock = File::create(root.join(format!("{name}.lock"))).expect("a lock file");
    lock.lock().expect("a file lock");
    let (folder, stamp) = (root.join(name), root.join(format!("{name}.stamp")));
    let wanted: Vec<u8> =
        files.iter().flat_map(|file| fs::read(file).expect("a file of the repository")).collect();
    if fs::read(&stamp).is_ok_and(|made_of| made_of == wanted) {
        return folder;
    }
    let fresh = root.join(format!("{name}.new"));
    for outdated in [&fresh, &folder] {
        if outdated.exists() {
            fs::remove_dir_all(outdated).expect("an outdated folder is removed");
        }
    }
    fs::create_dir(&fresh).expect("a new folder");
    make(&fresh);
    fs::rename(&fresh, &folder).expect("the folder gets its name");
    fs::write(&stamp, wanted).expect("the stamp is written");
    folder
}

fn run(mut command: Command, needed: &str) {
    let shown = format!("{:?}", command.get_args().collect::<Vec<&OsStr>>());
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.output().unwrap_or_else(|error| panic!("{program}: {error}. The tests need {needed}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {shown} failed. The tests need {needed}. It said:\n{said}");
}
