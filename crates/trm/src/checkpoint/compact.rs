//! Tensors of a `.safetensors` file in as few bytes as they need.
//!
//! | weights | tensor `NAME` | beside it |
//! |---|---|---|
//! | f32 | F32 | |
//! | 8 bits | I8 | `NAME.scale`: F32 `[out]` |
//! | 4 bits | U8, `q + 8` in half a byte, the first in the low half | `NAME.scale`: BF16 `[out, groups]` |
//! | many zeros | what is not zero, in order | `NAME.mask`: U8, a bit for each weight, the first in bit 0 |
//!
//! A mask takes four bits for four weights. So does telling which two of four were kept, by two bits each; so 2:4 sparsity needs
//! no form of its own.

use super::ReadError;
use crate::tensor::Tensor;
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

const MASK: &str = ".mask";

/// A tensor to be written.
pub enum Stored<'a> {
    /// The tensor itself.
    F32(&'a Tensor),
    /// Bytes in one of the format's types.
    Bytes {
        /// The format's name for the type.
        dtype: &'static str,
        /// Shape of the numbers in `bytes`.
        shape: Vec<usize>,
        /// Little-endian.
        bytes: Vec<u8>,
    },
}

/// Tensors by name.
pub type Entries<'a> = Vec<(String, Stored<'a>)>;

/// Numbers of a matrix in a file.
#[derive(Debug, PartialEq)]
pub enum Numbers {
    /// Of whichever floating-point type.
    Float(Vec<f32>),
    /// From -127 to 127.
    Eight(Vec<i8>),
    /// From -7 to 7.
    Four(Vec<i8>),
}

/// Adds a tensor; a matrix with enough zeros as mask and values.
pub fn store_f32<'a>(name: String, tensor: &'a Tensor, entries: &mut Entries<'a>) {
    let kept = tensor.data.iter().filter(|v| v.to_bits() != 0).count();
    if tensor.shape.len() != 2 || !mask_pays(tensor.data.len(), kept, 32) {
        return entries.push((name, Stored::F32(tensor)));
    }
    let mask = mask(tensor.data.iter().map(|v| v.to_bits() != 0));
    let bytes = tensor.data.iter().filter(|v| v.to_bits() != 0).flat_map(|v| v.to_le_bytes()).collect();
    entries.push((format!("{name}{MASK}"), bytes_u8(mask)));
    entries.push((name, Stored::Bytes { dtype: "F32", shape: vec![kept], bytes }));
}

/// Adds a matrix of 8-bit numbers; with enough zeros as mask and values.
pub fn store_eight(name: String, shape: [usize; 2], values: &[i8], entries: &mut Entries) {
    let bytes = |values: &[i8]| values.iter().map(|q| q.cast_unsigned()).collect();
    let kept: Vec<i8> = values.iter().copied().filter(|q| *q != 0).collect();
    let stored = if mask_pays(values.len(), kept.len(), 8) {
        entries.push((format!("{name}{MASK}"), bytes_u8(mask(values.iter().map(|q| *q != 0)))));
        Stored::Bytes { dtype: "I8", shape: vec![kept.len()], bytes: bytes(&kept) }
    } else {
        Stored::Bytes { dtype: "I8", shape: shape.to_vec(), bytes: bytes(values) }
    };
    entries.push((name, stored));
}

/// Adds a matrix of 4-bit numbers, two in a byte; with enough zeros as mask and values.
pub fn store_four(name: String, values: &[i8], entries: &mut Entries) {
    let half = |q: &i8| (q + 8).cast_unsigned() & 0xf;
    let halves = |values: &[i8]| {
        values.chunks(2).map(|two| half(&two[0]) | two.get(1).map_or(0, half) << 4).collect::<Vec<u8>>()
    };
    let kept: Vec<i8> = values.iter().copied().filter(|q| *q != 0).collect();
    let bytes = if mask_pays(values.len(), kept.len(), 4) {
        entries.push((format!("{name}{MASK}"), bytes_u8(mask(values.iter().map(|q| *q != 0)))));
        halves(&kept)
    } else {
        halves(values)
    };
    entries.push((name, bytes_u8(bytes)));
}

fn bytes_u8(bytes: Vec<u8>) -> Stored<'static> {
    Stored::Bytes { dtype: "U8", shape: vec![bytes.len()], bytes }
}

fn mask_pays(numbers: usize, kept: usize, bits: usize) -> bool {
    numbers + kept * bits < numbers * bits
}

fn mask(kept: impl Iterator<Item = bool>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (i, kept) in kept.enumerate() {
        if i % 8 == 0 {
            bytes.push(0);
        }
        if let Some(byte) = bytes.last_mut() {
            *byte |= u8::from(kept) << (i % 8);
        }
    }
    bytes
}

/// The name of the tensor that the mask called `name` belongs to; nothing if `name` is not the name of a mask.
pub fn masked_name(name: &str) -> Option<&str> {
    name.strip_suffix(MASK)
}

/// Reads a tensor that should have this shape: as it is, or spread out by its mask.
pub fn numbers(file: &SafeTensors, name: &str, shape: &[usize]) -> Result<Numbers, ReadError> {
    let fail = |what: String| ReadError::Format(format!("tensor {name}: {what}"));
    let view = file.tensor(name).map_err(|e| fail(e.to_string()))?;
    let mask = file.tensor(&format!("{name}{MASK}")).ok();
    let len = shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size));
    let len = len.ok_or_else(|| fail(format!("its shape {shape:?} is beyond reason")))?;
    let kept = match &mask {
        None => len,
        Some(mask) => count_kept(mask.dtype(), mask.data(), len).map_err(fail)?,
    };
    let (stored, bits) = match view.dtype() {
        Dtype::U8 => (kept.div_ceil(2), 8),
        dtype => (kept, dtype.bitsize()),
    };
    if Some(view.data().len()) != stored.checked_mul(bits).map(|bits| bits / 8) {
        return Err(fail(format!("{} bytes do not hold {kept} numbers of {bits} bits", view.data().len())));
    }
    let mask = mask.as_ref().map(|mask| mask.data());
    match view.dtype() {
        Dtype::I8 => {
            let values: Vec<i8> = view.data().iter().map(|byte| byte.cast_signed()).collect();
            if values.contains(&-128) {
                return Err(fail("-128 is no weight of 8 bits".into()));
            }
            Ok(Numbers::Eight(spread(values, mask, len)))
        }
        Dtype::U8 => {
            let halves = view.data().iter().flat_map(|byte| [byte & 0xf, byte >> 4]).take(kept);
            let values: Vec<i8> = halves.map(|half| half.cast_signed() - 8).collect();
            if values.contains(&-8) {
                return Err(fail("-8 is no weight of 4 bits".into()));
            }
            Ok(Numbers::Four(spread(values, mask, len)))
        }
        dtype => Ok(Numbers::Float(spread(floats(dtype, view.data()).map_err(fail)?, mask, len))),
    }
}

/// Numbers that a mask keeps, if it is one of `len` numbers.
fn count_kept(dtype: Dtype, mask: &[u8], len: usize) -> Result<usize, String> {
    let beyond = |last: &u8| !len.is_multiple_of(8) && last >> (len % 8) != 0;
    if dtype != Dtype::U8 || mask.len() != len.div_ceil(8) || mask.last().is_some_and(beyond) {
        return Err(format!("its mask is none of {len} numbers"));
    }
    Ok(mask.iter().map(|byte| byte.count_ones() as usize).sum())
}

/// `len` numbers, those that the mask leaves out zero; the mask keeps as many as there are values.
fn spread<T: Copy + Default>(values: Vec<T>, mask: Option<&[u8]>, len: usize) -> Vec<T> {
    let Some(mask) = mask else { return values };
    let mut values = values.into_iter();
    let kept = |i: usize| mask[i / 8] >> (i % 8) & 1 == 1;
    (0..len).map(|i| if kept(i) { values.next().unwrap_or_default() } else { T::default() }).collect()
}

/// Numbers of a floating-point type as f32.
pub fn floats(dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>, String> {
    fn all<const N: usize>(bytes: &[u8], one: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|b| one(*b)).collect()
    }
    Ok(match dtype {
        Dtype::F32 => all(bytes, f32::from_le_bytes),
        Dtype::F64 => all(bytes, |b| f64::from_le_bytes(b) as f32),
        Dtype::F16 => all(bytes, |b| f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => all(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        other => return Err(format!("its type {other:?} is not supported")),
    })
}
