//! Any bytes as the pickle of an archive that is sound otherwise.
#![no_main]

libfuzzer_sys::fuzz_target!(|pickle: &[u8]| {
    hcd_fuzz::check(&hcd_fuzz::archive(pickle));
});
