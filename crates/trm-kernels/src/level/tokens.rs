//! Proofs, by type, that the CPU has instructions. A kernel takes the proof of those that it uses, so that it can be called
//! nowhere else; a proof has no size and is made here alone.

use super::{Level, level};

macro_rules! proof {
    ($name:ident: $features:literal) => {
        #[doc = concat!("The CPU has ", $features, ".")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) struct $name(());

        impl $name {
            /// The proof, if the level in use is this one or a better one. Levels are in use where the CPU has them only:
            /// [`choose_level`](super::choose_level) and [`at_level`](super::at_level) see to that.
            #[inline]
            pub fn in_use() -> Option<Self> {
                (level() >= Level::$name).then_some(Self(()))
            }
        }
    };
}

proof!(Avx2: "AVX2 and FMA (x86-64-v3)");
proof!(Avx512: "AVX-512 F, BW, CD, DQ and VL (x86-64-v4)");
proof!(Avx512Vnni: "AVX-512 VNNI and all of x86-64-v4");
proof!(Avx512Bf16: "AVX-512 BF16, VNNI and all of x86-64-v4");
proof!(Amx: "tiles of bfloat16 numbers and of bytes, and the system saves them");

impl Amx {
    /// The proof without a check, for the self-test of the tiles, which runs before a level is chosen.
    ///
    /// # Safety
    /// The CPU has AMX-TILE, AMX-BF16 and AMX-INT8, and the system lets this process use them.
    pub unsafe fn assume() -> Self {
        Self(())
    }
}
