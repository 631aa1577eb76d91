//! A list that grows without moving what is in it.

use alloc::vec::Vec;

/// Items per chunk.
const CHUNK: usize = 64;

/// A list in chunks. An item keeps its place in memory: growing neither copies nor waits, and leaves no copy of a key
/// behind.
pub(super) struct Chunked<T> {
    /// Each has room for [`CHUNK`] items from its beginning on.
    chunks: Vec<Vec<T>>,
}

impl<T> Chunked<T> {
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        let last = self.chunks.last().map_or(0, Vec::len);
        self.chunks.len().saturating_sub(1).saturating_mul(CHUNK).saturating_add(last)
    }

    pub(super) fn push(&mut self, item: T) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(item),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(item);
                self.chunks.push(chunk);
            }
        }
    }

    /// Takes the last item.
    pub(super) fn pop(&mut self) -> Option<T> {
        let item = self.chunks.last_mut()?.pop();
        if self.chunks.last().is_some_and(Vec::is_empty) {
            self.chunks.pop();
        }
        item
    }

    pub(super) fn get(&self, at: u32) -> Option<&T> {
        let at = at as usize;
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        let at = at as usize;
        self.chunks.get_mut(at / CHUNK)?.get_mut(at % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_a_list_and_moves_nothing() {
        let mut list = Chunked::new();
        for number in 0..3 * CHUNK as u32 {
            assert_eq!(list.len(), number as usize);
            list.push(number);
        }
        let first: *const u32 = list.get(0).unwrap();
        for number in 3 * CHUNK as u32..100 * CHUNK as u32 {
            list.push(number);
        }
        assert_eq!(list.get(0).unwrap() as *const u32, first);
        for number in (0..100 * CHUNK as u32).rev() {
            assert_eq!(list.get(number + 1), None);
            *list.get_mut(number).unwrap() += 1;
            assert_eq!(list.pop(), Some(number + 1));
        }
        assert_eq!((list.pop(), list.len()), (None, 0));
    }
}
