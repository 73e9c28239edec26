//! The matrix unit of x86-64: tiles of 16 rows of 64 bytes. Intel, Architecture Instruction Set Extensions, chapter 3.
//!
//! The instructions are written out, since Rust has no stable functions for them; the compiler itself never uses tiles.

#![cfg(target_arch = "x86_64")]

use super::{Block, Operands, WIDE};
use std::arch::asm;
use std::arch::x86_64::{__cpuid_count, _xgetbv};
use std::sync::LazyLock;

/// Whether processor and system let this process use tiles.
pub(super) fn available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
        const TILES_AND_BF16: u32 = 1 << 24 | 1 << 22;
        const TILE_STATE: u64 = 3 << 17;
        // Leaf 7 exists wherever AVX-512 does.
        let features = __cpuid_count(7, 0).edx;
        // SAFETY: AVX-512 was detected, and with it the instruction.
        features & TILES_AND_BF16 == TILES_AND_BF16
            && unsafe { enabled() } & TILE_STATE == TILE_STATE
            && permitted()
    });
    *AVAILABLE
}

/// What state the system saves for its threads.
#[target_feature(enable = "xsave")]
fn enabled() -> u64 {
    // SAFETY: the register exists where the instruction does.
    unsafe { _xgetbv(0) }
}

/// Asks Linux for tiles, which it gives to processes that ask.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const TILE_DATA: i64 = 18;
    let outcome: i64;
    // SAFETY: the call takes two numbers and touches no memory of ours.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => outcome,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    outcome == 0
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// What shape each tile has.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

/// Gives this thread eight tiles of 16 rows of 64 bytes.
pub(super) fn configure() {
    static WHOLE: Configuration = {
        let (mut bytes, mut rows) = ([0; 16], [0; 16]);
        let mut tile = 0;
        while tile < 8 {
            (bytes[tile], rows[tile]) = (64, 16);
            tile += 1;
        }
        Configuration { palette: 1, start: 0, reserved: [0; 14], bytes, rows }
    };
    // SAFETY: called only where tiles are available; reads the 64 bytes of the configuration.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &WHOLE, options(nostack, readonly)) }
}

/// Gives the tiles back.
pub(super) fn release() {
    // SAFETY: called only where tiles are available.
    unsafe { asm!("tilerelease", options(nostack, nomem)) }
}

/// See [`super::Session::product`]; 16 rows, or 32 where `both`.
///
/// # Safety
/// Tiles are available and configured; there are steps, and A and B reach as far as they do.
pub(super) unsafe fn product(operands: &Operands, steps: &[[usize; 2]], both: bool, block: &mut Block) {
    let (a, b) = (operands.a.as_ptr(), operands.b.as_ptr());
    let (a_row, b_row) = (operands.a_row * 2, operands.b_row * 4);
    let (first, count, out) = (steps.as_ptr(), steps.len(), block.as_mut_ptr());
    if both {
        // SAFETY: reads 16 rows of 64 bytes at each place, which the caller has checked, and writes the block.
        unsafe {
            asm!(
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                "2:",
                "mov {x}, [{step}]",
                "mov {y}, [{step} + 8]",
                "lea {x}, [{a} + {x}*2]",
                "lea {y}, [{b} + {y}*4]",
                "tileloadd tmm4, [{x} + {a_row}*1]",
                "tileloadd tmm6, [{y} + {b_row}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{y} + {b_row}*1 + 64]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "add {x}, {a_next}",
                "tileloadd tmm5, [{x} + {a_row}*1]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {step}, 16",
                "dec {count}",
                "jnz 2b",
                "tilestored [{out} + {line}*1], tmm0",
                "tilestored [{out} + {line}*1 + 64], tmm1",
                "tilestored [{out} + {line}*1 + 2048], tmm2",
                "tilestored [{out} + {line}*1 + 2112], tmm3",
                a = in(reg) a, b = in(reg) b, a_row = in(reg) a_row, b_row = in(reg) b_row,
                a_next = in(reg) operands.a_next * 2,
                step = inout(reg) first => _, count = inout(reg) count => _,
                out = in(reg) out, line = in(reg) WIDE * 4,
                x = out(reg) _, y = out(reg) _,
                options(nostack),
            );
        }
    } else {
        // SAFETY: as above.
        unsafe {
            asm!(
                "tilezero tmm0", "tilezero tmm1",
                "2:",
                "mov {x}, [{step}]",
                "mov {y}, [{step} + 8]",
                "lea {x}, [{a} + {x}*2]",
                "lea {y}, [{b} + {y}*4]",
                "tileloadd tmm4, [{x} + {a_row}*1]",
                "tileloadd tmm6, [{y} + {b_row}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{y} + {b_row}*1 + 64]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "add {step}, 16",
                "dec {count}",
                "jnz 2b",
                "tilestored [{out} + {line}*1], tmm0",
                "tilestored [{out} + {line}*1 + 64], tmm1",
                a = in(reg) a, b = in(reg) b, a_row = in(reg) a_row, b_row = in(reg) b_row,
                step = inout(reg) first => _, count = inout(reg) count => _,
                out = in(reg) out, line = in(reg) WIDE * 4,
                x = out(reg) _, y = out(reg) _,
                options(nostack),
            );
        }
    }
}
