//! Which instruction set this process uses, decided once.

use std::sync::OnceLock;

/// Instruction sets that loops are compiled for, best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every CPU of the target has.
    Portable,
    /// x86-64 with AVX2 and FMA (x86-64-v3).
    Avx2,
    /// x86-64 with AVX-512 F, BW, CD, DQ, VL (x86-64-v4).
    Avx512,
    /// The same with products of bytes and 32-bit sums (VNNI: Cascade Lake, Ice Lake).
    Avx512Vnni,
    /// The same with native products of bfloat16 numbers too (Zen 4, Cooper Lake, Sapphire Rapids and later).
    Avx512Bf16,
}

impl Level {
    /// Name as printed and as `TRM_LEVEL` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Avx512Vnni => "avx512-vnni",
            Level::Avx512Bf16 => "avx512-bf16",
        }
    }
}

/// The level in use: the best the CPU has, or the one that the environment variable `TRM_LEVEL` names if the CPU
/// has it. Products by the `gemm` crate choose for themselves.
pub fn level() -> Level {
    dispatcher().level
}

/// Runs `body` compiled for the level in use. Mark the closure `#[inline(always)]`, so that its loops are
/// compiled inside.
///
/// The same bits come out at every level: Rust neither contracts `a * b + c` nor reorders sums, and a body that
/// keeps to this (no `mul_add`) is only made wider.
#[inline(always)]
pub fn vectorize<R>(body: impl FnOnce() -> R) -> R {
    dispatcher().run(body)
}

#[derive(Clone, Copy)]
struct Dispatcher {
    level: Level,
    #[cfg(target_arch = "x86_64")]
    avx2: Option<pulp::x86::V3>,
    #[cfg(target_arch = "x86_64")]
    avx512: Option<pulp::x86::V4>,
}

fn dispatcher() -> &'static Dispatcher {
    static DISPATCHER: OnceLock<Dispatcher> = OnceLock::new();
    DISPATCHER.get_or_init(|| Dispatcher::detect(std::env::var("TRM_LEVEL").ok().as_deref()))
}

#[cfg(target_arch = "x86_64")]
impl Dispatcher {
    fn detect(wanted: Option<&str>) -> Self {
        let avx2 = pulp::x86::V3::try_new();
        let avx512 = pulp::x86::V4::try_new();
        let vnni = avx512.is_some() && std::arch::is_x86_feature_detected!("avx512vnni");
        let bf16 = vnni && std::arch::is_x86_feature_detected!("avx512bf16");
        let levels = [
            (Level::Avx512Bf16, bf16),
            (Level::Avx512Vnni, vnni),
            (Level::Avx512, avx512.is_some()),
            (Level::Avx2, avx2.is_some()),
            (Level::Portable, true),
        ];
        let mut available = levels.iter().filter(|(_, has)| *has).map(|(level, _)| *level);
        let level = match wanted {
            Some(name) => available.clone().find(|l| l.name() == name).or_else(|| available.next()),
            None => available.next(),
        };
        Self { level: level.unwrap_or(Level::Portable), avx2, avx512 }
    }

    #[inline(always)]
    fn run<R>(self, body: impl FnOnce() -> R) -> R {
        match (self.level, self.avx2, self.avx512) {
            (Level::Avx512 | Level::Avx512Vnni | Level::Avx512Bf16, _, Some(simd)) => {
                simd.vectorize(Body(body))
            }
            (Level::Avx2, Some(simd), _) => simd.vectorize(Body(body)),
            _ => body(),
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Dispatcher {
    fn detect(_wanted: Option<&str>) -> Self {
        Self { level: Level::Portable }
    }

    #[inline(always)]
    fn run<R>(self, body: impl FnOnce() -> R) -> R {
        body()
    }
}

#[cfg(target_arch = "x86_64")]
struct Body<F>(F);

#[cfg(target_arch = "x86_64")]
impl<R, F: FnOnce() -> R> pulp::NullaryFnOnce for Body<F> {
    type Output = R;
    #[inline(always)]
    fn call(self) -> R {
        (self.0)()
    }
}
