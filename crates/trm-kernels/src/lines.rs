//! Memory for large arrays on lines of the cache.

use std::alloc::{GlobalAlloc, Layout, System};

/// Bytes of a line, and of the widest register.
const LINE: usize = 64;
/// Smaller pieces are left as they come.
const LARGE: usize = 4096;

/// The system's allocator, with large pieces on lines of the cache: a register that crosses a line takes twice the time.
///
/// A program says `#[global_allocator] static MEMORY: AlignedMemory = AlignedMemory;`
#[derive(Debug)]
pub struct AlignedMemory;

fn aligned(layout: Layout) -> Layout {
    if layout.size() < LARGE { layout } else { layout.align_to(LINE).unwrap_or(layout) }
}

// SAFETY: every piece comes from the system's allocator and goes back to it with the layout it was asked for.
unsafe impl GlobalAlloc for AlignedMemory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc(aligned(layout)) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise; the same layout was asked for.
        unsafe { System.dealloc(at, aligned(layout)) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(aligned(layout)) }
    }
}
