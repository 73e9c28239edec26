//! `HCD_PROFILE=1`: a table on stderr of where the time went.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::World;

const ON: &str = "export HCD_PROFILE=1";

/// The rows of the table, by its columns.
fn table(stderr: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = stderr.lines().skip_while(|line| !line.starts_with("operation")).collect();
    let columns = |line: &&str| {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    lines.iter().map(columns).collect()
}

#[test]
fn a_training_tells_where_its_time_went() {
    let world = World::new();
    world.hcd("distill student.toml --out plain").succeeded();
    let ran = world.hcd_after(ON, "distill student.toml --out measured");
    assert_eq!(ran.code, Some(0), "{ran}");
    // Measuring changes no bit.
    assert!(world.read("plain/student.safetensors") == world.read("measured/student.safetensors"));

    let rows = table(&ran.stderr);
    assert_eq!(rows[0], ["operation", "calls", "ms", "of all", "GFLOP/s"]);
    let row = |name: &str| rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("{name}: {ran}"));
    for pass in ["forward", "input gradient", "weight gradient"] {
        let row = row(&format!("conv2d 3x3 s1 {pass}"));
        assert!(row[1].parse::<u64>().unwrap() > 0 && row[4].parse::<f64>().unwrap() > 0.0, "{row:?}");
    }
    assert_eq!((row("batch_norm backward").len(), row("sgd update").len()), (4, 4), "{ran}");
    assert_eq!(rows.last().unwrap()[0], "elsewhere");
    // Numbers are rounded to a tenth of a percent each.
    let share =
        |row: &Vec<String>| row.iter().find_map(|cell| cell.strip_suffix(" %")).unwrap().parse::<f64>();
    let shares: f64 = rows[1..].iter().map(|row| share(row).unwrap()).sum();
    assert!((shares - 100.0).abs() <= 0.05 * rows.len() as f64, "{shares}: {ran}");
}

#[test]
fn commands_that_compute_nothing_tell_nothing() {
    let world = World::new();
    for line in ["methods", "recipe student.toml"] {
        let ran = world.hcd_after(ON, line);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
    }
}

#[test]
fn zero_and_nothing_are_off() {
    let world = World::new();
    for off in ["export HCD_PROFILE=0", "export HCD_PROFILE="] {
        let ran = world.hcd_after(off, "evaluate --weights teacher.safetensors --data data").succeeded();
        assert!(table(&ran.stderr).is_empty(), "{ran}");
    }
    let ran = world.hcd_after(ON, "evaluate --weights teacher.safetensors --data data");
    assert!(table(&ran.stderr).len() > 2, "{ran}");
}
