//! Any bytes as a file; the seeds are files of PyTorch, in both layouts.
#![no_main]

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    hcd_fuzz::check(file);
});
