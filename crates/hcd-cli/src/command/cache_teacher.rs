//! `hcd cache-teacher`: a teacher looks at every view once; its answers are kept in files.

use crate::args::CacheArgs;
use crate::{output, session};
use hcd::config;
use hcd::teacher::Cached;
use hcd::train::Experiment;
use std::time::Instant;

pub fn run(args: CacheArgs) -> anyhow::Result<()> {
    let resolved = config::load(args.source.recipe.as_deref(), &args.source.overrides()?)?;
    let recipe = &resolved.recipe;
    let Some(folder) = recipe.teacher.as_ref().and_then(|teacher| teacher.cache.as_deref()) else {
        let message = "where are the answers to be kept? give --cache DIR, or teacher.cache in the recipe";
        return Err(hcd::Error::Recipe(message.to_owned()).into());
    };
    let refuse = |message: String| Err(hcd::Error::Recipe(message).into());
    match args.verify {
        Some(0) => return refuse("--verify 0: must be at least 1".to_owned()),
        Some(_) if !Cached::is_in(folder) => {
            let shown = folder.display();
            return refuse(format!(
                "{shown}: holds no teacher's answers to verify; fill it without --verify"
            ));
        }
        _ => {}
    }
    let experiment = session::prepare(recipe)?;
    let mut cached = session::cached_teacher(&experiment, folder)?;
    match args.verify {
        Some(entries) => {
            verify(&experiment, &mut cached, usize::try_from(entries).unwrap_or(usize::MAX), args.json)
        }
        None => fill(&experiment, &mut cached, args.json),
    }
}

/// Fills the cache, and tells how long it took.
fn fill(experiment: &Experiment, cached: &mut Cached, json: bool) -> anyhow::Result<()> {
    let began = Instant::now();
    session::announce(experiment, cached, &[experiment.recipe.seed])?;
    session::fill(experiment, cached)?;
    let ([asked, _], seconds) = (cached.counts(), began.elapsed().as_secs_f64());
    let views = experiment.view_numbers(experiment.recipe.seed).len() as u64;
    if json {
        return output::json(&serde_json::json!({
            "cache": cached.folder(),
            "views": views,
            "samples": cached.key().samples,
            "bytes": views * cached.key().view_bytes(),
            "looked_at": asked,
            "seconds": seconds,
        }));
    }
    let shown = cached.folder().display();
    output::line(&format!("{shown}: {views} views are there; looked at {asked} images in {seconds:.1} s"));
    Ok(())
}

/// Asks again, and tells what came of it; answers that rounding does not explain are an error.
fn verify(experiment: &Experiment, cached: &mut Cached, entries: usize, json: bool) -> anyhow::Result<()> {
    let numbers = experiment.view_numbers(experiment.recipe.seed);
    let found = cached.verify(&experiment.loader()?, &numbers, entries)?;
    let shown = cached.folder().display();
    if found.difference > found.allowed {
        return Err(hcd::Error::Run(format!(
            "{shown}: {} answers asked again differ by up to {:.3e}, where rounding explains {:.3e}; remove it and fill it \
             anew",
            found.entries, found.difference, found.allowed
        ))
        .into());
    }
    if json {
        return output::json(&found);
    }
    output::line(&format!(
        "{shown}: {} answers asked again differ by up to {:.3e}, where numbers reach {:.3e} and rounding explains {:.3e}; \
         {} were not there",
        found.entries, found.difference, found.largest, found.allowed, found.missing
    ));
    Ok(())
}
