//! Any bytes as a file; the seeds are safetensors.
#![no_main]

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    hcd_fuzz::check(file);
});
