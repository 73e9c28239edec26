//! `hcd recipe`: a resolved recipe, every value with its source.

use super::train::origin_name;
use crate::args::RecipeArgs;
use crate::output;
use hcd::config;
use serde_json::json;

pub fn run(args: RecipeArgs) -> anyhow::Result<()> {
    let resolved = config::load(args.source.recipe.as_deref(), &args.source.overrides()?)?;
    let values = resolved.values()?;
    let origin = |key: &str| resolved.origins.get(key).copied().unwrap_or(config::Origin::Default);
    if args.json {
        let list: Vec<_> = values
            .iter()
            .map(|(key, value)| json!({ "key": key, "value": value, "source": origin_name(origin(key)) }))
            .collect();
        return output::json(&list);
    }
    let lines: Vec<String> = values.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    let width = lines.iter().map(String::len).max().unwrap_or(0).min(60);
    for (text, (key, _)) in lines.iter().zip(&values) {
        output::line(&format!("{text:width$}  # {}", origin_name(origin(key))));
    }
    Ok(())
}
