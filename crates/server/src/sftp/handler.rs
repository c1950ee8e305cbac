//! What the requests of one connection do. It runs on a thread of its own, one request after the other.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{self, Advice, Dir, Mode, OFlags, Stat, StatVfs, Timespec, Timestamps};

use super::area::Area;
use super::buffers::Buffers;
use super::files;
use super::places::{self, Place, Share, Side};
use super::refusal::Refusal;
use super::shown;
use super::wire::{self, Attributes, Code, DATA_HEAD, Handle, MAX_DATA, MAX_PACKET, Name, OpenFlags, Request, Rope};
use crate::fetches::Fetch;

/// Files and directories that one connection has open at a time.
const MAX_HANDLES: usize = 256;
/// Entries of a directory in one reply.
const ENTRIES: usize = 128;
/// Directories in incoming are for the group as well, which picks packages up.
const DIRECTORY_MODE: u32 = 0o750;

type Done<T> = Result<T, Refusal>;

/// The answer to a request.
pub(super) struct Reply {
    pub(super) packet: Bytes,
    /// How much of it is content of a file in outgoing.
    pub(super) delivered: usize,
}

impl From<Vec<u8>> for Reply {
    fn from(packet: Vec<u8>) -> Reply {
        Reply { packet: packet.into(), delivered: 0 }
    }
}

/// The tree of one connection, and what it has open.
pub(super) struct Handler {
    area: Arc<Area>,
    shares: Vec<Share>,
    open: HashMap<Handle, Open>,
    next: u32,
    buffers: Buffers,
}

enum Open {
    File(Box<OpenFile>),
    Directory(OpenDirectory),
    /// A directory that is in no file system, with the entries that were not told yet.
    Drawn(Vec<Name>),
}

struct OpenFile {
    file: OwnedFd,
    stat: Stat,
    contract: usize,
    side: Side,
    names: Vec<String>,
    reads: bool,
    writes: bool,
    /// Whether its name is new, and must be made durable with it.
    is_new: bool,
    fetch: Option<Fetch>,
}

struct OpenDirectory {
    entries: Dir,
    file: OwnedFd,
    contract: usize,
    side: Side,
}

impl Handler {
    pub(super) fn new(area: Arc<Area>, shares: Vec<Share>) -> Handler {
        Handler { area, shares, open: HashMap::new(), next: 0, buffers: Buffers::default() }
    }

    /// How many files and directories are open.
    pub(super) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Does what a request asks for.
    pub(super) fn answer(&mut self, number: u32, request: Request) -> Reply {
        let answer = match request {
            Request::Read { handle, offset, len } => self.read(number, handle, offset, len),
            other => self.packet(number, other).map(Reply::from),
        };
        answer.unwrap_or_else(|refusal| wire::status(number, refusal.code, &refusal.message).into())
    }

    fn packet(&mut self, number: u32, request: Request) -> Done<Vec<u8>> {
        match request {
            Request::Open { path, flags } => return Ok(wire::handle(number, self.open(&path, flags)?)),
            Request::OpenDirectory { path } => return Ok(wire::handle(number, self.open_directory(&path)?)),
            Request::ReadDirectory { handle } => return Ok(wire::names(number, &self.read_directory(handle)?)),
            Request::Stat { path } => return Ok(wire::attributes(number, &self.stat(&path)?)),
            Request::HandleStat { handle } => return Ok(wire::attributes(number, &self.handle_stat(handle)?)),
            Request::RealPath { path } => {
                let name = shown::entry(&format!("/{}", places::names_of(&path)?.join("/")), shown::drawn());
                return Ok(wire::names(number, &[Name { attributes: Attributes::default(), ..name }]));
            }
            Request::FileSystem { path } => return Ok(wire::numbers(number, &self.file_system(&path)?)),
            Request::HandleFileSystem { handle } => {
                return Ok(wire::numbers(number, &file_system(&fs::fstatvfs(&self.file(handle)?.file)?)));
            }
            Request::Limits => {
                let limits = [MAX_PACKET as u64, MAX_DATA as u64, MAX_DATA as u64, MAX_HANDLES as u64];
                return Ok(wire::numbers(number, &limits));
            }
            Request::Close { handle } => self.close(handle)?,
            Request::Write { handle, offset, data } => self.write(handle, offset, data)?,
            Request::SetStat { path, attributes } => self.set_stat(&path, &attributes)?,
            Request::HandleSetStat { handle, attributes } => self.handle_set_stat(handle, &attributes)?,
            Request::Remove { path } => self.remove(&path)?,
            Request::MakeDirectory { path } => {
                let (share, names) = self.writable(&path)?;
                share.incoming.make_directory(&names, Mode::from_raw_mode(DIRECTORY_MODE))?;
            }
            Request::RemoveDirectory { path } => {
                let (share, names) = self.writable(&path)?;
                share.incoming.remove_directory(&names)?;
            }
            Request::Rename { from, to, replace } => self.rename(&from, &to, replace)?,
            Request::Sync { handle } => fs::fsync(&self.file(handle)?.file)?,
            Request::Link => return Err(Refusal::new(Code::Unsupported, "There are no links here.")),
            Request::Read { .. } | Request::Unknown => {
                return Err(Refusal::new(Code::Unsupported, "This server does not do that."));
            }
        }
        Ok(wire::status(number, Code::Ok, "Done."))
    }

    // ---- where paths lead

    fn find(&self, path: &[u8]) -> Done<Place> {
        let ids: Vec<&str> = self.shares.iter().map(|share| share.contract_id.as_str()).collect();
        Ok(places::find(&ids, &places::names_of(path)?)?)
    }

    fn share(&self, contract: usize) -> Done<&Share> {
        self.shares.get(contract).ok_or_else(Refusal::missing)
    }

    /// Where a path leads that something is to be changed at.
    fn writable(&self, path: &[u8]) -> Done<(&Share, Vec<String>)> {
        match self.find(path)? {
            Place::Inside { side: Side::Outgoing, .. } => Err(Refusal::denied("The directory outgoing is read-only.")),
            Place::Inside { contract, names, .. } => {
                let share = self.share(contract)?;
                if share.writes {
                    Ok((share, names))
                } else {
                    Err(Refusal::denied("This client may not hand in packages for the contract."))
                }
            }
            Place::Top | Place::Contract(_) | Place::Nowhere => {
                Err(Refusal::denied("Nothing can be changed here: packages go into the directory incoming."))
            }
        }
    }

    // ---- files

    fn open(&mut self, path: &[u8], flags: OpenFlags) -> Done<Handle> {
        let writes = flags.has(OpenFlags::WRITE) || flags.has(OpenFlags::APPEND);
        let reads = flags.has(OpenFlags::READ) || !writes;
        let changes = writes || flags.has(OpenFlags::CREATE) || flags.has(OpenFlags::TRUNCATE);
        if changes {
            self.writable(path)?;
        }
        let Place::Inside { contract, side, names } = self.find(path)? else {
            let missing = self.find(path)? == Place::Nowhere;
            return Err(if missing { Refusal::missing() } else { Refusal::from(rustix::io::Errno::ISDIR) });
        };
        let opening = if changes {
            create(self.share(contract)?, &names, flags)
        } else {
            look(self.share(contract)?, side, &names)
        };
        let (file, stat, is_new) = opening?;
        if changes {
            self.area.uploads.begin(&file, &stat)?;
        }
        if flags.has(OpenFlags::TRUNCATE) && !is_new {
            fs::ftruncate(&file, 0).inspect_err(|_| self.area.uploads.abandon(&stat))?;
        }
        let fetch = (side == Side::Outgoing && names.len() == 1).then(|| {
            let name = names.first().map(String::as_str).unwrap_or_default();
            let contract_id = self.shares.get(contract).map(|share| share.contract_id.as_str()).unwrap_or_default();
            self.area.fetch(contract_id, name, &stat)
        });
        let file = OpenFile { file, stat, contract, side, names, reads, writes: changes, is_new, fetch };
        self.keep(Open::File(Box::new(file)))
    }

    fn keep(&mut self, open: Open) -> Done<Handle> {
        if self.open.len() >= MAX_HANDLES {
            self.let_go(open);
            return Err(Refusal::new(Code::Failure, "Too many files are open: close some."));
        }
        let handle = Handle(self.next);
        // The greatest is what an unreadable handle of a client is taken for.
        self.next = if self.next >= u32::MAX - 1 { 0 } else { self.next + 1 };
        if let Some(earlier) = self.open.insert(handle, open) {
            self.let_go(earlier);
        }
        Ok(handle)
    }

    fn file(&self, handle: Handle) -> Done<&OpenFile> {
        match self.open.get(&handle) {
            Some(Open::File(file)) => Ok(file),
            _ => Err(unknown_handle()),
        }
    }

    fn written(&self, handle: Handle) -> Done<&OpenFile> {
        let file = self.file(handle)?;
        if file.writes { Ok(file) } else { Err(Refusal::denied("The file is not open for writing.")) }
    }

    fn read(&mut self, number: u32, handle: Handle, offset: u64, len: u32) -> Done<Reply> {
        let Some(Open::File(file)) = self.open.get_mut(&handle) else { return Err(unknown_handle()) };
        if !file.reads {
            return Err(Refusal::denied("The file is not open for reading."));
        }
        let wanted = (len as usize).min(MAX_DATA);
        let mut buffer = self.buffers.take();
        let count = fill(&file.file, buffer.get_mut(DATA_HEAD..DATA_HEAD + wanted).unwrap_or_default(), offset)?;
        if let Some(fetch) = &mut file.fetch {
            fetch.served(offset, count);
        }
        let delivered = if file.side == Side::Outgoing { count } else { 0 };
        buffer.iter_mut().zip(wire::data_head(number, count)).for_each(|(to, from)| *to = from);
        let packet = self.buffers.lend(buffer);
        if count == 0 && wanted > 0 {
            return Err(Refusal::new(Code::EndOfFile, "The file ends here."));
        }
        Ok(Reply { packet: packet.slice(..DATA_HEAD + count), delivered })
    }

    fn write(&self, handle: Handle, offset: u64, mut data: Rope) -> Done<()> {
        use bytes::Buf as _;
        let file = self.written(handle)?;
        self.area.check_size(offset.saturating_add(data.remaining() as u64))?;
        self.area.received(data.remaining());
        let mut at = offset;
        while data.has_remaining() {
            let slices = data.slices();
            // No more than the system takes at once.
            let count = rustix::io::pwritev(&file.file, slices.get(..slices.len().min(1024)).unwrap_or_default(), at)?;
            drop(slices);
            if count == 0 {
                return Err(rustix::io::Errno::NOSPC.into());
            }
            data.advance(count);
            at = at.saturating_add(count as u64);
        }
        Ok(())
    }

    fn close(&mut self, handle: Handle) -> Done<()> {
        match self.open.remove(&handle) {
            None => Err(unknown_handle()),
            Some(Open::File(file)) if file.writes => self.finish(&file),
            Some(Open::File(file)) => {
                if let Some(fetch) = file.fetch.as_ref().filter(|fetch| self.area.fetches.closed(fetch)) {
                    self.area.fetched(fetch);
                }
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    /// A file that was written is durable before its client is told, and finished only then.
    fn finish(&self, file: &OpenFile) -> Done<()> {
        let durable = fs::fsync(&file.file).and_then(|()| match self.shares.get(file.contract) {
            Some(share) if file.is_new => match share.incoming.sync_name(&file.names) {
                // Renamed, with its directory perhaps, which has made the new name durable.
                Err(rustix::io::Errno::NOENT) => Ok(()),
                synced => synced,
            },
            _ => Ok(()),
        });
        match durable {
            Ok(()) => {
                self.area.uploads.finish(&file.file, &file.stat)?;
                self.area.handed_in();
                Ok(())
            }
            Err(error) => {
                self.area.uploads.abandon(&file.stat);
                Err(error.into())
            }
        }
    }

    /// The client leaves as it should: what it has read has arrived.
    pub(super) fn part(&mut self) {
        for (handle, open) in std::mem::take(&mut self.open) {
            match open {
                Open::File(file) if file.writes => self.let_go(Open::File(file)),
                read => {
                    self.open.insert(handle, read);
                    let _ = self.close(handle);
                }
            }
        }
    }

    /// What was open when the connection ended without closing it.
    fn let_go(&self, open: Open) {
        if let Open::File(file) = open {
            if file.writes {
                self.area.uploads.abandon(&file.stat);
            }
            if let Some(fetch) = &file.fetch {
                self.area.fetches.cut_off(fetch);
            }
        }
    }

    // ---- attributes

    fn stat(&self, path: &[u8]) -> Done<Attributes> {
        match self.find(path)? {
            Place::Top | Place::Contract(_) => Ok(shown::drawn()),
            Place::Nowhere => Err(Refusal::missing()),
            Place::Inside { contract, side, names } => {
                let share = self.share(contract)?;
                Ok(shown::attributes(&share.root(side).stat(&names)?, side, share.writes))
            }
        }
    }

    fn handle_stat(&self, handle: Handle) -> Done<Attributes> {
        let (file, contract, side) = match self.open.get(&handle) {
            Some(Open::File(open)) => (&open.file, open.contract, open.side),
            Some(Open::Directory(open)) => (&open.file, open.contract, open.side),
            Some(Open::Drawn(_)) => return Ok(shown::drawn()),
            None => return Err(unknown_handle()),
        };
        Ok(shown::attributes(&fs::fstat(file)?, side, self.share(contract)?.writes))
    }

    fn set_stat(&self, path: &[u8], attributes: &Attributes) -> Done<()> {
        let (share, names) = self.writable(path)?;
        refuse_owner(attributes)?;
        let is_directory = fs::FileType::from_raw_mode(share.incoming.stat(&names)?.st_mode) == fs::FileType::Directory;
        if is_directory {
            // Clients that keep times and permissions send both for directories too: neither is worth a failure.
            return if attributes.size.is_none() { Ok(()) } else { Err(rustix::io::Errno::ISDIR.into()) };
        }
        let (file, _) = share.incoming.file(&names, OFlags::WRONLY, Mode::empty())?;
        self.change(&file, attributes)
    }

    fn handle_set_stat(&self, handle: Handle, attributes: &Attributes) -> Done<()> {
        let file = self.written(handle)?;
        self.change(&file.file, attributes)
    }

    /// Changes size and times. Permissions are ours: they say whether the file is complete, and clients that send those
    /// of their own file are answered that all is well.
    fn change(&self, file: &OwnedFd, attributes: &Attributes) -> Done<()> {
        refuse_owner(attributes)?;
        if let Some(size) = attributes.size {
            self.area.check_size(size)?;
            fs::ftruncate(file, size)?;
        }
        if let Some((read, written)) = attributes.times {
            let time = |seconds: u32| Timespec { tv_sec: seconds.into(), tv_nsec: 0 };
            fs::futimens(file, &Timestamps { last_access: time(read), last_modification: time(written) })?;
        }
        Ok(())
    }

    // ---- names

    fn remove(&self, path: &[u8]) -> Done<()> {
        let (share, names) = self.writable(path)?;
        // What is not there for clients cannot be removed by them either.
        share.incoming.stat(&names)?;
        Ok(share.incoming.remove(&names)?)
    }

    fn rename(&self, from: &[u8], to: &[u8], replace: bool) -> Done<()> {
        let (share, old) = self.writable(from)?;
        let (other, new) = self.writable(to)?;
        if share.contract_id != other.contract_id {
            return Err(Refusal::denied("A package cannot be moved from one contract to another."));
        }
        share.incoming.rename(&old, &new, replace)?;
        match share.incoming.file(&new, OFlags::RDONLY, Mode::empty()) {
            Ok((file, stat)) => {
                self.area.uploads.renamed(file, &stat)?;
                self.area.handed_in();
                Ok(())
            }
            // A directory; or a file that somebody has moved on already.
            Err(_) => Ok(()),
        }
    }

    // ---- directories

    fn open_directory(&mut self, path: &[u8]) -> Done<Handle> {
        let sides = || Side::BOTH.map(|side| shown::entry(side.name(), shown::drawn())).to_vec();
        let open = match self.find(path)? {
            Place::Nowhere => return Err(Refusal::missing()),
            Place::Top if self.shares.len() != 1 => {
                Open::Drawn(self.shares.iter().map(|share| shown::entry(&share.contract_id, shown::drawn())).collect())
            }
            Place::Top | Place::Contract(_) => Open::Drawn(sides()),
            Place::Inside { contract, side, names } => {
                let file = self.share(contract)?.root(side).directory(&names)?;
                Open::Directory(OpenDirectory { entries: Dir::read_from(&file)?, file, contract, side })
            }
        };
        self.keep(open)
    }

    fn read_directory(&mut self, handle: Handle) -> Done<Vec<Name>> {
        let names = match self.open.get_mut(&handle) {
            Some(Open::Drawn(names)) => std::mem::take(names),
            Some(Open::Directory(directory)) => {
                let writes = self.shares.get(directory.contract).is_some_and(|share| share.writes);
                directory.next_entries(writes)?
            }
            _ => return Err(unknown_handle()),
        };
        if names.is_empty() { Err(Refusal::new(Code::EndOfFile, "The directory ends here.")) } else { Ok(names) }
    }

    fn file_system(&self, path: &[u8]) -> Done<[u64; 11]> {
        let root = match self.find(path)? {
            Place::Nowhere => return Err(Refusal::missing()),
            Place::Top | Place::Contract(_) => &self.shares.first().ok_or_else(Refusal::missing)?.incoming,
            Place::Inside { contract, side, .. } => self.share(contract)?.root(side),
        };
        Ok(file_system(&fs::fstatvfs(root.directory(&[])?)?))
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        for (_, open) in std::mem::take(&mut self.open) {
            self.let_go(open);
        }
    }
}

impl OpenDirectory {
    fn next_entries(&mut self, writes: bool) -> rustix::io::Result<Vec<Name>> {
        let mut names = Vec::new();
        while names.len() < ENTRIES {
            let Some(entry) = self.entries.read() else { break };
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." || !places::is_shown(self.side, name) {
                continue;
            }
            let Ok(name) = std::str::from_utf8(name) else { continue };
            // One that has gone in the meantime is not there any more.
            let Ok(stat) = files::stat_at(&self.file, name) else { continue };
            names.push(shown::entry(name, shown::attributes(&stat, self.side, writes)));
        }
        Ok(names)
    }
}

/// Opens a file to read it.
fn look(share: &Share, side: Side, names: &[String]) -> Done<(OwnedFd, Stat, bool)> {
    let (file, stat) = share.root(side).file(names, OFlags::RDONLY, Mode::empty())?;
    // Advice alone: the system then reads further ahead.
    let _ = fs::fadvise(&file, 0, None, Advice::Sequential);
    Ok((file, stat, false))
}

/// Opens a file to write to it, and tells whether it is new. What is there is truncated by the caller, who first knows
/// whether it is a file of the area at all.
fn create(share: &Share, names: &[String], flags: OpenFlags) -> Done<(OwnedFd, Stat, bool)> {
    let access = if flags.has(OpenFlags::READ) { OFlags::RDWR } else { OFlags::WRONLY };
    let access = if flags.has(OpenFlags::APPEND) { access | OFlags::APPEND } else { access };
    let mode = Mode::from_raw_mode(dipper_core::incoming::UNFINISHED);
    if flags.has(OpenFlags::CREATE) {
        match share.incoming.file(names, access | OFlags::CREATE | OFlags::EXCL, mode) {
            Err(rustix::io::Errno::EXIST) if !flags.has(OpenFlags::EXCLUSIVE) => {}
            created => return Ok(created.map(|(file, stat)| (file, stat, true))?),
        }
    }
    Ok(share.incoming.file(names, access, Mode::empty()).map(|(file, stat)| (file, stat, false))?)
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &OwnedFd, buffer: &mut [u8], offset: u64) -> rustix::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(file, rest, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn refuse_owner(attributes: &Attributes) -> Done<()> {
    let refused = Refusal::denied("Files here have no owners that could be chosen.");
    if attributes.owner.is_some() { Err(refused) } else { Ok(()) }
}

fn unknown_handle() -> Refusal {
    Refusal::new(Code::Failure, "There is no such handle.")
}

/// What `statvfs@openssh.com` answers.
fn file_system(found: &StatVfs) -> [u64; 11] {
    let StatVfs { f_bsize, f_frsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree, f_favail, f_namemax, .. } = *found;
    // The number of the file system is nobody's business; 2 stands for one without set-user-id.
    [f_bsize, f_frsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree, f_favail, 0, 2, f_namemax]
}
