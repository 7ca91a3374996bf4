//! AMX in software, for tests on CPUs without it: the CPU refuses a tile instruction with SIGILL, the handler does what it
//! would have done and goes on behind it.
//!
//! # Source
//! Intel SDM volume 2: LDTILECFG, TILERELEASE, TILEZERO, TILELOADD, TILELOADDT1, TILESTORED, TDPBF16PS, TDPBSUD; encoding by VEX.

use half::bf16;
use std::cell::UnsafeCell;
use std::sync::Once;

const ROWS: usize = 16;
const ROW_BYTES: usize = 64;

/// A sum, or what is multiplied at once: two bfloat16 numbers, four bytes.
type Word = [u8; 4];

/// The tiles of a thread and their shapes: rows and bytes of a row.
struct Tiles {
    data: [[[u8; ROW_BYTES]; ROWS]; 8],
    shapes: [(usize, usize); 8],
}

thread_local! {
    static TILES: UnsafeCell<Tiles> = const {
        UnsafeCell::new(Tiles { data: [[[0; ROW_BYTES]; ROWS]; 8], shapes: [(0, 0); 8] })
    };
}

/// From now on tile instructions work in this process.
pub(crate) fn install() -> bool {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: `action` is a whole sigaction with a handler of the signature that SA_SIGINFO asks for.
        let installed = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = handle;
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGILL, &action, std::ptr::null_mut())
        };
        assert_eq!(installed, 0, "a handler for SIGILL");
    });
    true
}

extern "C" fn handle(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the third argument is the interrupted thread's ucontext.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let at = registers[libc::REG_RIP as usize] as *const u8;
    // SAFETY: the instruction that was refused lies there; no tile instruction is longer than 10 bytes, and code is followed
    // by more code.
    let code = unsafe { std::slice::from_raw_parts(at, 10) };
    match decode(code, registers) {
        Some((instruction, length)) => {
            // SAFETY: the thread is inside one instruction, so nothing else has its tiles borrowed.
            TILES.with(|tiles| run(instruction, unsafe { &mut *tiles.get() }));
            registers[libc::REG_RIP as usize] += length as i64;
        }
        // Not ours: without a handler the instruction ends the process as it should.
        // SAFETY: resets the signal's handler, nothing more.
        None => unsafe {
            libc::signal(libc::SIGILL, libc::SIG_DFL);
        },
    }
}

#[derive(Debug, PartialEq)]
enum Instruction {
    Configure {
        at: usize,
    },
    Release,
    Zero {
        tile: usize,
    },
    Load {
        tile: usize,
        at: usize,
        stride: usize,
    },
    Store {
        tile: usize,
        at: usize,
        stride: usize,
    },
    /// TDPBF16PS
    MultiplyPairs {
        sums: usize,
        left: usize,
        right: usize,
    },
    /// TDPBSUD: signed by unsigned bytes
    MultiplyBytes {
        sums: usize,
        left: usize,
        right: usize,
    },
}

/// The instruction and its length in bytes.
fn decode(code: &[u8], registers: &[libc::greg_t; 23]) -> Option<(Instruction, usize)> {
    let [0xc4, first, second, opcode, modrm, ..] = *code else { return None };
    let (map, prefix) = (first & 31, second & 3);
    // VEX.128, W0, map 0F38.
    if map != 2 || second & 0b1000_0100 != 0 {
        return None;
    }
    // R, X and B are stored inverted.
    let [r, x, b] = [7, 6, 5].map(|bit| usize::from(first >> bit & 1 ^ 1) << 3);
    let vvvv = usize::from(!(second >> 3) & 15);
    let (mode, reg, rm) = (modrm >> 6, usize::from(modrm >> 3 & 7) | r, usize::from(modrm & 7));
    if mode == 3 {
        let instruction = match (opcode, prefix) {
            (0x49, 0) => Instruction::Release,
            (0x49, 3) => Instruction::Zero { tile: reg },
            (0x5c, 2) => Instruction::MultiplyPairs { sums: reg, left: rm | b, right: vvvv },
            (0x5e, 2) => Instruction::MultiplyBytes { sums: reg, left: rm | b, right: vvvv },
            _ => return None,
        };
        return Some((instruction, 5));
    }
    let mut length = 5;
    let (base, stride) = if rm == 4 {
        let sib = code[5];
        length += 1;
        let index = usize::from(sib >> 3 & 7) | x;
        let stride = if index == 4 { 0 } else { register(registers, index) << (sib >> 6) };
        (usize::from(sib & 7) | b, stride)
    } else {
        (rm | b, 0)
    };
    let displacement = match mode {
        0 if base & 7 == 5 => return None,
        0 => 0,
        1 => code[length] as i8 as isize,
        _ => i32::from_le_bytes(code[length..length + 4].try_into().ok()?) as isize,
    };
    length += [0, 1, 4][usize::from(mode)];
    let at = register(registers, base).wrapping_add_signed(displacement);
    let instruction = match (opcode, prefix) {
        (0x49, 0) => Instruction::Configure { at: at.wrapping_add(stride) },
        // TILELOADD, and TILELOADDT1, which differs by a hint.
        (0x4b, 3 | 1) => Instruction::Load { tile: reg, at, stride },
        (0x4b, 2) => Instruction::Store { tile: reg, at, stride },
        _ => return None,
    };
    Some((instruction, length))
}

fn register(registers: &[libc::greg_t; 23], number: usize) -> usize {
    use libc::*;
    let names = [
        REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10,
        REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    ];
    registers[names[number] as usize] as usize
}

fn run(instruction: Instruction, tiles: &mut Tiles) {
    match instruction {
        Instruction::Configure { at } => {
            // SAFETY: LDTILECFG's operand is 64 bytes that may be read.
            let bytes = unsafe { std::slice::from_raw_parts(at as *const u8, 64) };
            assert_eq!(bytes[0], 1, "palette 1");
            for (i, shape) in tiles.shapes.iter_mut().enumerate() {
                let row_bytes = u16::from_le_bytes([bytes[16 + 2 * i], bytes[17 + 2 * i]]);
                *shape = (usize::from(bytes[48 + i]), usize::from(row_bytes));
                assert!(shape.0 <= ROWS && shape.1 <= ROW_BYTES, "a tile has at most 16 rows of 64 bytes");
            }
        }
        Instruction::Release => tiles.shapes = [(0, 0); 8],
        Instruction::Zero { tile } => tiles.data[tile] = [[0; ROW_BYTES]; ROWS],
        Instruction::Load { tile, at, stride } => {
            let (rows, bytes) = tiles.shape(tile);
            tiles.data[tile] = [[0; ROW_BYTES]; ROWS];
            for (r, row) in tiles.data[tile].iter_mut().take(rows).enumerate() {
                let at = at.wrapping_add(r * stride) as *const u8;
                // SAFETY: TILELOADD reads so many bytes at this address.
                row[..bytes].copy_from_slice(unsafe { std::slice::from_raw_parts(at, bytes) });
            }
        }
        Instruction::Store { tile, at, stride } => {
            let (rows, bytes) = tiles.shape(tile);
            for (r, row) in tiles.data[tile].iter().take(rows).enumerate() {
                let at = at.wrapping_add(r * stride) as *mut u8;
                // SAFETY: TILESTORED writes so many bytes at this address.
                unsafe { std::slice::from_raw_parts_mut(at, bytes) }.copy_from_slice(&row[..bytes]);
            }
        }
        Instruction::MultiplyPairs { sums, left, right } => tiles.multiply(sums, left, right, pairs),
        Instruction::MultiplyBytes { sums, left, right } => tiles.multiply(sums, left, right, bytes),
    }
}

impl Tiles {
    fn shape(&self, tile: usize) -> (usize, usize) {
        let shape = self.shapes[tile];
        assert!(shape.0 > 0 && shape.1 > 0, "tile {tile} is configured");
        shape
    }

    /// Adds to each sum what `products` makes of it, a row of words of the left tile and a column of words of the right.
    fn multiply(
        &mut self,
        sums: usize,
        left: usize,
        right: usize,
        products: fn(Word, &[(Word, Word)]) -> Word,
    ) {
        assert!(sums != left && sums != right && left != right, "three different tiles");
        let ((rows, row_bytes), (_, inner_bytes)) = (self.shape(sums), self.shape(left));
        assert_eq!(
            (self.shape(left).0, self.shape(right)),
            (rows, (inner_bytes / 4, row_bytes)),
            "shapes fit"
        );
        let word = |data: &Self, tile: usize, row: usize, column: usize| {
            *data.data[tile][row][4 * column..].first_chunk().expect("four bytes")
        };
        for m in 0..rows {
            for n in 0..row_bytes / 4 {
                let words: [_; ROWS] = std::array::from_fn(|k| {
                    if k < inner_bytes / 4 {
                        (word(self, left, m, k), word(self, right, k, n))
                    } else {
                        Default::default()
                    }
                });
                let sum = products(word(self, sums, m, n), &words);
                self.data[sums][m][4 * n..4 * n + 4].copy_from_slice(&sum);
            }
        }
    }
}

/// Even and odd products of a row are summed apart, then both sums added.
fn pairs(sum: Word, words: &[(Word, Word)]) -> Word {
    let mut halves = [0.0f32; 2];
    for (a, b) in words {
        for (half, sum) in halves.iter_mut().enumerate() {
            let value = |word: &Word| bf16::from_le_bytes([word[2 * half], word[2 * half + 1]]).to_f32();
            *sum = value(a).mul_add(value(b), *sum);
        }
    }
    (f32::from_le_bytes(sum) + (halves[0] + halves[1])).to_le_bytes()
}

fn bytes(sum: Word, words: &[(Word, Word)]) -> Word {
    let products = words.iter().flat_map(|(a, b)| a.iter().zip(b));
    let products = products.map(|(a, b)| i32::from(a.cast_signed()) * i32::from(*b));
    (i32::from_le_bytes(sum) + products.sum::<i32>()).to_le_bytes()
}
