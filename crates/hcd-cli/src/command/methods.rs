//! `hcd methods`: the ways to teach, with their defaults.

use crate::args::ListArgs;
use crate::output;
use hcd::methods::{METHODS, MethodConfig};
use serde_json::json;

pub fn run(args: ListArgs) -> anyhow::Result<()> {
    if args.json {
        let list: Vec<_> = METHODS
            .iter()
            .map(|method| {
                json!({
                    "name": method.name,
                    "about": method.about,
                    "defaults": MethodConfig::of_name(method.name),
                })
            })
            .collect();
        return output::json(&list);
    }
    for method in METHODS {
        output::line(&format!("{}: {}", method.name, method.about));
        if let Some(config) = MethodConfig::of_name(method.name) {
            for line in toml::to_string(&config)?.lines().filter(|line| !line.starts_with("name =")) {
                output::line(&format!("    {line}"));
            }
        }
    }
    Ok(())
}
