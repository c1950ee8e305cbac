//! SFTP version 3 on the wire (draft-ietf-secsh-filexfer-02), with those extensions of OpenSSH's `PROTOCOL` that the
//! clients in use ask for. Contents travel in the pieces in which they came, without being put together.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// The version that is spoken; every client knows it.
pub(super) const VERSION: u32 = 3;
/// The longest packet that is taken, without its length: that of OpenSSH.
pub(super) const MAX_PACKET: usize = 256 * 1024;
/// The most bytes of content in one packet, with room for what stands around them.
pub(super) const MAX_DATA: usize = MAX_PACKET - 1024;
/// The bytes of a DATA reply before its content.
pub(super) const DATA_HEAD: usize = 13;
/// Longer than any path that the file system takes.
const MAX_STRING: usize = 8 * 1024;
/// Pieces below this size are gathered: each piece costs as much again.
const SMALL: usize = 2 * 1024;

const FXP_VERSION: u8 = 2;
const FXP_STATUS: u8 = 101;
const FXP_HANDLE: u8 = 102;
const FXP_DATA: u8 = 103;
const FXP_NAME: u8 = 104;
const FXP_ATTRS: u8 = 105;
const FXP_EXTENDED_REPLY: u8 = 201;

const ATTR_SIZE: u32 = 0x1;
const ATTR_UIDGID: u32 = 0x2;
const ATTR_PERMISSIONS: u32 = 0x4;
const ATTR_TIMES: u32 = 0x8;
const ATTR_EXTENDED: u32 = 0x8000_0000;

/// Bytes as they came, in pieces.
#[derive(Debug, Default)]
pub(super) struct Rope {
    pieces: VecDeque<Bytes>,
    small: BytesMut,
    len: usize,
}

impl Rope {
    /// Adds bytes at the end.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if piece.len() < SMALL {
            self.small.extend_from_slice(&piece);
        } else {
            self.gather();
            self.pieces.push_back(piece);
        }
    }

    fn gather(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push_back(self.small.split().freeze());
        }
    }

    /// Takes bytes from the beginning, without copying them; `None` as long as there are not so many.
    pub(super) fn take(&mut self, count: usize) -> Option<Rope> {
        let rest = self.len.checked_sub(count)?;
        self.gather();
        let mut taken = Rope { len: count, ..Rope::default() };
        let mut wanted = count;
        while wanted > 0 {
            let mut piece = self.pieces.pop_front()?;
            if piece.len() > wanted {
                let head = piece.split_to(wanted);
                self.pieces.push_front(piece);
                piece = head;
            }
            wanted -= piece.len();
            taken.pieces.push_back(piece);
        }
        self.len = rest;
        Some(taken)
    }

    /// Takes the next packet, once all of it is there.
    pub(super) fn packet(&mut self) -> Result<Option<Rope>, Malformed> {
        if self.len < 4 {
            return Ok(None);
        }
        self.gather();
        let mut head = [0; 4];
        for (to, from) in head.iter_mut().zip(self.pieces.iter().flat_map(|piece| piece.iter())) {
            *to = *from;
        }
        let len = u32::from_be_bytes(head) as usize;
        if len == 0 || len > MAX_PACKET {
            return Err(Malformed);
        }
        if self.len < 4 + len {
            return Ok(None);
        }
        self.advance(4);
        Ok(self.take(len))
    }

    /// The bytes for a write in one call.
    pub(super) fn slices(&self) -> Vec<IoSlice<'_>> {
        self.pieces.iter().map(|piece| IoSlice::new(piece)).collect()
    }

    fn int(&mut self) -> Result<u32, Malformed> {
        self.try_get_u32().map_err(|_| Malformed)
    }

    fn long(&mut self) -> Result<u64, Malformed> {
        self.try_get_u64().map_err(|_| Malformed)
    }

    fn string(&mut self) -> Result<Vec<u8>, Malformed> {
        let len = self.int()? as usize;
        if len > MAX_STRING || len > self.len {
            return Err(Malformed);
        }
        let mut string = vec![0; len];
        self.try_copy_to_slice(&mut string).map_err(|_| Malformed)?;
        Ok(string)
    }

    fn handle(&mut self) -> Result<Handle, Malformed> {
        // What we never gave out is an unknown handle, and no reason to hang up.
        Ok(self.string()?.try_into().map_or(Handle(u32::MAX), |bytes| Handle(u32::from_be_bytes(bytes))))
    }
}

impl Buf for Rope {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&self.small, |piece| piece)
    }

    fn advance(&mut self, count: usize) {
        let mut count = count.min(self.len);
        self.len -= count;
        self.gather();
        while let Some(piece) = self.pieces.front_mut().filter(|_| count > 0) {
            let step = count.min(piece.len());
            piece.advance(step);
            count -= step;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

/// The bytes are no packet of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet that is none of SFTP version 3")]
pub(super) struct Malformed;

/// What stands for an open file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Handle(pub(super) u32);

/// How a file is to be opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OpenFlags(pub(super) u32);

impl OpenFlags {
    pub(super) const READ: OpenFlags = OpenFlags(0x01);
    pub(super) const WRITE: OpenFlags = OpenFlags(0x02);
    pub(super) const APPEND: OpenFlags = OpenFlags(0x04);
    pub(super) const CREATE: OpenFlags = OpenFlags(0x08);
    pub(super) const TRUNCATE: OpenFlags = OpenFlags(0x10);
    pub(super) const EXCLUSIVE: OpenFlags = OpenFlags(0x20);

    pub(super) fn has(self, flag: OpenFlags) -> bool {
        self.0 & flag.0 != 0
    }
}

/// What is told, or asked to be changed, about a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: Option<u64>,
    pub(super) owner: Option<(u32, u32)>,
    pub(super) permissions: Option<u32>,
    /// When it was read and when it was written, in seconds.
    pub(super) times: Option<(u32, u32)>,
}

impl Attributes {
    fn read(rope: &mut Rope) -> Result<Attributes, Malformed> {
        let flags = rope.int()?;
        let mut attributes = Attributes::default();
        if flags & ATTR_SIZE != 0 {
            attributes.size = Some(rope.long()?);
        }
        if flags & ATTR_UIDGID != 0 {
            attributes.owner = Some((rope.int()?, rope.int()?));
        }
        if flags & ATTR_PERMISSIONS != 0 {
            attributes.permissions = Some(rope.int()?);
        }
        if flags & ATTR_TIMES != 0 {
            attributes.times = Some((rope.int()?, rope.int()?));
        }
        if flags & ATTR_EXTENDED != 0 {
            for _ in 0..rope.int()?.min(64) {
                rope.string()?;
                rope.string()?;
            }
        }
        Ok(attributes)
    }

    fn write(&self, packet: &mut Vec<u8>) {
        let flag = |there: bool, flag: u32| if there { flag } else { 0 };
        int(
            packet,
            flag(self.size.is_some(), ATTR_SIZE)
                | flag(self.owner.is_some(), ATTR_UIDGID)
                | flag(self.permissions.is_some(), ATTR_PERMISSIONS)
                | flag(self.times.is_some(), ATTR_TIMES),
        );
        if let Some(size) = self.size {
            packet.extend_from_slice(&size.to_be_bytes());
        }
        if let Some((one, other)) = self.owner {
            int(packet, one);
            int(packet, other);
        }
        if let Some(permissions) = self.permissions {
            int(packet, permissions);
        }
        if let Some((one, other)) = self.times {
            int(packet, one);
            int(packet, other);
        }
    }
}

/// What a client asks for.
#[derive(Debug)]
pub(super) enum Request {
    Open {
        path: Vec<u8>,
        flags: OpenFlags,
    },
    Close {
        handle: Handle,
    },
    Read {
        handle: Handle,
        offset: u64,
        len: u32,
    },
    Write {
        handle: Handle,
        offset: u64,
        data: Rope,
    },
    Stat {
        path: Vec<u8>,
    },
    HandleStat {
        handle: Handle,
    },
    SetStat {
        path: Vec<u8>,
        attributes: Attributes,
    },
    HandleSetStat {
        handle: Handle,
        attributes: Attributes,
    },
    OpenDirectory {
        path: Vec<u8>,
    },
    ReadDirectory {
        handle: Handle,
    },
    Remove {
        path: Vec<u8>,
    },
    MakeDirectory {
        path: Vec<u8>,
    },
    RemoveDirectory {
        path: Vec<u8>,
    },
    RealPath {
        path: Vec<u8>,
    },
    Rename {
        from: Vec<u8>,
        to: Vec<u8>,
        replace: bool,
    },
    Sync {
        handle: Handle,
    },
    FileSystem {
        path: Vec<u8>,
    },
    HandleFileSystem {
        handle: Handle,
    },
    Limits,
    /// Links of either kind.
    Link,
    /// Something that is not spoken here.
    Unknown,
}

/// A packet of a client.
#[derive(Debug)]
pub(super) enum Packet {
    /// The first one.
    Init,
    /// Every other, with the number under which it is answered.
    Request(u32, Request),
}

impl Packet {
    pub(super) fn read(mut rope: Rope) -> Result<Packet, Malformed> {
        let kind = rope.try_get_u8().map_err(|_| Malformed)?;
        let number = rope.int()?;
        if kind == 1 {
            return Ok(Packet::Init);
        }
        let rope = &mut rope;
        let request = match kind {
            3 => {
                let (path, flags) = (rope.string()?, OpenFlags(rope.int()?));
                // Permissions are ours to choose, and the rest cannot be chosen before there is a file.
                Attributes::read(rope)?;
                Request::Open { path, flags }
            }
            4 => Request::Close { handle: rope.handle()? },
            5 => Request::Read { handle: rope.handle()?, offset: rope.long()?, len: rope.int()? },
            6 => {
                let (handle, offset, len) = (rope.handle()?, rope.long()?, rope.int()? as usize);
                Request::Write { handle, offset, data: rope.take(len).ok_or(Malformed)? }
            }
            // There are no links to tell the two apart by.
            7 | 17 => Request::Stat { path: rope.string()? },
            8 => Request::HandleStat { handle: rope.handle()? },
            9 => Request::SetStat { path: rope.string()?, attributes: Attributes::read(rope)? },
            10 => Request::HandleSetStat { handle: rope.handle()?, attributes: Attributes::read(rope)? },
            11 => Request::OpenDirectory { path: rope.string()? },
            12 => Request::ReadDirectory { handle: rope.handle()? },
            13 => Request::Remove { path: rope.string()? },
            14 => Request::MakeDirectory { path: rope.string()? },
            15 => Request::RemoveDirectory { path: rope.string()? },
            16 => Request::RealPath { path: rope.string()? },
            18 => Request::Rename { from: rope.string()?, to: rope.string()?, replace: false },
            19..=21 => Request::Link,
            200 => extended(rope)?,
            _ => Request::Unknown,
        };
        Ok(Packet::Request(number, request))
    }
}

fn extended(rope: &mut Rope) -> Result<Request, Malformed> {
    Ok(match rope.string()?.as_slice() {
        b"posix-rename@openssh.com" => Request::Rename { from: rope.string()?, to: rope.string()?, replace: true },
        b"fsync@openssh.com" => Request::Sync { handle: rope.handle()? },
        b"statvfs@openssh.com" => Request::FileSystem { path: rope.string()? },
        b"fstatvfs@openssh.com" => Request::HandleFileSystem { handle: rope.handle()? },
        b"limits@openssh.com" => Request::Limits,
        b"hardlink@openssh.com" => Request::Link,
        _ => Request::Unknown,
    })
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Ok = 0,
    EndOfFile = 1,
    NoSuchFile = 2,
    PermissionDenied = 3,
    Failure = 4,
    Unsupported = 8,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) name: String,
    /// As `ls -l` prints it, for clients that show it unread.
    pub(super) long: String,
    pub(super) attributes: Attributes,
}

/// What the server answers first: the version, and what it knows beyond it.
pub(super) fn version() -> Vec<u8> {
    let mut packet = begin(FXP_VERSION, VERSION);
    for (name, version) in [
        ("posix-rename@openssh.com", "1"),
        ("statvfs@openssh.com", "2"),
        ("fstatvfs@openssh.com", "2"),
        ("fsync@openssh.com", "1"),
        ("limits@openssh.com", "1"),
    ] {
        string(&mut packet, name.as_bytes());
        string(&mut packet, version.as_bytes());
    }
    end(packet)
}

pub(super) fn status(number: u32, code: Code, message: &str) -> Vec<u8> {
    let mut packet = begin(FXP_STATUS, number);
    int(&mut packet, code as u32);
    string(&mut packet, message.as_bytes());
    string(&mut packet, b"en");
    end(packet)
}

pub(super) fn handle(number: u32, handle: Handle) -> Vec<u8> {
    let mut packet = begin(FXP_HANDLE, number);
    string(&mut packet, &handle.0.to_be_bytes());
    end(packet)
}

/// The head of a reply whose content follows, `len` bytes of it.
pub(super) fn data_head(number: u32, len: usize) -> [u8; DATA_HEAD] {
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    let whole = len.saturating_add(9).to_be_bytes().into_iter().chain([FXP_DATA]);
    let fields = whole.chain(number.to_be_bytes()).chain(len.to_be_bytes());
    let mut head = [0; DATA_HEAD];
    head.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    head
}

pub(super) fn names(number: u32, names: &[Name]) -> Vec<u8> {
    let mut packet = begin(FXP_NAME, number);
    int(&mut packet, u32::try_from(names.len()).unwrap_or(u32::MAX));
    for Name { name, long, attributes } in names {
        string(&mut packet, name.as_bytes());
        string(&mut packet, long.as_bytes());
        attributes.write(&mut packet);
    }
    end(packet)
}

pub(super) fn attributes(number: u32, attributes: &Attributes) -> Vec<u8> {
    let mut packet = begin(FXP_ATTRS, number);
    attributes.write(&mut packet);
    end(packet)
}

/// The reply to an extension that answers with numbers.
pub(super) fn numbers(number: u32, numbers: &[u64]) -> Vec<u8> {
    let mut packet = begin(FXP_EXTENDED_REPLY, number);
    for number in numbers {
        packet.extend_from_slice(&number.to_be_bytes());
    }
    end(packet)
}

fn begin(kind: u8, number: u32) -> Vec<u8> {
    let mut packet = vec![0, 0, 0, 0, kind];
    int(&mut packet, number);
    packet
}

fn end(mut packet: Vec<u8>) -> Vec<u8> {
    let len = u32::try_from(packet.len().saturating_sub(4)).unwrap_or(u32::MAX).to_be_bytes();
    packet.iter_mut().zip(len).for_each(|(to, from)| *to = from);
    packet
}

fn int(packet: &mut Vec<u8>, value: u32) {
    packet.extend_from_slice(&value.to_be_bytes());
}

fn string(packet: &mut Vec<u8>, value: &[u8]) {
    int(packet, u32::try_from(value.len()).unwrap_or(u32::MAX));
    packet.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packets_come_out_as_they_went_in_however_they_were_cut(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..6000), 1..6),
            cuts in prop::collection::vec(1_usize..5000, 1..40),
        ) {
            let wire: Vec<u8> = packets.iter().flat_map(|packet| {
                let len = u32::try_from(packet.len()).expect("short").to_be_bytes();
                len.into_iter().chain(packet.iter().copied())
            }).collect();
            let (mut rope, mut found, mut rest, mut cuts) = (Rope::default(), Vec::new(), wire.as_slice(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at((*cuts.next().expect("endless")).min(rest.len()));
                rope.push(Bytes::copy_from_slice(piece));
                rest = tail;
                while let Some(packet) = rope.packet().expect("well formed") {
                    found.push(packet.slices().iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>());
                }
            }
            prop_assert_eq!(found, packets);
            prop_assert_eq!(rope.remaining(), 0);
        }

        #[test]
        fn whatever_a_stranger_sends_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut rope = Rope::default();
            rope.push(bytes.into());
            let _ = Packet::read(rope);
        }
    }

    #[test]
    fn packets_without_bounds_are_refused() {
        for head in [[0, 0, 0, 0], [0, 4, 0, 1], [0xff; 4]] {
            let mut rope = Rope::default();
            rope.push(Bytes::copy_from_slice(&head));
            assert!(rope.packet().is_err(), "{head:?}");
        }
    }

    #[test]
    fn attributes_are_read_as_they_are_written() {
        let all =
            Attributes { size: Some(1 << 40), owner: Some((1, 2)), permissions: Some(0o100_640), times: Some((3, 4)) };
        for attributes in [all, Attributes::default(), Attributes { owner: None, ..all }] {
            let mut packet = Vec::new();
            attributes.write(&mut packet);
            let mut rope = Rope::default();
            rope.push(packet.into());
            assert_eq!(Attributes::read(&mut rope), Ok(attributes));
        }
    }
}
