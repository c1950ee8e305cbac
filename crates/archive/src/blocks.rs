//! Blocks of bytes that several threads read and one thread fills again once they are done with it, so that a large
//! file passes through a handful of them.

use std::sync::Arc;

/// Blocks in use and blocks to be used again. How many there come to be is bounded by the channels that carry them.
pub(crate) struct Blocks {
    len: usize,
    known: Vec<Arc<Vec<u8>>>,
}

impl Blocks {
    /// Blocks of `len` bytes.
    pub(crate) fn new(len: usize) -> Blocks {
        Blocks { len, known: Vec::new() }
    }

    /// Fills a block that nobody else reads. `fill` gets all of its bytes, whatever was in them, and returns how many
    /// of them it has made.
    pub(crate) fn fill<E>(&mut self, fill: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<Arc<Vec<u8>>, E> {
        let free = self.known.iter().position(|block| Arc::strong_count(block) == 1);
        let mut block = free.map_or_else(Arc::default, |index| self.known.swap_remove(index));
        // Nobody else has it: what was counted once is not cloned by anybody.
        let bytes = Arc::make_mut(&mut block);
        bytes.resize(self.len, 0);
        let made = fill(bytes)?;
        bytes.truncate(made);
        self.known.push(Arc::clone(&block));
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_used_again_when_nobody_reads_it_any_more() {
        let mut blocks = Blocks::new(4);
        let mut fill = |byte: u8, count: usize| {
            let filled: Result<_, ()> = blocks.fill(|bytes| {
                bytes.fill(byte);
                Ok(count)
            });
            filled.unwrap()
        };
        let first = fill(1, 4);
        let second = fill(2, 2);
        assert_eq!((first.as_slice(), second.as_slice()), (&[1; 4][..], &[2; 2][..]));
        let place = first.as_ptr();
        drop(first);
        let third = fill(3, 4);
        assert_eq!((third.as_ptr(), third.as_slice(), second.as_slice()), (place, &[3; 4][..], &[2; 2][..]));
    }
}
