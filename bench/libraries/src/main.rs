//! bfloat16 products by three libraries, one thread, side by side: W1 and W2 of the documented model's five blocks one after the
//! other, so that weights come from where they lie in a recursion. Operands are laid out beforehand as each library wants them.

use half::bf16;
use std::hint::black_box;
use std::time::Instant;
use tract_data::internal::Tensor;
use tract_linalg::mmm::{AsInputValue, FusedSpec, MMMInputValue, MatMatMul, ScratchSpace};
use trm_kernels::{Level, PackedRows, Panels, Start, level, matmul_packed};

#[global_allocator]
static MEMORY: trm_kernels::AlignedMemory = trm_kernels::AlignedMemory;

/// `[inner, cols]` of W1 and W2.
const SHAPES: [[usize; 2]; 2] = [[512, 2048], [2048, 512]];
const BLOCKS: usize = 5;
const ROWS: [usize; 4] = [1, 32, 64, 256];
const REPEATS: usize = 9;
/// Passes over all blocks that are timed together.
const PASSES: usize = 10;

/// Products of some rows by the weights of each block.
trait Library {
    fn name(&self) -> &'static str;
    /// Lays out the left operands, `[rows, inner]` of each shape.
    fn left(&mut self, rows: usize, left: &[Vec<f32>; 2]);
    fn product(&mut self, block: usize, shape: usize);
    /// Of the last product with a shape, `[rows, cols]`.
    fn output(&self, shape: usize) -> &[f32];
}

/// Of each block, `[inner, cols]` of each shape.
type Weights = [[Vec<f32>; 2]];

struct Trm {
    weights: Vec<[Panels; 2]>,
    left: [PackedRows; 2],
    output: [Vec<f32>; 2],
}

impl Trm {
    fn new(weights: &Weights) -> Self {
        assert_eq!(level(), Level::Amx, "an AMX machine");
        let panels = |w: &[Vec<f32>; 2]| {
            std::array::from_fn(|s| {
                let mut panels = Panels::default();
                panels.pack(SHAPES[s], &w[s]);
                panels
            })
        };
        let weights = weights.iter().map(panels).collect();
        Self { weights, left: Default::default(), output: Default::default() }
    }
}

impl Library for Trm {
    fn name(&self) -> &'static str {
        "trm-kernels"
    }

    fn left(&mut self, rows: usize, left: &[Vec<f32>; 2]) {
        for (s, [inner, cols]) in SHAPES.into_iter().enumerate() {
            self.left[s].pack([rows, inner], &left[s]);
            self.output[s] = vec![f32::NAN; rows * cols];
        }
    }

    fn product(&mut self, block: usize, shape: usize) {
        let weight = &self.weights[block][shape];
        matmul_packed(&self.left[shape], (weight, 0..weight.cols()), &mut self.output[shape], Start::Zeros);
    }

    fn output(&self, shape: usize) -> &[f32] {
        &self.output[shape]
    }
}

/// tract's kernel for AMX, which its own choice leaves out unless asked for.
struct Tract {
    kernel: Box<dyn MatMatMul>,
    scratch: Box<dyn ScratchSpace>,
    weights: Vec<[Box<dyn MMMInputValue>; 2]>,
    left: Vec<Box<dyn MMMInputValue>>,
    rows: usize,
    output: Vec<Tensor>,
}

/// Which of the kernel's packings takes bfloat16.
const PACKING: usize = 1;

impl Tract {
    fn new(weights: &Weights) -> Self {
        assert!(tract_linalg::x86_64::amx_bf16::has_amx_bf16());
        let kernel = tract_linalg::mmm_routines::declared()
            .map(|routine| (routine.make)())
            .find(|kernel| kernel.name() == "avx512amx_mmm_f32_16x16")
            .expect("tract has this kernel");
        let (_, right) = &kernel.packings()[PACKING];
        let pack = |w: &[Vec<f32>; 2]| {
            std::array::from_fn(|s| {
                let weight = Tensor::from_shape(&SHAPES[s], &w[s]).expect("[inner, cols]");
                right.prepare_one(&weight, 0, 1).expect("it packs")
            })
        };
        let weights = weights.iter().map(pack).collect();
        // SAFETY: it is used with this kernel only.
        let scratch = unsafe { kernel.allocate_scratch_space() };
        Self { kernel, scratch, weights, left: vec![], rows: 0, output: vec![] }
    }
}

impl Library for Tract {
    fn name(&self) -> &'static str {
        "tract-linalg"
    }

    fn left(&mut self, rows: usize, left: &[Vec<f32>; 2]) {
        let (packing, _) = &self.kernel.packings()[PACKING];
        let shapes = SHAPES.iter().zip(left);
        self.left = shapes
            .clone()
            .map(|([inner, _], left)| {
                let left = Tensor::from_shape(&[rows, *inner], left).expect("[rows, inner]");
                packing.prepare_one(&left, 1, 0).expect("it packs")
            })
            .collect();
        let nan = |cols: usize| Tensor::from_shape(&[rows, cols], &vec![f32::NAN; rows * cols]);
        self.output = SHAPES.iter().map(|[_, cols]| nan(*cols).expect("[rows, cols]")).collect();
        self.rows = rows;
    }

    fn product(&mut self, block: usize, shape: usize) {
        let cols = SHAPES[shape][1];
        let a = AsInputValue::Borrowed(&*self.left[shape]);
        let b = AsInputValue::Borrowed(&*self.weights[block][shape]);
        // SAFETY: the output is [rows, cols] of f32, row by row, and operands are packed for this kernel.
        unsafe {
            let output = self.kernel.c_from_data_and_strides(size_of::<f32>(), cols as isize, 1);
            let store = FusedSpec::Store(output.wrap(&self.output[shape].view()));
            let specs = [FusedSpec::AddMatMul { a, b, packing: PACKING }, store];
            self.kernel.run_with_scratch_space(self.rows, cols, &mut *self.scratch, &specs).expect("it runs");
        }
    }

    fn output(&self, shape: usize) -> &[f32] {
        let output = &self.output[shape];
        // SAFETY: it is a plain tensor of so many f32.
        unsafe { std::slice::from_raw_parts(output.as_ptr_unchecked(), output.len()) }
    }
}

struct NumKong {
    weights: Vec<[numkong::PackedMatrix<numkong::bf16>; 2]>,
    left: Vec<numkong::Tensor<numkong::bf16>>,
    output: Vec<numkong::Tensor<f32>>,
}

fn numkong_tensor(shape: &[usize], values: &[f32]) -> numkong::Tensor<numkong::bf16> {
    let mut rounded = vec![numkong::bf16::ZERO; values.len()];
    numkong::cast(values, &mut rounded).expect("it rounds");
    numkong::Tensor::from_slice(&rounded, shape)
}

impl NumKong {
    fn new(weights: &Weights) -> Self {
        assert!(numkong::configure_thread() && numkong::available() & numkong::cap::SAPPHIREAMX != 0);
        let pack = |w: &[Vec<f32>; 2]| {
            let pack = |s: usize| numkong::PackedMatrix::pack_transposed(&numkong_tensor(&SHAPES[s], &w[s]));
            std::array::from_fn(pack)
        };
        Self { weights: weights.iter().map(pack).collect(), left: vec![], output: vec![] }
    }
}

impl Library for NumKong {
    fn name(&self) -> &'static str {
        "numkong"
    }

    fn left(&mut self, rows: usize, left: &[Vec<f32>; 2]) {
        self.left = (0..2).map(|s| numkong_tensor(&[rows, SHAPES[s][0]], &left[s])).collect();
        let zeros = |s: usize| numkong::Tensor::try_zeros(&[rows, SHAPES[s][1]]).expect("memory");
        self.output = (0..2).map(zeros).collect();
    }

    fn product(&mut self, block: usize, shape: usize) {
        let weight = &self.weights[block][shape];
        self.left[shape].try_dots_packed_into(weight, &mut self.output[shape]).expect("shapes fit");
    }

    fn output(&self, shape: usize) -> &[f32] {
        self.output[shape].as_slice()
    }
}

/// Numbers from -1 to 1 that differ from seed to seed.
fn numbers(len: usize, seed: usize) -> Vec<f32> {
    let number = |i: usize| (i * 7919 + seed * 104_729) % 65_521;
    (0..len).map(|i| number(i * i + i) as f32 / 32_760.5 - 1.0).collect()
}

/// Largest difference from the product of rounded numbers in plain loops, over the largest number of that.
fn error(output: &[f32], [left, weight]: [&[f32]; 2], [inner, cols]: [usize; 2]) -> f32 {
    let round = |v: &f32| bf16::from_f32(*v).to_f32();
    let (mut difference, mut largest) = (0.0f32, 0.0f32);
    for (left, output) in left.chunks(inner).zip(output.chunks(cols)) {
        let mut want = vec![0.0; cols];
        for (l, weight) in left.iter().map(round).zip(weight.chunks(cols)) {
            want.iter_mut().zip(weight).for_each(|(want, w)| *want += l * round(w));
        }
        for (want, output) in want.iter().zip(output) {
            difference = if output.is_nan() { f32::INFINITY } else { difference.max((want - output).abs()) };
            largest = largest.max(want.abs());
        }
    }
    difference / largest
}

fn main() {
    let weights: Vec<_> =
        (0..BLOCKS).map(|b| [numbers(1 << 20, 2 * b), numbers(1 << 20, 2 * b + 1)]).collect();
    let mut libraries: [Box<dyn Library>; 3] = [
        Box::new(Trm::new(&weights)),
        Box::new(NumKong::new(&weights)),
        Box::new(Tract::new(&weights)),
    ];
    println!("GFLOP/s, one thread, medians of {REPEATS} repeats in turns\n");
    println!("| rows | | {} |", libraries.each_ref().map(|library| library.name()).join(" | "));
    println!("|--:|---|--:|--:|--:|");
    for rows in ROWS {
        let left = SHAPES.map(|[inner, _]| numbers(rows * inner, rows));
        for library in &mut libraries {
            library.left(rows, &left);
            for shape in 0..2 {
                library.product(BLOCKS - 1, shape);
                let operands = [&left[shape][..], &weights[BLOCKS - 1][shape]];
                let error = error(library.output(shape), operands, SHAPES[shape]);
                assert!(error < 1e-4, "{}: error {error}", library.name());
            }
        }
        let mut seconds = [const { [const { Vec::new() }; 2] }; 3];
        for _ in 0..REPEATS {
            for (library, seconds) in libraries.iter_mut().zip(&mut seconds) {
                let mut of_shapes = [0.0; 2];
                for block in (0..PASSES).flat_map(|_| 0..BLOCKS) {
                    for (shape, sum) in of_shapes.iter_mut().enumerate() {
                        let start = Instant::now();
                        library.product(block, shape);
                        black_box(library.output(shape));
                        *sum += start.elapsed().as_secs_f64();
                    }
                }
                seconds.iter_mut().zip(of_shapes).for_each(|(seconds, s)| seconds.push(s));
            }
        }
        for (shape, [inner, cols]) in SHAPES.into_iter().enumerate() {
            let flops = (2 * rows * inner * cols * PASSES * BLOCKS) as f64;
            let speeds = seconds.each_mut().map(|seconds| {
                seconds[shape].sort_by(f64::total_cmp);
                format!("{:.0}", flops / seconds[shape][REPEATS / 2] / 1e9)
            });
            println!("| {rows} | {inner} to {cols} | {} |", speeds.join(" | "));
        }
    }
}
