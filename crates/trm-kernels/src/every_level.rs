//! One suite for every instruction set that the CPU has: products of all ragged sizes against plain loops in f64.

use crate::reference::{assert_close, cut, matmul as exact_matmul, numbers, transpose};
use crate::{
    Format, Left, Level, Overwrite, PANEL, Right, Rounded, Start, at_level, math, matmul,
    matmul_lhs_transposed, multiply, multiply_in_parts, vectorize, vectorize_fused, weight_gradient,
};
use half::bf16;
use std::ops::Range;

/// Rows, inner dimension and columns take these in every combination: none, one, and around what the kernels compute at
/// once, 6 rows by 16 or 64 columns, pairs of the inner dimension; primes are whole multiples of nothing.
const SIZES: [usize; 11] = [0, 1, 2, 5, 6, 7, 15, 17, 63, 64, 131];

/// Whole blocks and panels, and more of the inner dimension than the kernels take in one pass.
const LONG: [[usize; 3]; 3] = [[32, 512, 64], [33, 545, 97], [17, 1100, 33]];

/// A product with operands, and a destination before it.
struct Case {
    shape: [usize; 3],
    a: Vec<f32>,
    b: Vec<f32>,
    before: Vec<f32>,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        let shapes = SIZES.iter().flat_map(|rows| SIZES.iter().map(move |inner| (*rows, *inner)));
        let shapes = shapes.flat_map(|(rows, inner)| SIZES.iter().map(move |cols| [rows, inner, *cols]));
        let shapes = shapes.chain(LONG);
        shapes.map(|shape @ [rows, inner, cols]| Self {
            shape,
            a: numbers(rows * inner, 1),
            b: numbers(inner * cols, 2),
            before: numbers(rows * cols, 3),
        })
    }

    fn rounded(mut self) -> Self {
        for value in self.a.iter_mut().chain(&mut self.b) {
            *value = bf16::from_f32(*value).to_f32();
        }
        self
    }

    /// Compares `product` with the plain loops at every level, overwriting and adding.
    fn check(&self, what: &str, product: impl Fn(&mut [f32], Overwrite)) {
        let [rows, inner, cols] = self.shape;
        let want = exact_matmul(rows, inner, cols, &self.a, &self.b);
        let sum: Vec<f64> = want.iter().zip(&self.before).map(|(w, d)| w + f64::from(*d)).collect();
        for level in Level::available() {
            for (overwrite, want) in [(Overwrite::Yes, &want), (Overwrite::No, &sum)] {
                let mut dst = self.before.clone();
                at_level(level, || product(&mut dst, overwrite));
                assert_close(&dst, want, &format!("{what} {:?} at {}", self.shape, level.name()));
            }
        }
    }
}

impl Case {
    /// Compares bfloat16 products that start from a bias, whole and in parts, with the plain loops at every level.
    fn check_bias(&self, right: &Right) {
        let [rows, inner, cols] = self.shape;
        let bias = numbers(cols, 4);
        let mut want = exact_matmul(rows, inner, cols, &self.a, &self.b);
        for row in want.chunks_mut(cols.max(1)) {
            row.iter_mut().zip(&bias).for_each(|(value, bias)| *value += f64::from(*bias));
        }
        let rounded = Rounded::of(Format::Bf16, [rows, inner], &self.a);
        let left = Left::Rounded(&rounded);
        let mut buffer = vec![0.0; (rows * 64).max(64)];
        for level in Level::available() {
            let (mut whole, mut parts) = (self.before.clone(), vec![f32::NAN; rows * cols]);
            at_level(level, || {
                multiply(left, (right, 0..cols), &mut whole, Start::Bias(&bias));
                multiply_in_parts(left, right, Start::Bias(&bias), &mut buffer, |part, values| {
                    for (r, values) in part.rows.zip(values.chunks(part.columns.len())) {
                        parts[r * cols..][part.columns.clone()].copy_from_slice(values);
                    }
                });
            });
            let what = format!("bias and bfloat16 a b {:?} at {}", self.shape, level.name());
            assert_close(&whole, &want, &what);
            assert!(whole == parts, "{what}, in parts");
        }
    }
}

#[test]
fn f32_products_agree_with_plain_loops() {
    for case in Case::all() {
        let Case { shape: shape @ [rows, inner, cols], ref a, ref b, .. } = case;
        case.check("a b", |dst, overwrite| matmul(shape, a, b, dst, overwrite));
        let a_t = transpose(rows, inner, a);
        case.check("a^T b", |dst, overwrite| {
            matmul_lhs_transposed(shape, &a_t, [rows, 0], b, dst, overwrite);
        });
        let (left, right) = (Left::Plain { rows, values: a }, packed(Format::F32, [inner, cols], b));
        case.check("a b in panels", |dst, overwrite| {
            multiply(left, (&right, 0..cols), dst, overwrite.into())
        });
        case.check("columns of a b", |dst, overwrite| {
            by_columns(dst, cols, |columns, block| {
                multiply(left, (&right, columns), block, overwrite.into())
            });
        });
    }
}

fn packed(format: Format, shape: [usize; 2], matrix: &[f32]) -> Right {
    let mut right = Right::new(format);
    right.pack(shape, matrix);
    right
}

/// Lets `product` compute 64 columns at a time.
fn by_columns(dst: &mut [f32], cols: usize, product: impl Fn(Range<usize>, &mut [f32])) {
    for first in (0..cols).step_by(64) {
        let columns = first..(first + 64).min(cols);
        let part = |row: &[f32]| row[columns.clone()].to_vec();
        let mut block: Vec<f32> = dst.chunks(cols).flat_map(part).collect();
        product(columns.clone(), &mut block);
        for (row, block) in dst.chunks_mut(cols).zip(block.chunks(columns.len())) {
            row[columns.clone()].copy_from_slice(block);
        }
    }
}

#[test]
fn bfloat16_products_agree_with_plain_loops() {
    for case in Case::all().map(Case::rounded) {
        let Case { shape: [rows, inner, cols], ref a, ref b, .. } = case;
        let (left, right) = (Left::Plain { rows, values: a }, packed(Format::Bf16, [inner, cols], b));
        case.check("bfloat16 a b", |dst, overwrite| {
            multiply(left, (&right, 0..cols), dst, overwrite.into());
        });
        case.check("columns of bfloat16 a b", |dst, overwrite| {
            let rounded = Rounded::of(Format::Bf16, [rows, inner], a);
            by_columns(dst, cols, |columns, block| {
                multiply(Left::Rounded(&rounded), (&right, columns), block, overwrite.into())
            });
        });
        case.check_bias(&right);
        if rows == 1 {
            case.check("a bfloat16 row in parts", |dst, overwrite| {
                for (i, dst) in dst.chunks_mut(PANEL).enumerate() {
                    let columns = PANEL * i..PANEL * i + dst.len();
                    multiply(left, (&right, columns), dst, overwrite.into());
                }
            });
        }
    }
}

#[test]
fn bfloat16_weight_gradients_agree_with_plain_loops() {
    // Some shards of different numbers of rows, and outputs from the second tile on.
    const FIRST: usize = 32;
    for shards in [&[1, 40][..], &[64], &[300, 33, 500]] {
        for [outputs, inputs] in [[1, 1], [33, 70], [64, 64], [70, 17]] {
            let rows: usize = shards.iter().sum();
            let rounded = |len, seed| -> Vec<f32> {
                numbers(len, seed).iter().map(|v| bf16::from_f32(*v).to_f32()).collect()
            };
            let (d, x) = (rounded(rows * (FIRST + outputs), 1), rounded(rows * inputs, 2));
            let before = numbers(outputs * inputs, 3);
            let d_t = transpose(rows, FIRST + outputs, &d);
            let want = exact_matmul(outputs, rows, inputs, &d_t[FIRST * rows..], &x);
            let want: Vec<f64> = want.iter().zip(&before).map(|(w, b)| w + f64::from(*b)).collect();
            for level in Level::available() {
                let mut dst = [before.clone(), before.clone()];
                at_level(level, || {
                    let pack = |values: &[f32], width: usize| -> Vec<Rounded> {
                        let shards = cut(values, width, shards);
                        shards.map(|(rows, v)| Rounded::of(Format::Bf16, [rows, width], v)).collect()
                    };
                    let (d, x) = (pack(&d, FIRST + outputs), pack(&x, inputs));
                    let pairs: Vec<_> =
                        d.iter().map(Left::Rounded).zip(x.iter().map(Left::Rounded)).collect();
                    let outputs = FIRST..FIRST + outputs;
                    weight_gradient(Format::Bf16, &pairs, outputs.clone(), &mut dst[0]);
                    for pair in &pairs {
                        weight_gradient(Format::Bf16, &[*pair], outputs.clone(), &mut dst[1]);
                    }
                });
                let what = format!("{shards:?}, [{outputs}, {inputs}] at {}", level.name());
                assert_close(&dst[0], &want, &what);
                assert!(dst[0] == dst[1], "one call and many, {what}");
            }
        }
    }
}

#[test]
fn a_block_of_columns_gives_that_block_of_the_product() {
    let (a_cols, inner, cols) = (37, 19, 23);
    let (a, b) = (numbers(inner * a_cols, 4), numbers(inner * cols, 5));
    let want = exact_matmul(a_cols, inner, cols, &transpose(inner, a_cols, &a), &b);
    let (first, rows) = (11, 17);
    for level in Level::available() {
        let mut dst = vec![0.0; rows * cols];
        at_level(level, || {
            matmul_lhs_transposed([rows, inner, cols], &a, [a_cols, first], &b, &mut dst, Overwrite::Yes);
        });
        assert_close(&dst, &want[first * cols..(first + rows) * cols], level.name());
    }
}

/// Sizes beside which sums take another path: sixteen numbers are summed side by side.
const ROW_SIZES: [usize; 9] = [0, 1, 2, 15, 16, 17, 31, 61, 515];

#[test]
fn sums_have_the_same_bits_at_every_level() {
    for size in ROW_SIZES {
        let (a, b) = (numbers(size, 6), numbers(size, 7));
        let run = |level: Level| {
            let mut values: Vec<f32> = Vec::new();
            at_level(level, || {
                vectorize(
                    #[inline(always)]
                    || {
                        values.extend([math::sum(&a), math::dot(&a, &b)]);
                    },
                );
            });
            values
        };
        let portable = run(Level::Portable);
        let exact: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        assert!((f64::from(portable[1]) - exact).abs() < 1e-4, "dot of {size}");
        for level in Level::available() {
            assert!(run(level) == portable, "{size} numbers at {}", level.name());
        }
    }
}

#[test]
fn elementary_functions_have_the_same_bits_at_every_level_that_fuses() {
    for size in ROW_SIZES {
        let a = numbers(size, 6);
        let run = |level: Level| {
            let mut values: Vec<f32> = Vec::new();
            at_level(level, || {
                vectorize_fused(
                    #[inline(always)]
                    |mul_add| {
                        values.extend(a.iter().map(|x| math::exp_nonpositive(20.0 * x - 20.0, mul_add)));
                        values
                            .extend(a.iter().flat_map(|x| <[f32; 2]>::from(math::normal(5.0 * x, mul_add))));
                    },
                );
            });
            values
        };
        let portable = run(Level::Portable);
        let fused: Vec<_> = Level::available().filter(|level| *level > Level::Portable).map(run).collect();
        for values in &fused {
            assert!(values == &fused[0], "{size} numbers");
            assert!(values.iter().zip(&portable).all(|(v, p)| (v - p).abs() < 3e-7), "{size} numbers");
        }
    }
}

#[test]
fn bfloat16_products_without_a_native_instruction_have_the_same_bits() {
    let (rows, inner, cols) = (7, 150, 70);
    let (a, b) = (numbers(rows * inner, 1), numbers(inner * cols, 2));
    let (left, right) = (Left::Plain { rows, values: &a }, packed(Format::Bf16, [inner, cols], &b));
    let run = |level: Level| {
        let mut dst = vec![0.0; rows * cols];
        at_level(level, || multiply(left, (&right, 0..cols), &mut dst, Start::Zeros));
        dst
    };
    for level in Level::available().filter(|level| *level < Level::Avx512Bf16) {
        assert!(run(level) == run(Level::Portable), "{}", level.name());
    }
}
