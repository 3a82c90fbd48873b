//! The allocator: jemalloc, whose caches are for the threads that need them.
//!
//! A request is allocated by a connection's thread and freed by the last stage of the chain, a
//! transaction the other way round; that is what the C library's allocator does badly (it cost a
//! quarter of the CPU time of a write). jemalloc's cache of a thread costs some 50 KiB though, and
//! there may be ten thousand connections that only ping: their threads go without.

use std::ptr;

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// From now on this thread keeps no freed memory for its next allocations: it takes a lock for each
/// of them.
#[expect(unsafe_code, reason = "jemalloc's options of a thread are set by its C function")]
pub fn keep_no_memory_in_this_thread() {
    let mut is_enabled = false;
    // SAFETY: the name ends with a NUL; `thread.tcache.enabled` is a C `bool`, which it only reads.
    let error = unsafe {
        tikv_jemalloc_sys::mallctl(
            c"thread.tcache.enabled".as_ptr(),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::from_mut(&mut is_enabled).cast(),
            size_of::<bool>(),
        )
    };
    if error != 0 {
        log::debug!("a thread keeps its freed memory: error {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By jemalloc's own account.
    #[expect(unsafe_code, reason = "as above")]
    fn has_cache() -> bool {
        let (mut is_enabled, mut size) = (true, size_of::<bool>());
        // SAFETY: as above; it is only written.
        let error = unsafe {
            tikv_jemalloc_sys::mallctl(
                c"thread.tcache.enabled".as_ptr(),
                ptr::from_mut(&mut is_enabled).cast(),
                &raw mut size,
                ptr::null_mut(),
                0,
            )
        };
        assert_eq!(error, 0);
        is_enabled
    }

    #[test]
    fn only_threads_that_ask_for_it_go_without() {
        let lean = std::thread::spawn(|| {
            let before = has_cache();
            keep_no_memory_in_this_thread();
            (before, has_cache())
        });
        assert_eq!((lean.join().unwrap(), has_cache()), ((true, false), true));
    }
}
