//! Values spread over cache lines, so that threads which add at the same time rarely meet.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

/// More than the cores that add at the same time on the machines this is made for; a power of two.
const SHARDS: usize = 16;

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// This thread's shard; `SHARDS` before the first use.
    static MINE: Cell<usize> = const { Cell::new(SHARDS) };
}

/// One `T` per shard. A thread keeps to its own shard; shards are merged by the reader. Boxed, for
/// all metrics together would be too big to be made on a small stack.
#[derive(Debug)]
pub(crate) struct Shards<T>(Box<[CachePadded<T>; SHARDS]>);

impl<T: Default> Default for Shards<T> {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| CachePadded::default())))
    }
}

impl<T> Shards<T> {
    /// This thread's shard. Another thread may use it as well.
    #[inline]
    pub(crate) fn mine(&self) -> &T {
        // The remainder costs an AND and shows the compiler that the index is in bounds.
        &self.0[MINE.try_with(Cell::get).map_or(0, |at| if at == SHARDS { assign() } else { at })
            % SHARDS]
    }

    /// All shards, to be merged or reset.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &**padded)
    }
}

#[cold]
fn assign() -> usize {
    // Relaxed: any distribution is right, an even one is fast.
    let at = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    let _ = MINE.try_with(|mine| mine.set(at)); // Fails only while the thread ends.
    at
}
