//! Lines of text as the names in a file, and those behind an empty line as the network's.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (names, wanted) = text.split_once("\n\n").unwrap_or((text, ""));
    let lines = |text| str::lines(text).collect::<Vec<_>>();
    hcd_fuzz::translate(&lines(names), &lines(wanted));
});
