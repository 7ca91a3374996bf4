//! What the machine has and can do at most.

use crate::ops::{Fixed, Format};
use crate::parallel::Threads;
use serde::Serialize;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use trm_kernels::peak::{read, spin_bf16, spin_f32, spin_fixed};

/// How long a ceiling is measured.
const TIME: Duration = Duration::from_millis(250);

/// The CPU, its threads, and the ceilings that were measured on them.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Name of the CPU, if the system tells.
    pub cpu: String,
    /// Instruction sets that the CPU has, of those that the kernels can use.
    pub features: Vec<&'static str>,
    /// Name of the instruction set that the kernels use.
    pub level: &'static str,
    /// Worker threads.
    pub threads: usize,
    /// Ceiling of products of f32 numbers.
    pub f32: Peak,
    /// Ceiling of products of bfloat16 numbers, if the CPU has instructions for them.
    pub bf16: Option<Peak>,
    /// Ceiling of products of 12-bit fixed-point numbers, if the CPU has instructions for them.
    pub fixed12: Option<Peak>,
    /// Ceiling of products of 7-bit fixed-point numbers, if the CPU has instructions for them.
    pub fixed7: Option<Peak>,
    /// Speed of reading, for each cache and for main memory.
    pub bandwidth: Vec<Bandwidth>,
}

/// Floating-point operations a second, from registers.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Peak {
    /// Floating-point operations a second on one thread.
    pub one_thread: f64,
    /// Floating-point operations a second on all worker threads.
    pub all_threads: f64,
}

/// Bytes read a second.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bandwidth {
    /// `L2`, `L3` or `DRAM`.
    pub memory: &'static str,
    /// Bytes a second on one thread.
    pub one_thread: f64,
    /// Bytes a second on all worker threads, each with memory of its own.
    pub all_threads: f64,
}

impl Machine {
    /// Measures this machine, in some seconds.
    pub fn measure(threads: &Threads) -> Self {
        let peak = |spin: &(dyn Fn(u64) -> u64 + Sync)| Peak {
            one_thread: rate(&Threads::new(1), |_| spin(ROUNDS)),
            all_threads: rate(threads, |_| spin(ROUNDS)),
        };
        let of_format = |format| spin(format, 1).map(|_| peak(&|rounds| spin(format, rounds).unwrap_or(0)));
        Self {
            cpu: cpu_name(),
            features: features(),
            level: crate::kernel_level(),
            threads: threads.count(),
            f32: peak(&spin_f32),
            bf16: of_format(Format::Bf16),
            fixed12: of_format(Format::Fixed(Fixed::Twelve)),
            fixed7: of_format(Format::Fixed(Fixed::Seven)),
            bandwidth: bandwidth(threads),
        }
    }

    /// The ceiling of products in `format` on all threads, in operations a second. For a format without instructions
    /// on this CPU it is the ceiling of f32.
    pub fn ceiling(&self, format: Format) -> f64 {
        self.peak(format).all_threads
    }

    /// The ceilings of products in `format` on one thread and on all threads. For a format without instructions on
    /// this CPU they are the ceilings of f32.
    pub fn peak(&self, format: Format) -> Peak {
        match format {
            Format::Bf16 => self.bf16.unwrap_or(self.f32),
            Format::Fixed(Fixed::Twelve) => self.fixed12.unwrap_or(self.f32),
            Format::Fixed(Fixed::Seven) => self.fixed7.unwrap_or(self.f32),
            Format::F32 | Format::Quantised => self.f32,
        }
    }
}

/// What products of a format could do on so many threads.
pub(super) fn ceiling_of(format: Format, threads: &Threads) -> f64 {
    rate(threads, |_| spin(format, ROUNDS).unwrap_or_else(|| spin_f32(ROUNDS)))
}

/// Multiplies and adds numbers of a format for some rounds, where there are instructions for them; returns the operations made.
fn spin(format: Format, rounds: u64) -> Option<u64> {
    match format {
        Format::F32 => Some(spin_f32(rounds)),
        Format::Bf16 => spin_bf16(rounds),
        Format::Fixed(fixed) => spin_fixed(fixed, rounds),
        Format::Quantised => None,
    }
}

/// Rounds between two looks at the clock.
const ROUNDS: u64 = 100_000;

/// What all threads together do in a second of what `work` counts; it is told the thread's number.
fn rate(threads: &Threads, work: impl Fn(usize) -> u64 + Sync) -> f64 {
    let (done, begin) = (AtomicU64::new(0), Instant::now());
    threads.for_each((0..threads.count()).collect(), |thread| {
        while begin.elapsed() < TIME {
            done.fetch_add(work(thread), Relaxed);
        }
    });
    done.into_inner() as f64 / begin.elapsed().as_secs_f64()
}

/// Half of L2 lies in L2; what is larger than L2 and half of L3 lies in L3; four times L3 lies nowhere else than in DRAM.
fn bandwidth(threads: &Threads) -> Vec<Bandwidth> {
    let (l2, l3) = (cache_bytes(2).unwrap_or(1 << 19), cache_bytes(3).unwrap_or(1 << 24));
    let of = |memory: &'static str, bytes: usize, is_shared: bool| {
        let measure = |threads: &Threads| {
            let sharers = if is_shared { threads.count() } else { 1 };
            // Not zeros: of those the system keeps one page for all.
            let own = vec![vec![1; bytes / 4 / sharers]; threads.count()];
            rate(threads, |thread| {
                black_box(read(black_box(&own[thread])));
                4 * own[thread].len() as u64
            })
        };
        Bandwidth { memory, one_thread: measure(&Threads::new(1)), all_threads: measure(threads) }
    };
    vec![
        of("L2", l2 / 2, false),
        of("L3", (l3 / 2).max(2 * l2), true),
        of("DRAM", (4 * l3).max(1 << 27), true),
    ]
}

/// Size of a cache, where the system tells (Linux).
fn cache_bytes(level: u32) -> Option<usize> {
    (0..8).find_map(|index| {
        let folder = format!("/sys/devices/system/cpu/cpu0/cache/index{index}");
        let text = |name: &str| std::fs::read_to_string(format!("{folder}/{name}")).ok();
        let is_wanted = text("level")?.trim() == level.to_string();
        let kib: usize = text("size")?.trim().strip_suffix('K')?.parse().ok()?;
        is_wanted.then_some(kib << 10)
    })
}

fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or(std::env::consts::ARCH.into(), |(_, name)| name.into())
}

/// Linux alone tells of AMX so far.
#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    macro_rules! those_of {
        ($($name:tt),*) => {
            [$(($name, std::arch::is_x86_feature_detected!($name))),*]
        };
    }
    let all =
        those_of!("avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512bf16", "avx512vnni", "avx512fp16");
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = info.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let amx =
        ["amx_tile", "amx_bf16", "amx_int8"].map(|name| (name, flags.split(' ').any(|flag| flag == name)));
    all.into_iter().chain(amx).filter(|(_, has)| *has).map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    Vec::new()
}
