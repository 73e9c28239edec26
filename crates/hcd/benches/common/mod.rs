//! What the benchmarks' programs share: their arguments, and the memory that they had.

/// What is named, and how many rounds, `usual` where nothing is said.
pub fn arguments(usual: usize) -> (Vec<String>, usize) {
    let (mut names, mut rounds) = (Vec::new(), usual);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().and_then(|n| n.parse().ok()).expect("--rounds N"),
            // What cargo adds.
            "--bench" => {}
            _ => names.push(argument),
        }
    }
    (names, rounds)
}

/// The most memory that this process had, as Linux counts it; 0 elsewhere.
pub fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib =
        line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.trim().parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
