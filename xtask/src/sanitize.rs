//! `cargo xtask sanitize`: the kernels' tests under AddressSanitizer, with each set of instructions that the processor has.
//!
//! Only the kernels contain `unsafe`. Rust's sanitizers want a nightly compiler; `RUSTC_BOOTSTRAP` lets the stable one do,
//! for nothing that is shipped. The tests use the system's allocator, which AddressSanitizer replaces by its own:
//! mimalloc, which serves the programs, would hide what lies beside an allocation. A target directory of its own keeps
//! the ordinary one as it is.

use crate::check::command;
use crate::levels;
use anyhow::{Context, Result, ensure};

/// Run the kernels' tests under AddressSanitizer (x86-64 Linux).
#[derive(clap::Args)]
pub struct Args {}

/// With debug assertions and the overflow checks that come with them. Little is optimised: what the sanitizer puts in
/// keeps the compiler busy as it is.
const SETTINGS: [(&str, &str); 4] = [
    ("RUSTC_BOOTSTRAP", "1"),
    ("RUSTFLAGS", "-Zsanitizer=address"),
    ("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
];

/// The tests in `tests/`, which call every kernel: for those in `src/` the library would be built once more.
const ARGUMENTS: [&str; 11] = [
    "test",
    "--release",
    "--package",
    "hcd-kernels",
    "--test",
    "*",
    "--target",
    "x86_64-unknown-linux-gnu",
    "--target-dir",
    "target/sanitize",
    "--no-fail-fast",
];

/// Runs the tests once for each level.
pub fn run(_: &Args) -> Result<()> {
    ensure!(cfg!(all(target_arch = "x86_64", target_os = "linux")), "sanitize: runs on x86-64 Linux alone");
    for level in levels::present() {
        println!("== {level}");
        let variables = [&SETTINGS[..], &[("HCD_KERNELS", level)]].concat();
        let status = command(&ARGUMENTS, &variables).status().context("cannot start cargo")?;
        ensure!(status.success(), "sanitize: the tests with {level} failed: {status}");
    }
    Ok(())
}
