//! Which instructions the kernels use, found out once, and the macro that compiles a loop for each of them.

use std::sync::LazyLock;

/// A set of instructions that loops are compiled for.
///
/// The environment variable `HCD_KERNELS` = `portable`, `avx2` or `avx512` lowers the choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of the target has.
    Portable,
    /// x86-64 with 256-bit vectors and fused multiply-add.
    Avx2,
    /// x86-64 with 512-bit vectors.
    Avx512,
}

static LEVEL: LazyLock<Level> = LazyLock::new(|| {
    let wanted = match std::env::var("HCD_KERNELS").as_deref() {
        Ok("portable") => Level::Portable,
        Ok("avx2") => Level::Avx2,
        _ => Level::Avx512,
    };
    wanted.min(Level::detect())
});

impl Level {
    /// The level in use: the processor's best, or less if `HCD_KERNELS` says so.
    pub fn current() -> Self {
        *LEVEL
    }

    #[cfg(target_arch = "x86_64")]
    fn detect() -> Self {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq");
        match (avx2, avx512) {
            (true, true) => Level::Avx512,
            (true, false) => Level::Avx2,
            _ => Level::Portable,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn detect() -> Self {
        Level::Portable
    }
}

/// Defines a function that runs `$body::<V>` compiled for the current [`Level`], V being its `Vector`.
///
/// The body must be `#[inline(always)]`, as must all that it calls with V.
macro_rules! for_each_level {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:ident) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $ty),*) {
                    $body::<$crate::lanes::Avx512>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) {
                    $body::<$crate::lanes::Avx2>($($arg),*)
                }
                match $crate::Level::current() {
                    // SAFETY: this level is current only where these instructions were detected.
                    $crate::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: this level is current only where these instructions were detected.
                    $crate::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::Level::Portable => {}
                }
            }
            $body::<$crate::lanes::Portable>($($arg),*)
        }
    };
}
