//! Tiles of 16 rows of 64 bytes, and what is done with them: a block of 32 by 32 sums, or a few rows by 64 columns.
//!
//! Four tiles of sums make a block, fed by two tiles of the left operand and two of the right: one load for each
//! multiplication. Tiles are named in inline assembly, since Rust has no stable intrinsics for them.

use crate::layout::{PANEL, Start, Strips, TILE, holds};
use crate::level::Amx;
use std::arch::asm;
use std::cell::Cell;
use std::marker::PhantomData;

/// Rows and columns of a block of sums.
pub(super) const BLOCK: usize = 2 * TILE;
/// Bytes of a word, and of a sum.
const WORD: usize = 4;

/// Where the sums of a block go: rows `stride` numbers apart.
pub(super) struct Sums<'a, T> {
    pub dst: &'a mut [T],
    pub stride: usize,
}

/// Zeros for a row of sums, of whatever kind: at a distance of no bytes from each other, rows are the same row.
static ZEROS: [u32; PANEL] = [0; PANEL];

impl<T> Sums<'_, T> {
    /// Where sums of so many columns are read before products are added, and how many bytes rows are apart there.
    ///
    /// # Panics
    /// If there is a bias of fewer columns.
    #[inline(always)]
    fn first(&self, start: Start<T>, cols: usize) -> (*const T, usize) {
        match start {
            Start::Zeros => (ZEROS[..cols].as_ptr().cast(), 0),
            Start::Bias(bias) => (bias[..cols].as_ptr(), 0),
            Start::Sums => (self.dst.as_ptr(), self.stride * WORD),
        }
    }
}

/// A sum, and with it what is multiplied: f32 of bfloat16 numbers, i32 of signed by unsigned bytes.
pub(super) trait Sum: Copy + Default {
    /// Adds the products of `steps` tiles of the inner dimension to the first sums of a block, or to ZEROS, and leaves them in
    /// another. With `FETCH`, brings 256 bytes `ahead` for each step from memory to the second-level cache.
    ///
    /// The left operand passes by the first-level cache, as far as the CPU takes that hint: the right one is to stay there for
    /// the next rows.
    ///
    /// # Safety
    /// Tiles are configured, 16 rows of 64 bytes each. At `left` and `right`, and `strip` bytes behind each, `steps` tiles can be
    /// read, one after the other; 32 rows of 32 sums can be read at `first` and written at `dst`, so many bytes apart. `steps` is
    /// not zero. Nothing is promised about `ahead`.
    unsafe fn add_block<const FETCH: bool, const ZEROS: bool>(
        steps: usize,
        operands: [*const u32; 2],
        strip: usize,
        ahead: *const u32,
        first: (*const Self, usize),
        dst: (*mut Self, usize),
    );
}

macro_rules! sum_by {
    ($multiply:literal, $sum:ty) => {
        impl Sum for $sum {
            #[inline(always)]
            unsafe fn add_block<const FETCH: bool, const ZEROS: bool>(
                steps: usize,
                [left, right]: [*const u32; 2],
                strip: usize,
                ahead: *const u32,
                (first, first_stride): (*const Self, usize),
                (dst, stride): (*mut Self, usize),
            ) {
                // Few operands: those that do not fit in registers would wait in memory until all sums before them are written.
                // SAFETY: by the caller's promise nothing is read or written but what may be.
                unsafe {
                    asm!(
                        ".if {zeros}",
                        "tilezero tmm0",
                        "tilezero tmm1",
                        "tilezero tmm2",
                        "tilezero tmm3",
                        ".else",
                        "tileloadd tmm0, [{first} + {row}]",
                        "tileloadd tmm1, [{first} + {row} + 64]",
                        "mov {other}, {row}",
                        "shl {other}, 4",
                        "add {first}, {other}",
                        "tileloadd tmm2, [{first} + {row}]",
                        "tileloadd tmm3, [{first} + {row} + 64]",
                        ".endif",
                        // From here on the second strips, of the left operand and of the right.
                        "lea {first}, [{left} + {strip}]",
                        "lea {other}, [{right} + {strip}]",
                        "mov {row:e}, 64",
                        "2:",
                        "tileloaddt1 tmm4, [{left} + {row}]",
                        "tileloadd tmm6, [{right} + {row}]",
                        concat!($multiply, " tmm0, tmm4, tmm6"),
                        "tileloaddt1 tmm5, [{first} + {row}]",
                        concat!($multiply, " tmm2, tmm5, tmm6"),
                        "tileloadd tmm7, [{other} + {row}]",
                        concat!($multiply, " tmm1, tmm4, tmm7"),
                        concat!($multiply, " tmm3, tmm5, tmm7"),
                        ".if {fetch}",
                        "prefetcht1 [{ahead}]",
                        "prefetcht1 [{ahead} + 64]",
                        "prefetcht1 [{ahead} + 128]",
                        "prefetcht1 [{ahead} + 192]",
                        "add {ahead}, 256",
                        ".endif",
                        "add {left}, 1024",
                        "add {right}, 1024",
                        "add {first}, 1024",
                        "add {other}, 1024",
                        "dec {steps}",
                        "jnz 2b",
                        "tilestored [{dst} + {stride}], tmm0",
                        "tilestored [{dst} + {stride} + 64], tmm1",
                        "mov {other}, {stride}",
                        "shl {other}, 4",
                        "add {other}, {dst}",
                        "tilestored [{other} + {stride}], tmm2",
                        "tilestored [{other} + {stride} + 64], tmm3",
                        first = inout(reg) first => _,
                        row = inout(reg) first_stride => _,
                        other = out(reg) _,
                        dst = in(reg) dst,
                        stride = in(reg) stride,
                        left = inout(reg) left => _,
                        right = inout(reg) right => _,
                        strip = in(reg) strip,
                        ahead = inout(reg) ahead => _,
                        fetch = const FETCH as usize,
                        zeros = const ZEROS as usize,
                        steps = inout(reg) steps => _,
                        options(nostack),
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    );
                }
            }
        }
    };
}

sum_by!("tdpbf16ps", f32);
sum_by!("tdpbsud", i32);

/// Adds the products of `steps` tiles of the inner dimension to a few rows of 64 sums, which are read at `first`, and
/// writes the results to `dst`. The right operand is read as fast as memory gives it.
///
/// # Safety
/// Tiles are configured, those of sums and the fifth of as many rows as there are, the others of 16. At `left` and each of
/// `right`, `steps` tiles can be read, one after the other; that many rows of 64 sums can be read at `first` and written at
/// `dst`, so many bytes apart. `steps` is not zero.
unsafe fn add_few(
    steps: usize,
    left: *const u32,
    right: [*const u32; 4],
    (first, first_stride): (*const f32, usize),
    (dst, stride): (*mut f32, usize),
) {
    // SAFETY: by the caller's promise nothing is read or written but what may be.
    unsafe {
        asm!(
            "tileloadd tmm0, [{first} + {first_stride}]",
            "tileloadd tmm1, [{first} + {first_stride} + 64]",
            "tileloadd tmm2, [{first} + {first_stride} + 128]",
            "tileloadd tmm3, [{first} + {first_stride} + 192]",
            "3:",
            "tileloadd tmm4, [{left} + {row}]",
            "tileloadd tmm5, [{right0} + {row}]",
            "tdpbf16ps tmm0, tmm4, tmm5",
            "tileloadd tmm6, [{right1} + {row}]",
            "tdpbf16ps tmm1, tmm4, tmm6",
            "tileloadd tmm7, [{right2} + {row}]",
            "tdpbf16ps tmm2, tmm4, tmm7",
            "tileloadd tmm5, [{right3} + {row}]",
            "tdpbf16ps tmm3, tmm4, tmm5",
            "add {left}, 1024",
            "add {right0}, 1024",
            "add {right1}, 1024",
            "add {right2}, 1024",
            "add {right3}, 1024",
            "dec {steps}",
            "jnz 3b",
            "tilestored [{dst} + {stride}], tmm0",
            "tilestored [{dst} + {stride} + 64], tmm1",
            "tilestored [{dst} + {stride} + 128], tmm2",
            "tilestored [{dst} + {stride} + 192], tmm3",
            first = in(reg) first,
            first_stride = in(reg) first_stride,
            dst = in(reg) dst,
            stride = in(reg) stride,
            left = inout(reg) left => _,
            right0 = inout(reg) right[0] => _,
            right1 = inout(reg) right[1] => _,
            right2 = inout(reg) right[2] => _,
            right3 = inout(reg) right[3] => _,
            row = in(reg) TILE * WORD,
            steps = inout(reg) steps => _,
            options(nostack),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
        );
    }
}

thread_local! {
    /// Whether this thread's tiles are configured. One configuration holds for all eight tiles.
    static CONFIGURED: Cell<bool> = const { Cell::new(false) };
}

/// The tiles of this thread, of 64 bytes a row. Dropping the value releases them.
pub(super) struct Tiles {
    /// Rows of the four tiles of sums and of the fifth tile, which is the left operand's. The other tiles have 16.
    rows: usize,
    /// Not `Send`: the registers belong to the thread that configured them.
    _on_this_thread: PhantomData<*const ()>,
}

impl Tiles {
    /// Tiles of 16 rows each.
    ///
    /// # Panics
    /// If tiles of this thread are configured already.
    pub fn of_blocks(cpu: Amx) -> Self {
        Self::configure(cpu, TILE)
    }

    /// Tiles for products of so many rows, 1 to 16.
    ///
    /// # Panics
    /// If tiles of this thread are configured already.
    pub fn of_few(cpu: Amx, rows: usize) -> Self {
        Self::configure(cpu, rows)
    }

    fn configure(_cpu: Amx, rows: usize) -> Self {
        /// The configuration that LDTILECFG reads: palette 1, bytes of a row at 16, rows at 48.
        #[repr(C, align(64))]
        struct Shape {
            palette: u8,
            start_row: u8,
            reserved: [u8; 14],
            row_bytes: [u16; 16],
            rows: [u8; 16],
        }
        assert!((1..=TILE).contains(&rows));
        assert!(!CONFIGURED.replace(true), "one shape at a time");
        let shape = Shape {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: std::array::from_fn(|i| if i < 8 { 64 } else { 0 }),
            rows: std::array::from_fn(|i| match i {
                0..5 => rows as u8,
                5..8 => TILE as u8,
                _ => 0,
            }),
        };
        // SAFETY: `_cpu` proves that there are tiles; the CPU reads the 64 bytes of `shape`.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const shape, options(nostack, readonly, preserves_flags),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _);
        }
        Self { rows, _on_this_thread: PhantomData }
    }

    /// `[rows, cols]` of 32 by 32 sums: what they start from, and the products of `steps` tiles of the inner dimension. Words
    /// `ahead`, 64 for each step, come closer meanwhile.
    ///
    /// # Shapes
    /// Two strips of each operand, `sums` is `[rows, cols]`, a bias has `cols` numbers.
    ///
    /// # Panics
    /// If an operand is too short, or these are tiles of a few rows.
    #[inline(always)]
    pub fn block<T: Sum>(
        &self,
        steps: usize,
        [left, right]: [Strips; 2],
        ahead: Option<*const u32>,
        sums: Sums<T>,
        [rows, cols]: [usize; 2],
        start: Start<T>,
    ) {
        // Not as arrays, which would pass through memory and wait until all sums before them are written.
        if rows == BLOCK && cols == BLOCK {
            return self.whole_block(steps, [left, right], ahead, sums, start);
        }
        self.part_of_block(steps, [left, right], sums, [rows, cols], start);
    }

    #[inline(never)]
    fn part_of_block<T: Sum>(
        &self,
        steps: usize,
        operands: [Strips; 2],
        sums: Sums<T>,
        size: [usize; 2],
        start: Start<T>,
    ) {
        let mut whole = [T::default(); BLOCK * BLOCK];
        let all = Sums { dst: &mut whole, stride: BLOCK };
        within(sums, all, size, start, |all| self.whole_block(steps, operands, None, all, Start::Sums));
    }

    #[inline(always)]
    fn whole_block<T: Sum>(
        &self,
        steps: usize,
        [left, right]: [Strips; 2],
        ahead: Option<*const u32>,
        sums: Sums<T>,
        start: Start<T>,
    ) {
        assert!(steps > 0 && self.rows == TILE);
        assert!(holds(sums.dst.len(), BLOCK, sums.stride, BLOCK));
        let first = sums.first(start, BLOCK);
        let dst = (sums.dst.as_mut_ptr(), sums.stride * WORD);
        assert!(left.stride == right.stride);
        assert!(left.strip(1, steps).len() == right.strip(1, steps).len(), "the second strips are there");
        // Spelt out, and inlined: as arrays they would pass through memory.
        let operands = [left.strip(0, steps).as_ptr(), right.strip(0, steps).as_ptr()];
        let strip = left.stride * WORD;
        // SAFETY: the tiles are configured; the assertions, and those of `Strips::strip`, are what it asks for.
        unsafe {
            match (ahead, start) {
                (Some(ahead), Start::Zeros) => {
                    T::add_block::<true, true>(steps, operands, strip, ahead, first, dst);
                }
                (Some(ahead), _) => T::add_block::<true, false>(steps, operands, strip, ahead, first, dst),
                (None, Start::Zeros) => {
                    T::add_block::<false, true>(steps, operands, strip, std::ptr::null(), first, dst);
                }
                (None, _) => {
                    T::add_block::<false, false>(steps, operands, strip, std::ptr::null(), first, dst);
                }
            }
        }
    }

    /// So many rows of up to 64 sums: what they start from, and the products of `steps` tiles of the inner dimension.
    ///
    /// # Shapes
    /// A strip of the left operand, four of the right; a bias has `cols` numbers.
    ///
    /// # Panics
    /// If an operand is too short.
    #[inline(always)]
    pub fn few(&self, steps: usize, [left, right]: [Strips; 2], sums: Sums<f32>, cols: usize, start: Start) {
        if cols == PANEL {
            return self.whole_few(steps, [left, right], sums, start);
        }
        let mut whole = [0.0; TILE * PANEL];
        let all = Sums { dst: &mut whole, stride: PANEL };
        within(sums, all, [self.rows, cols], start, |all| {
            self.whole_few(steps, [left, right], all, Start::Sums);
        });
    }

    #[inline(always)]
    fn whole_few(&self, steps: usize, [left, right]: [Strips; 2], sums: Sums<f32>, start: Start) {
        assert!(steps > 0 && holds(sums.dst.len(), self.rows, sums.stride, PANEL));
        let first = sums.first(start, PANEL);
        let dst = (sums.dst.as_mut_ptr(), sums.stride * WORD);
        let strip = |i: usize| right.strip(i, steps).as_ptr();
        let right = [strip(0), strip(1), strip(2), strip(3)];
        // SAFETY: the tiles are configured; the assertions, and those of `Strips::strip`, are what it asks for.
        unsafe { add_few(steps, left.strip(0, steps).as_ptr(), right, first, dst) }
    }
}

/// Lets `add` work on whole rows and columns, zeros where `sums` has no others.
fn within<T: Sum>(
    sums: Sums<T>,
    whole: Sums<T>,
    [rows, cols]: [usize; 2],
    start: Start<T>,
    add: impl FnOnce(Sums<T>),
) {
    let first = whole.dst.chunks_exact_mut(whole.stride).zip(sums.dst.chunks(sums.stride)).take(rows);
    match start {
        Start::Zeros => {}
        Start::Bias(bias) => first.for_each(|(whole, _)| whole[..cols].copy_from_slice(&bias[..cols])),
        Start::Sums => first.for_each(|(whole, row)| whole[..cols].copy_from_slice(&row[..cols])),
    }
    add(Sums { dst: &mut *whole.dst, stride: whole.stride });
    for (whole, row) in whole.dst.chunks_exact(whole.stride).zip(sums.dst.chunks_mut(sums.stride)).take(rows)
    {
        row[..cols].copy_from_slice(&whole[..cols]);
    }
}

/// Multiplies tiles in registers for some rounds; returns the floating-point operations made.
pub(crate) fn spin(cpu: Amx, rounds: u64) -> u64 {
    let tiles = Tiles::of_blocks(cpu);
    for _ in 0..rounds {
        // SAFETY: the tiles are configured; no memory is used.
        unsafe {
            asm!(
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                options(nomem, nostack, preserves_flags),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            );
        }
    }
    drop(tiles);
    rounds * 4 * (2 * TILE * TILE * 2 * TILE) as u64
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: the CPU has tiles; nothing is in them any more.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
        CONFIGURED.set(false);
    }
}
