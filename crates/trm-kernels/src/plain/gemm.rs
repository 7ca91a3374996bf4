//! The f32 product of the crate `gemm` on the calling thread, with its kernel for the level in use: by itself it takes the
//! best the CPU has.

/// A matrix as `gemm` takes it: its first number, and how far the next column and the next row are.
pub(super) struct Strided<P> {
    pub first: P,
    pub col_stride: usize,
    pub row_stride: usize,
}

/// `dst = lhs rhs` or, with `read_dst`, `dst += lhs rhs`, where `lhs` is `[m, k]` and `rhs` is `[k, n]`.
///
/// # Safety
/// Every element lies inside its allocation, and nothing else refers to `dst`.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn gemm(
    [m, n, k]: [usize; 3],
    dst: Strided<*mut f32>,
    read_dst: bool,
    lhs: Strided<*const f32>,
    rhs: Strided<*const f32>,
) {
    use crate::level::{Level, level};
    use gemm_common::simd::{MixedSimd, Scalar, V3, V4};
    use gemm_f32::microkernel::{avx512f, fma, scalar};

    macro_rules! with_kernels_of {
        ($module:ident, $simd:ty, $lanes:literal) => {{
            use $module::f32::{H_M, H_N, H_UKR, MR_DIV_N, NR, UKR};
            const ROWS: usize = MR_DIV_N * $lanes;
            let simd = <$simd as MixedSimd<f32, f32, f32, f32>>::try_new().expect("the CPU has the level");
            // SAFETY: the caller's promise; the CPU has the instructions, since `simd` exists.
            unsafe {
                gemm_common::gemm::gemm_basic_generic::<_, f32, $lanes, ROWS, NR, MR_DIV_N, H_M, H_N>(
                    simd,
                    m,
                    n,
                    k,
                    dst.first,
                    dst.col_stride as isize,
                    dst.row_stride as isize,
                    read_dst,
                    lhs.first,
                    lhs.col_stride as isize,
                    lhs.row_stride as isize,
                    rhs.first,
                    rhs.col_stride as isize,
                    rhs.row_stride as isize,
                    1.0,
                    1.0,
                    false,
                    false,
                    false,
                    |a, b, c| a * b + c,
                    &UKR,
                    &H_UKR,
                    false,
                    gemm_common::Parallelism::None,
                );
            }
        }};
    }
    match level() {
        Level::Portable => with_kernels_of!(scalar, Scalar, 1),
        Level::Avx2 => with_kernels_of!(fma, V3, 8),
        _ => with_kernels_of!(avx512f, V4, 16),
    }
}

/// `dst = lhs rhs` or, with `read_dst`, `dst += lhs rhs`, where `lhs` is `[m, k]` and `rhs` is `[k, n]`, by the only level there is.
///
/// # Safety
/// Every element lies inside its allocation, and nothing else refers to `dst`.
#[cfg(not(target_arch = "x86_64"))]
pub(super) unsafe fn gemm(
    [m, n, k]: [usize; 3],
    dst: Strided<*mut f32>,
    read_dst: bool,
    lhs: Strided<*const f32>,
    rhs: Strided<*const f32>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        ::gemm::gemm(
            m,
            n,
            k,
            dst.first,
            dst.col_stride as isize,
            dst.row_stride as isize,
            read_dst,
            lhs.first,
            lhs.col_stride as isize,
            lhs.row_stride as isize,
            rhs.first,
            rhs.col_stride as isize,
            rhs.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            ::gemm::Parallelism::None,
        );
    }
}
