//! Products at the shapes of the documented model, and what one core can do at most, at every level the CPU has:
//!
//!     cargo bench -p trm-kernels --bench kernels
//!
//! The column with `flop/s` or `B/s` counts two operations for each product of two numbers, or the bytes read.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use trm_kernels::{
    AlignedMemory, Fixed, Format, Left, Level, Right, Rounded, Start, at_level, level, math, multiply, peak,
    vectorize, vectorize_fused, weight_gradient,
};

#[global_allocator]
static MEMORY: AlignedMemory = AlignedMemory;

fn main() {
    divan::main();
}

/// Hidden dimension and the wide one of the documented model.
const D: usize = 512;
const WIDE: usize = 2048;
/// Rows of a shard when one puzzle is solved, at batch 64 and from batch 512 on.
const ROWS: [usize; 3] = [1, 32, 128];

fn cases() -> impl Iterator<Item = Case> {
    Level::available().flat_map(|level| ROWS.map(|rows| Case { level, rows }))
}

#[derive(Clone, Copy)]
struct Case {
    level: Level,
    rows: usize,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}, {} rows", self.level.name(), self.rows)
    }
}

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7919 % 1000) as f32 * 1e-3 - 0.5).collect()
}

/// Counts the operations of a product as items.
fn flops(rows: usize) -> ItemsCount {
    ItemsCount::new(2 * rows * D * WIDE)
}

/// W1: `[rows, 512]` by `[512, 2048]`.
fn forward(bencher: Bencher, case: &Case, format: Format) {
    let (a, mut dst) = (numbers(case.rows * D), numbers(case.rows * WIDE));
    let mut right = Right::new(format);
    right.pack([D, WIDE], &numbers(D * WIDE));
    let left = Left::Plain { rows: case.rows, values: &a };
    bencher.counter(flops(case.rows)).bench_local(|| {
        at_level(case.level, || multiply(left, (&right, 0..WIDE), &mut dst, Start::Zeros));
    });
}

#[divan::bench(args = cases())]
fn forward_f32(bencher: Bencher, case: &Case) {
    forward(bencher, case, Format::F32);
}

#[divan::bench(args = cases())]
fn forward_bf16(bencher: Bencher, case: &Case) {
    forward(bencher, case, Format::Bf16);
}

#[divan::bench(args = cases())]
fn forward_fixed12(bencher: Bencher, case: &Case) {
    forward(bencher, case, Format::Fixed(Fixed::Twelve));
}

#[divan::bench(args = cases())]
fn forward_fixed7(bencher: Bencher, case: &Case) {
    forward(bencher, case, Format::Fixed(Fixed::Seven));
}

/// The gradient of W1's weight: `[rows, 2048]` transposed by `[rows, 512]`, from rows that were rounded before.
fn gradient(bencher: Bencher, case: &Case, format: Format) {
    let (d_output, input) = (numbers(case.rows * WIDE), numbers(case.rows * D));
    let mut dst = numbers(WIDE * D);
    let plain = [&d_output, &input].map(|values| Left::Plain { rows: case.rows, values });
    let rounded = (format != Format::F32).then(|| {
        [(&d_output, WIDE), (&input, D)].map(|(v, width)| Rounded::of(format, [case.rows, width], v))
    });
    let pair = rounded.as_ref().map_or(plain, |rounded| rounded.each_ref().map(Left::Rounded)).into();
    bencher.counter(flops(case.rows)).bench_local(|| {
        at_level(case.level, || weight_gradient(format, &[pair], 0..WIDE, &mut dst));
    });
}

#[divan::bench(args = cases())]
fn weight_gradient_f32(bencher: Bencher, case: &Case) {
    gradient(bencher, case, Format::F32);
}

#[divan::bench(args = cases())]
fn weight_gradient_bf16(bencher: Bencher, case: &Case) {
    gradient(bencher, case, Format::Bf16);
}

#[divan::bench(args = cases())]
fn weight_gradient_fixed12(bencher: Bencher, case: &Case) {
    gradient(bencher, case, Format::Fixed(Fixed::Twelve));
}

#[divan::bench(args = cases())]
fn weight_gradient_fixed7(bencher: Bencher, case: &Case) {
    gradient(bencher, case, Format::Fixed(Fixed::Seven));
}

/// Packing W1 for both directions, once for each step.
#[divan::bench]
fn pack_both_ways(bencher: Bencher) {
    let weight = numbers(WIDE * D);
    let [mut forward, mut backward] = [Right::new(Format::Bf16), Right::new(Format::Bf16)];
    bencher.counter(BytesCount::of_slice(&weight)).bench_local(|| {
        forward.pack_transposed([D, WIDE], &weight);
        backward.pack([WIDE, D], &weight);
    });
}

/// The sums that row operations are made of.
#[divan::bench(args = Level::available().map(Level::name))]
fn dot_of_512(bencher: Bencher, name: &str) {
    let (a, b) = (numbers(D), numbers(D));
    bencher.counter(ItemsCount::new(2 * D)).bench_local(|| at_named(name, || math_dot(&a, &b)));
}

fn math_dot(a: &[f32], b: &[f32]) -> f32 {
    vectorize(
        #[inline(always)]
        || math::dot(a, b),
    )
}

/// GELU's integral and density, 2048 of them.
#[divan::bench(args = Level::available().map(Level::name))]
fn normal_of_2048(bencher: Bencher, name: &str) {
    let (x, mut out) = (numbers(WIDE), numbers(WIDE));
    bencher.counter(ItemsCount::new(WIDE)).bench_local(|| {
        at_named(name, || {
            vectorize_fused(
                #[inline(always)]
                |mul_add| {
                    for (x, out) in x.iter().zip(&mut out) {
                        let (integral, density) = math::normal(*x, mul_add);
                        *out = integral + x * density;
                    }
                },
            );
        });
    });
}

/// The most that one core multiplies and adds, from registers.
#[divan::bench(args = Level::available().map(Level::name))]
fn peak_f32(bencher: Bencher, name: &str) {
    let flops = at_named(name, || peak::spin_f32(1));
    bencher
        .counter(ItemsCount::new(100_000 * flops))
        .bench_local(|| at_named(name, || peak::spin_f32(100_000)));
}

#[divan::bench]
fn peak_bf16(bencher: Bencher) {
    let flops = peak::spin_bf16(1).unwrap_or(0);
    bencher.counter(ItemsCount::new(100_000 * flops)).bench_local(|| peak::spin_bf16(100_000));
}

/// Reading so many KiB again and again.
#[divan::bench(args = [16, 512, 8192, 262_144])]
fn read_kib(bencher: Bencher, kib: usize) {
    let values = vec![1; kib * 256];
    bencher.counter(BytesCount::of_slice(&values)).bench_local(|| peak::read(black_box(&values)));
}

fn at_named<R>(name: &str, body: impl FnOnce() -> R) -> R {
    at_level(Level::available().find(|level| level.name() == name).unwrap_or(level()), body)
}
