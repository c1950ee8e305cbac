//! The one way in which a file or directory appears under its final name: written under another name, synced,
//! renamed, and the directory synced. After a power cut there is the old state or the new one, nothing between.
//!
//! `clippy.toml` forbids the raw calls everywhere else.
#![allow(clippy::disallowed_methods, reason = "this file is the helper that everybody else must use")]

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

const BUFFER_BYTES: usize = 128 << 10;

/// Writes `bytes` to `path` in place of whatever was there. The directory must exist.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_file_with(path, &mut |sink| sink.write_all(bytes))
}

/// As [`write_file`], with bytes that need not be in memory together.
pub fn write_file_with(path: &Path, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let staged = staged_name(path)?;
    let written = create_new(&staged).and_then(|file| {
        let mut sink = BufWriter::with_capacity(BUFFER_BYTES, file);
        write(&mut sink)?;
        sink.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&staged, path));
    if renamed.is_err() {
        // The name is ours alone, and the first error is the one worth telling.
        let _ = fs::remove_file(&staged);
    }
    renamed?;
    sync_parent(path)
}

/// Writes `bytes` to `path`; fails with `AlreadyExists` when something is there. The directory must exist.
pub fn write_new_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let staged = staged_name(path)?;
    let mut file = create_new(&staged)?;
    let published = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| rename_new(&staged, path));
    if published.is_err() {
        let _ = fs::remove_file(&staged);
    }
    published
}

/// Writes a secret to `path`, readable by the owner alone; fails with `AlreadyExists` when there is one.
pub fn write_new_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let staged = staged_name(path)?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
    let published = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| rename_new(&staged, path));
    if published.is_err() {
        let _ = fs::remove_file(&staged);
    }
    published
}

/// Creates a file that must not exist yet, for content that is staged: the caller writes it, syncs it and later
/// publishes it with [`rename_new`] or as part of a directory.
pub fn create_new(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().write(true).create_new(true).open(path)
}

/// Renames a synced file or directory to a name that must not exist yet, and syncs both directories.
///
/// Fails with `AlreadyExists` when the name is taken; nothing has changed then.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        // File systems without that flag (some network ones) answer EINVAL.
        Err(rustix::io::Errno::INVAL) if fs::symlink_metadata(to).is_err() => fs::rename(from, to)?,
        Err(rustix::io::Errno::INVAL) => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) => return Err(error.into()),
    }
    sync_parent(to)?;
    sync_parent(from)
}

/// Renames a synced file to a name in place of whatever was there, and syncs both directories. Whoever has the old file
/// open goes on reading that.
pub fn replace(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_parent(to)?;
    sync_parent(from)
}

/// Creates a directory and those above it that are missing, each synced into its parent.
pub fn create_directories(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_directories(parent)?;
    }
    match fs::create_dir(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// As [`create_directories`], but what is created is for its owner and group, and closed to everybody else.
pub fn create_closed_directories(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_closed_directories(parent)?;
    }
    match fs::DirBuilder::new().mode(0o750).create(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Creates a directory and those above it for content that is staged. Nothing is synced: whoever publishes it does
/// that, once for all.
pub fn create_staged_directories(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Removes a file that was staged and is not wanted. Nothing is synced; a file that is not there is no error.
pub fn discard_staged(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Syncs many files and their directories at once where the system can (Linux: the whole file system of
/// `directory`), and one after the other elsewhere.
pub fn sync_staged(directory: &Path, files: &[PathBuf]) -> io::Result<()> {
    const MANY: usize = 8;
    #[cfg(target_os = "linux")]
    if files.len() > MANY {
        return Ok(rustix::fs::syncfs(File::open(directory)?)?);
    }
    for file in files {
        File::open(file)?.sync_all()?;
    }
    let mut directories: Vec<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    directories.sort_unstable();
    directories.dedup();
    directories.into_iter().try_for_each(sync_directory)
}

/// Syncs the directories of a staged tree whose files are synced: at once where the system can (Linux: the whole
/// file system), and one after the other elsewhere or when there are few.
pub fn sync_tree(path: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        const FEW: usize = 8;
        let mut directories = vec![path.to_owned()];
        let mut next = 0;
        while let Some(directory) = directories.get(next).filter(|_| directories.len() <= FEW).cloned() {
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    directories.push(entry.path());
                }
            }
            next += 1;
        }
        if directories.len() > FEW {
            return Ok(rustix::fs::syncfs(File::open(path)?)?);
        }
    }
    sync_directories(path)
}

/// Syncs every directory at and below `path`; files are synced by whoever wrote them.
pub fn sync_directories(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_directories(&entry.path())?;
        }
    }
    sync_directory(path)
}

/// Syncs one directory, so that the names in it survive a power cut.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a file, and syncs its directory. A file that is not there is no error.
pub fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes files of one directory, and syncs it once. Files that are not there are no error.
pub fn remove_files(directory: &Path, names: &[String]) -> io::Result<()> {
    for name in names {
        discard_staged(&directory.join(name))?;
    }
    match sync_directory(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        synced => synced,
    }
}

/// Removes a directory with all in it. A directory that is not there is no error.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => sync_directory(Path::new(".")),
    }
}

/// A name beside `path` that no other process or thread uses.
fn staged_name(path: &Path) -> io::Result<PathBuf> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut staged = std::ffi::OsString::from(".");
    staged.push(name);
    staged.push(format!(".{}-{}.part", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
    Ok(path.with_file_name(staged))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_replaces_the_old_one_and_leaves_nothing_beside_it() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("inventory.json");
        write_file(&path, b"old")?;
        write_file(&path, b"new")?;
        assert_eq!(fs::read(&path)?, b"new");
        assert_eq!(fs::read_dir(directory.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn a_name_that_is_taken_is_left_as_it_is() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        write_file(&from, b"from")?;
        write_file(&to, b"to")?;
        let refused = rename_new(&from, &to).map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::AlreadyExists));
        assert_eq!((fs::read(&from)?, fs::read(&to)?), (b"from".to_vec(), b"to".to_vec()));
        Ok(())
    }

    #[test]
    fn a_secret_is_for_its_owner_alone_and_written_once() -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("key");
        write_new_secret(&path, b"first")?;
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        let refused = write_new_secret(&path, b"second").map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::AlreadyExists));
        assert_eq!(fs::read(&path)?, b"first");
        assert_eq!(fs::read_dir(directory.path())?.count(), 1);
        Ok(())
    }
}
