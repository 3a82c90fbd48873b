//! The allocator: jemalloc, whose caches are for the threads that need them.
//!
//! A request is allocated by a connection's thread and freed by the last stage of the chain, a
//! transaction the other way round; that is what the C library's allocator does badly (it cost a
//! quarter of the CPU time of a write). jemalloc's caches of a thread cost some 50 KiB though, and
//! there may be ten thousand connections that only ping: so caches are off until a thread asks.

use std::ptr;

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// What jemalloc reads before anything else: no caches but where [`cache_in_this_thread`] is called.
// jemalloc wants a `const char *`, which is what a reference to an array is.
#[expect(unsafe_code, reason = "the name under which jemalloc finds its options")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: &[u8; 13] = b"tcache:false\0";

/// From now on this thread keeps freed memory for its next allocations, without a lock.
#[expect(unsafe_code, reason = "jemalloc's options of a thread are set by its C function")]
pub fn cache_in_this_thread() {
    let mut is_enabled = true;
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
        log::debug!("no cache of freed memory for this thread: error {error}");
    }
}
