//! Which instruction set loops run with: the best the CPU has, unless `TRM_LEVEL` or [`at_level`] says otherwise.

#[cfg(target_arch = "x86_64")]
mod tokens;

use crate::math::MulAdd;
use std::cell::Cell;
use std::fmt;
use std::sync::OnceLock;
#[cfg(target_arch = "x86_64")]
pub(crate) use tokens::{Amx, Avx2, Avx512, Avx512Bf16, Avx512Vnni};

/// Instruction sets that loops are compiled for, best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every CPU of the target has.
    Portable,
    /// x86-64 with AVX2 and FMA (x86-64-v3).
    Avx2,
    /// x86-64 with AVX-512 F, BW, CD, DQ, VL (x86-64-v4).
    Avx512,
    /// AVX-512 with products of bytes and 32-bit sums (VNNI: Cascade Lake, Ice Lake).
    Avx512Vnni,
    /// AVX-512 with VNNI and native products of bfloat16 numbers (Zen 4, Cooper Lake, Sapphire Rapids and later).
    Avx512Bf16,
    /// All of that with products of whole tiles of bfloat16 numbers and of bytes, AMX (Sapphire Rapids and later).
    Amx,
}

impl Level {
    /// All levels, best last.
    pub const ALL: [Self; 6] =
        [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Vnni, Self::Avx512Bf16, Self::Amx];

    /// Name as printed and as `TRM_LEVEL` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Avx512Vnni => "avx512-vnni",
            Level::Avx512Bf16 => "avx512-bf16",
            Level::Amx => "amx",
        }
    }

    /// Whether this CPU has these instructions.
    pub fn is_available(self) -> bool {
        Cpu::get().has(self)
    }

    /// The levels that this CPU has, best last.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|level| level.is_available())
    }
}

/// `TRM_LEVEL` names an instruction set that does not exist or that this CPU lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelError {
    wanted: String,
}

impl fmt::Display for LevelError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let names: Vec<&str> = Level::available().map(Level::name).collect();
        write!(f, "TRM_LEVEL is `{}`, but what this CPU has is: {}", self.wanted, names.join(", "))
    }
}

impl std::error::Error for LevelError {}

/// The level of this process: the one that `TRM_LEVEL` names, or the best the CPU has. It is decided once.
///
/// # Errors
/// `TRM_LEVEL` names none that the CPU has. A program asks here first, and says so.
pub fn choose_level() -> Result<Level, LevelError> {
    static CHOSEN: OnceLock<Result<Level, LevelError>> = OnceLock::new();
    CHOSEN.get_or_init(|| named_or_best(std::env::var("TRM_LEVEL").ok())).clone()
}

fn named_or_best(wanted: Option<String>) -> Result<Level, LevelError> {
    let mut available = Level::available();
    match wanted {
        None => Ok(available.last().unwrap_or(Level::Portable)),
        Some(wanted) => available.find(|level| level.name() == wanted).ok_or(LevelError { wanted }),
    }
}

thread_local! {
    /// The level in use on this thread, once it is known.
    static IN_USE: Cell<Option<Level>> = const { Cell::new(None) };
}

/// The level in use: the one that [`at_level`] sets for the caller, or else the one that [`choose_level`] finds.
///
/// # Panics
/// Where [`choose_level`] has an error: to run at another level than was asked for would be worse.
pub fn level() -> Level {
    IN_USE.get().unwrap_or_else(|| {
        let level = choose_level().unwrap_or_else(|error| panic!("{error}"));
        IN_USE.set(Some(level));
        level
    })
}

/// Runs `body`, and every kernel that it calls on this thread, at `level`, so that tests and measurements can reach
/// every level.
///
/// # Panics
/// If the CPU lacks it.
pub fn at_level<R>(level: Level, body: impl FnOnce() -> R) -> R {
    assert!(level.is_available(), "this CPU does not have {}", level.name());
    struct Restore(Option<Level>);
    impl Drop for Restore {
        fn drop(&mut self) {
            IN_USE.set(self.0);
        }
    }
    let _restore = Restore(IN_USE.replace(Some(level)));
    body()
}

/// Runs `body` compiled for the level in use. Mark the closure `#[inline(always)]`, so that its loops are
/// compiled inside.
///
/// Every level gives equal bits: Rust neither contracts `a * b + c` nor reorders sums, and a body that
/// keeps to this (no `mul_add`) is only made wider.
#[inline(always)]
pub fn vectorize<R>(body: impl FnOnce() -> R) -> R {
    Cpu::get().run(
        level(),
        #[inline(always)]
        |_| body(),
    )
}

/// Runs `body` compiled for the level in use, with a [`MulAdd`] that multiplies and adds in one where that is one instruction:
/// twice as fast where a body does little else, and the last bit of its results may differ at the portable level. Mark the
/// closure `#[inline(always)]`, so that its loops are compiled inside.
#[inline(always)]
pub fn vectorize_fused<R>(body: impl FnOnce(MulAdd) -> R) -> R {
    Cpu::get().run(level(), body)
}

/// Runs `op` with the registers of the level in use; at the portable one, four numbers side by side.
pub(crate) fn with_simd<Op: pulp::WithSimd>(op: Op) -> Op::Output {
    #[cfg(target_arch = "x86_64")]
    {
        let Cpu { avx2, avx512, .. } = *Cpu::get();
        match (level(), avx2, avx512) {
            (level, _, Some(simd)) if level >= Level::Avx512 => return pulp::Simd::vectorize(simd, op),
            (Level::Avx2, Some(simd), _) => return pulp::Simd::vectorize(simd, op),
            _ => {}
        }
    }
    pulp::Simd::vectorize(pulp::Scalar128b, op)
}

/// Proofs that the CPU has instructions.
#[derive(Clone, Copy)]
struct Cpu {
    #[cfg(target_arch = "x86_64")]
    avx2: Option<pulp::x86::V3>,
    #[cfg(target_arch = "x86_64")]
    avx512: Option<pulp::x86::V4>,
    #[cfg(target_arch = "x86_64")]
    vnni: bool,
    #[cfg(target_arch = "x86_64")]
    bf16: bool,
    #[cfg(target_arch = "x86_64")]
    amx: bool,
}

#[cfg(target_arch = "x86_64")]
impl Cpu {
    fn get() -> &'static Self {
        static CPU: OnceLock<Cpu> = OnceLock::new();
        CPU.get_or_init(|| Self {
            avx2: pulp::x86::V3::try_new(),
            avx512: pulp::x86::V4::try_new(),
            vnni: std::arch::is_x86_feature_detected!("avx512vnni"),
            bf16: std::arch::is_x86_feature_detected!("avx512bf16"),
            amx: crate::x86_64::amx::available(),
        })
    }

    fn has(self, level: Level) -> bool {
        match level {
            Level::Portable => true,
            Level::Avx2 => self.avx2.is_some(),
            Level::Avx512 => self.has(Level::Avx2) && self.avx512.is_some(),
            Level::Avx512Vnni => self.has(Level::Avx512) && self.vnni,
            Level::Avx512Bf16 => self.has(Level::Avx512Vnni) && self.bf16,
            Level::Amx => self.has(Level::Avx512Bf16) && self.amx,
        }
    }

    #[inline(always)]
    fn run<R>(self, level: Level, body: impl FnOnce(MulAdd) -> R) -> R {
        match (level, self.avx2, self.avx512) {
            (level, _, Some(simd)) if level >= Level::Avx512 => simd.vectorize(Body(body)),
            (Level::Avx2, Some(simd), _) => simd.vectorize(Body(body)),
            _ => body(MulAdd { is_fused: false }),
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Cpu {
    fn get() -> &'static Self {
        &Self {}
    }

    fn has(self, level: Level) -> bool {
        level == Level::Portable
    }

    #[inline(always)]
    fn run<R>(self, _level: Level, body: impl FnOnce(MulAdd) -> R) -> R {
        body(MulAdd { is_fused: cfg!(target_arch = "aarch64") })
    }
}

#[cfg(target_arch = "x86_64")]
struct Body<F>(F);

#[cfg(target_arch = "x86_64")]
impl<R, F: FnOnce(MulAdd) -> R> pulp::NullaryFnOnce for Body<F> {
    type Output = R;
    #[inline(always)]
    fn call(self) -> R {
        // Both instruction sets have FMA.
        (self.0)(MulAdd { is_fused: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_found_by_its_name_and_others_are_refused_with_those_there_are() {
        for level in Level::available() {
            assert_eq!(named_or_best(Some(level.name().into())), Ok(level));
        }
        assert_eq!(named_or_best(None).ok(), Level::available().last());
        let message = named_or_best(Some("avx1024".into())).unwrap_err().to_string();
        assert!(message.contains("`avx1024`") && message.contains("portable"), "{message}");
    }

    #[test]
    fn a_level_holds_inside_at_level_only_even_after_a_panic() {
        let before = level();
        at_level(Level::Portable, || assert_eq!(level(), Level::Portable));
        let panicked = std::panic::catch_unwind(|| at_level(Level::Portable, || panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(level(), before);
    }
}
