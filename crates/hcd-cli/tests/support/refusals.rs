//! Tables of commands that must be refused: in one line that names the fault, and changing no file.

use super::World;

/// A way to go wrong: what is done to a sound world, the command, and what its error must name.
pub struct Case {
    spoil: fn(&World),
    line: &'static str,
    names: &'static [&'static str],
}

pub fn case(spoil: fn(&World), line: &'static str, names: &'static [&'static str]) -> Case {
    Case { spoil, line, names }
}

/// Nothing is done to the world: the command itself is wrong.
pub fn sound(_: &World) {}

/// Each case in a world of its own: it must be refused in one line with all names, and change no file.
pub fn check(cases: &[Case]) {
    let mut faults = Vec::new();
    for Case { spoil, line, names } in cases {
        let world = World::new();
        spoil(&world);
        let before = world.tree(".");
        let ran = world.hcd(line);
        match ran.refusal() {
            Err(fault) => faults.push(fault),
            Ok(told) => {
                let missing: Vec<_> = names.iter().filter(|name| !told.contains(**name)).collect();
                if !missing.is_empty() {
                    faults.push(format!("hcd {line}\n{told}\nlacks {missing:?}"));
                }
            }
        }
        let after = world.tree(".");
        if before != after {
            let changed: Vec<_> = after.keys().filter(|name| before.get(*name) != after.get(*name)).collect();
            faults.push(format!("hcd {line}\nleft behind: {changed:?}"));
        }
    }
    assert!(faults.is_empty(), "{} of {}:\n\n{}", faults.len(), cases.len(), faults.join("\n\n"));
}
