//! Memory for the contents on their way to one client: used again once the client's connection has let go of it, so that a
//! download touches the same few pages from beginning to end.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::wire::{DATA_HEAD, MAX_DATA};

/// More than can be on their way at a time.
const KEPT: usize = 12;

/// Buffers of the largest reply, which are never cleared.
#[derive(Debug, Default)]
pub(super) struct Buffers(VecDeque<Bytes>);

impl Buffers {
    /// A buffer that nobody looks at any more, or a new one.
    pub(super) fn take(&mut self) -> BytesMut {
        let free = self.0.iter().position(Bytes::is_unique).and_then(|free| self.0.remove(free));
        match free.map(Bytes::try_into_mut) {
            Some(Ok(buffer)) => buffer,
            _ => BytesMut::zeroed(DATA_HEAD + MAX_DATA),
        }
    }

    /// What was filled goes on its way, and comes back by itself.
    pub(super) fn lend(&mut self, buffer: BytesMut) -> Bytes {
        let lent = buffer.freeze();
        if self.0.len() < KEPT {
            self.0.push_back(lent.clone());
        }
        lent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_once_it_was_let_go() {
        let mut buffers = Buffers::default();
        let first = buffers.take();
        let place = first.as_ptr();
        let lent = buffers.lend(first);
        let second = buffers.take();
        assert_ne!(second.as_ptr(), place);
        drop(lent);
        let third = buffers.take();
        assert_eq!((third.as_ptr(), third.len()), (place, DATA_HEAD + MAX_DATA));
        for _ in 0..3 * KEPT {
            drop(buffers.lend(BytesMut::zeroed(DATA_HEAD + MAX_DATA)));
        }
        assert!(buffers.0.len() <= KEPT);
    }
}
