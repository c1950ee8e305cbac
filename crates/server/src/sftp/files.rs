//! A directory that nothing leads out of.
//!
//! Everything is reached from one open directory, by names without `..`, and the kernel refuses whatever would lead out
//! of it or over a link (`openat2`; where there is none, directory by directory, without following links). What is
//! looked at is what is used: there is no path that could be another one the next time. Only regular files with one
//! name, and directories, are there at all: links, devices, sockets and files that are also somewhere else are not.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat};
use rustix::io::{Errno, Result};

/// Whether this kernel has `openat2` and lets us use it.
static CONFINED_OPEN: AtomicBool = AtomicBool::new(true);

/// Names from the root downwards; each is neither empty nor `.` nor `..`, and has no slash.
pub(super) type Names = [String];

/// An open directory, and what is below it.
#[derive(Debug)]
pub(super) struct Root(OwnedFd);

impl Root {
    /// Opens `name` in the directory `parent`, which is the operator's own and may be reached over links.
    pub(super) fn open(parent: &Path, name: &str) -> Result<Root> {
        let parent = fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Root(fs::openat(&parent, name, directory_flags(), Mode::empty())?))
    }

    /// Opens a file. It is a regular one with this name alone.
    pub(super) fn file(&self, names: &Names, flags: OFlags, mode: Mode) -> Result<(OwnedFd, Stat)> {
        // A pipe would keep us waiting for its other end, a terminal would become ours.
        let opened = self.descend(names, flags | OFlags::NONBLOCK | OFlags::NOCTTY, mode)?;
        let stat = fs::fstat(&opened)?;
        match kind(&stat) {
            Some(FileType::RegularFile) => Ok((opened, stat)),
            Some(_) => Err(Errno::ISDIR),
            None => Err(Errno::NOENT),
        }
    }

    /// Opens a directory for reading.
    pub(super) fn directory(&self, names: &Names) -> Result<OwnedFd> {
        self.descend(names, directory_flags(), Mode::empty())
    }

    /// Looks at a file or directory.
    pub(super) fn stat(&self, names: &Names) -> Result<Stat> {
        let Some((parent, name)) = self.parent(names)? else { return fs::fstat(&self.0) };
        stat_at(&parent, name)
    }

    /// Removes a file.
    pub(super) fn remove(&self, names: &Names) -> Result<()> {
        let (parent, name) = self.parent(names)?.ok_or(Errno::ISDIR)?;
        fs::unlinkat(&parent, name, AtFlags::empty())
    }

    /// Makes a directory.
    pub(super) fn make_directory(&self, names: &Names, mode: Mode) -> Result<()> {
        let (parent, name) = self.parent(names)?.ok_or(Errno::EXIST)?;
        fs::mkdirat(&parent, name, mode)
    }

    /// Removes an empty directory.
    pub(super) fn remove_directory(&self, names: &Names) -> Result<()> {
        let (parent, name) = self.parent(names)?.ok_or(Errno::BUSY)?;
        fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)
    }

    /// Gives a file or directory another name, which may be in another directory, and makes that durable.
    pub(super) fn rename(&self, from: &Names, to: &Names, replace: bool) -> Result<()> {
        let (old_parent, old) = self.parent(from)?.ok_or(Errno::BUSY)?;
        let (new_parent, new) = self.parent(to)?.ok_or(Errno::BUSY)?;
        stat_at(&old_parent, old)?;
        if replace {
            fs::renameat(&old_parent, old, &new_parent, new)?;
        } else {
            match fs::renameat_with(&old_parent, old, &new_parent, new, RenameFlags::NOREPLACE) {
                // File systems without that flag (some network ones) answer so.
                Err(Errno::INVAL) if fs::statat(&new_parent, new, AtFlags::SYMLINK_NOFOLLOW).is_err() => {
                    fs::renameat(&old_parent, old, &new_parent, new)?;
                }
                Err(Errno::INVAL) => return Err(Errno::EXIST),
                renamed => renamed?,
            }
        }
        fs::fsync(&new_parent)?;
        if from.split_last().map(|(_, above)| above) != to.split_last().map(|(_, above)| above) {
            fs::fsync(&old_parent)?;
        }
        Ok(())
    }

    /// Syncs the directory that a name stands in, so that the name survives a power cut.
    pub(super) fn sync_name(&self, names: &Names) -> Result<()> {
        let above = names.split_last().map_or(names, |(_, above)| above);
        fs::fsync(self.directory(above)?)
    }

    /// The directory that the last name stands in, and that name; `None` for the root itself.
    fn parent<'a>(&self, names: &'a Names) -> Result<Option<(OwnedFd, &'a str)>> {
        let Some((name, above)) = names.split_last() else { return Ok(None) };
        Ok(Some((self.directory(above)?, name)))
    }

    fn descend(&self, names: &Names, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if CONFINED_OPEN.load(Ordering::Relaxed) {
            match self.descend_at_once(names, flags, mode) {
                // An old kernel.
                Err(Errno::NOSYS) => CONFINED_OPEN.store(false, Ordering::Relaxed),
                // A container that does not know the call, or a file that nobody may change: the long way tells.
                Err(Errno::PERM) => {}
                done => return done,
            }
        }
        self.descend_by_steps(names, flags, mode)
    }

    fn descend_at_once(&self, names: &Names, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let path = if names.is_empty() { ".".to_owned() } else { names.join("/") };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        // Somebody moves directories just now, and the kernel cannot say where it is: it asks to be asked again.
        let mut attempts = 0;
        loop {
            match fs::openat2(&self.0, path.as_str(), flags, mode, resolve) {
                Err(Errno::AGAIN) if attempts < 64 => attempts += 1,
                opened => return opened,
            }
        }
    }

    fn descend_by_steps(&self, names: &Names, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let Some((last, above)) = names.split_last() else {
            return fs::openat(&self.0, ".", flags, mode);
        };
        let mut at: Option<OwnedFd> = None;
        for name in above {
            let here = at.as_ref().unwrap_or(&self.0);
            let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            at = Some(fs::openat(here, name.as_str(), through, Mode::empty())?);
        }
        fs::openat(at.as_ref().unwrap_or(&self.0), last.as_str(), flags, mode)
    }
}

/// Looks at an entry of an open directory; what is neither a file of its own nor a directory is not there.
pub(super) fn stat_at(directory: impl AsFd, name: &str) -> Result<Stat> {
    let stat = fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if kind(&stat).is_some() { Ok(stat) } else { Err(Errno::NOENT) }
}

/// A regular file that is nowhere else, or a directory; `None` for everything that is not there for clients.
pub(super) fn kind(stat: &Stat) -> Option<FileType> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_nlink <= 1 => Some(FileType::RegularFile),
        FileType::Directory => Some(FileType::Directory),
        _ => None,
    }
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use dipper_archive::publish;

    use super::*;

    fn names(path: &str) -> Vec<String> {
        path.split('/').map(str::to_owned).collect()
    }

    /// A root with a file, a directory, and every kind of way out that there is.
    fn planted() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("root");
        publish::create_directories(&path.join("inner")).expect("made");
        publish::write_file(&directory.path().join("secret"), b"secret").expect("written");
        publish::write_file(&path.join("inner/file"), b"content").expect("written");
        symlink("../secret", path.join("out")).expect("linked");
        symlink("..", path.join("up")).expect("linked");
        symlink("/", path.join("slash")).expect("linked");
        symlink("inner/file", path.join("within")).expect("linked");
        symlink("/proc/self/root", path.join("magic")).expect("linked");
        std::fs::hard_link(directory.path().join("secret"), path.join("hard")).expect("linked");
        let root = Root::open(directory.path(), "root").expect("opened");
        (directory, root)
    }

    #[test]
    fn nothing_leads_out_of_the_root() {
        let (_directory, root) = planted();
        for by_steps in [false, true] {
            let open = |path: &str| {
                let names = names(path);
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                if by_steps {
                    root.descend_by_steps(&names, flags, Mode::empty())
                } else {
                    root.descend_at_once(&names, flags, Mode::empty())
                }
            };
            assert!(open("inner/file").is_ok());
            for path in ["out", "up", "up/secret", "slash", "slash/etc/passwd", "within", "magic/etc/passwd"] {
                assert!(open(path).is_err(), "{path}");
            }
        }
        for path in ["out", "hard", "within"] {
            assert_eq!(root.stat(&names(path)).err(), Some(Errno::NOENT), "{path}");
        }
        assert_eq!(root.file(&names("hard"), OFlags::RDONLY, Mode::empty()).err(), Some(Errno::NOENT));
        assert!(root.rename(&names("out"), &names("taken"), true).is_err());
        assert!(root.rename(&names("inner/file"), &names("up/file"), true).is_err());
        assert!(root.make_directory(&names("up/made"), Mode::RWXU).is_err());
        assert!(root.remove(&names("up/secret")).is_err());
    }

    #[test]
    fn a_plain_rename_replaces_nothing() {
        let (directory, root) = planted();
        publish::write_file(&directory.path().join("root/other"), b"other").expect("written");
        assert_eq!(root.rename(&names("other"), &names("inner/file"), false), Err(Errno::EXIST));
        assert_eq!(root.rename(&names("other"), &names("inner/file"), true), Ok(()));
        assert_eq!(root.rename(&names("inner/file"), &names("back"), false), Ok(()));
        assert_eq!(root.sync_name(&names("back")), Ok(()));
        assert_eq!(root.remove_directory(&names("inner")), Ok(()));
    }
}
