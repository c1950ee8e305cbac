//! Other people's validators as judges. They are installed when a test first asks for them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Has `tests/peers/install` install what is missing of the judges, the tools of the system that tests use, and the
/// groups that it names; where the programs from PyPI are.
pub(crate) fn install(groups: &[&str]) -> PathBuf {
    let installer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/install");
    let installed = Command::new(&installer).args(groups).output().unwrap();
    assert!(installed.status.success(), "{}: {}", installer.display(), told(&installed));
    Path::new(String::from_utf8(installed.stdout).unwrap().trim_end()).join("bin")
}

/// A tool of the peers.
pub(crate) fn tool(name: &str) -> PathBuf {
    let tool = install(&[]).join(name);
    assert!(tool.is_file(), "{} is not installed", tool.display());
    tool
}

/// Has `ocfl-validate.py` judge objects or storage roots; all must be valid, and without other warnings than those that are
/// named.
pub(crate) fn ocfl_validate(paths: &[PathBuf], warnings: &[&str]) {
    for some in paths.chunks(100) {
        let judged = Command::new(tool("ocfl-validate.py")).args(some).output().unwrap();
        let text = told(&judged);
        assert!(judged.status.success(), "{text}");
        let is_permitted = |line: &str| warnings.iter().any(|code| line.starts_with(&format!("[{code}]")));
        let others = text.lines().filter(|line| !is_permitted(line)).collect::<Vec<_>>().join("\n");
        assert!(!others.contains("[E") && !others.contains("[W"), "{text}");
    }
}

/// A version that lost files, whose content another version still uses, has no inventory of its own.
pub(crate) const PURGED: &[&str] = &["W010"];

/// What a tool wrote.
pub(crate) fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
