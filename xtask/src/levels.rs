//! The sets of instructions that the kernels can be told to use, and the tests that say whether they may.

/// The tests of the kernels that each set must pass.
pub const TESTS: [&str; 7] =
    ["batch_norm", "bf16", "conv_shapes", "edges", "not_finite", "random_shapes", "threads"];

/// What `HCD_KERNELS` may be on this processor, the best first.
pub fn present() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let found = {
        let avx512 = is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512dq");
        // Where there is no AMX, `amx` stands for what is best.
        [
            ("amx", avx512 && is_x86_feature_detected!("avx512bf16")),
            ("avx512bf16", avx512 && is_x86_feature_detected!("avx512bf16")),
            ("avx512", avx512),
            ("avx2", is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")),
            ("portable", true),
        ]
    };
    #[cfg(not(target_arch = "x86_64"))]
    let found = [("portable", true)];
    found.into_iter().filter(|(_, has)| *has).map(|(level, _)| level).collect()
}
