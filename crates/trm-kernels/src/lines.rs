//! Memory for large arrays on lines of the cache.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;

/// Bytes of a line, and of the widest register.
const LINE: usize = 64;
/// Smaller pieces are left as they come.
const LARGE: usize = 4096;
/// What the system aligns pieces to; room for a pointer.
const SYSTEM: usize = 16;

/// The system's allocator, with large pieces on lines of the cache: a register that crosses a line takes twice the time.
///
/// A piece starts at the first line inside one of the system's, with the address of that before it: asking the system for the
/// alignment instead would make it write zeros that it otherwise has for nothing.
///
/// A program says `#[global_allocator] static MEMORY: AlignedMemory = AlignedMemory;`
#[derive(Debug)]
pub struct AlignedMemory;

/// The piece of the system's that one of ours lies in, if it is to be moved to a line.
fn around(layout: Layout) -> Option<Layout> {
    let moves = layout.size() >= LARGE && layout.align() <= LINE;
    let size = layout.size().checked_add(LINE)?;
    moves.then(|| Layout::from_size_align(size, SYSTEM).ok()).flatten()
}

/// Moves to the first line of a piece of the system's.
///
/// # Safety
/// `piece` is null, or the start of a piece that `around` asked for.
unsafe fn to_line(piece: *mut u8) -> *mut u8 {
    if piece.is_null() {
        return null_mut();
    }
    // From 16 to 64 bytes, since the system aligns to 16.
    let shift = LINE - piece.addr() % LINE;
    // SAFETY: the piece is larger by a line than what is used of it; a pointer fits before the line, and is aligned there.
    unsafe {
        let line = piece.add(shift);
        line.cast::<*mut u8>().sub(1).write(piece);
        line
    }
}

// SAFETY: every piece comes from the system's allocator and goes back to it with the address and the layout it came with; what
// `to_line` makes of it has the size and alignment that were asked for.
unsafe impl GlobalAlloc for AlignedMemory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { around(layout).map_or_else(|| System.alloc(layout), |around| to_line(System.alloc(around))) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe {
            around(layout)
                .map_or_else(|| System.alloc_zeroed(layout), |around| to_line(System.alloc_zeroed(around)))
        }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise: where `around` has a layout, `to_line` left the address before `at`.
        unsafe {
            match around(layout) {
                Some(around) => System.dealloc(at.cast::<*mut u8>().sub(1).read(), around),
                None => System.dealloc(at, layout),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_pieces_lie_on_lines_and_keep_what_is_written_to_them() {
        for (size, align) in
            [(1, 1), (4095, 8), (4096, 1), (4097, 4), (1 << 20, 16), (1 << 22, 64), (8192, 4096)]
        {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: pieces are used within their size, grown, and given back once with the layout they had last.
            unsafe {
                let at = AlignedMemory.alloc_zeroed(layout);
                assert!(
                    !at.is_null()
                        && at.addr().is_multiple_of(align.max(if size >= LARGE { LINE } else { 1 }))
                );
                let bytes = std::slice::from_raw_parts_mut(at, size);
                assert!(bytes.iter().all(|byte| *byte == 0), "{size} zeros");
                bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = i as u8);
                let larger = AlignedMemory.realloc(at, layout, 3 * size);
                assert!(!larger.is_null());
                let kept = std::slice::from_raw_parts(larger, size);
                assert!(kept.iter().enumerate().all(|(i, byte)| *byte == i as u8), "{size} bytes are kept");
                AlignedMemory.dealloc(larger, Layout::from_size_align(3 * size, align).unwrap());
            }
        }
    }
}
