//! `hcd distill`: a student from a teacher.

use super::train::{finish, start};
use crate::args::TrainArgs;
use crate::session;
use hcd::teacher::Teacher;
use hcd::train::Objective;

pub fn run(args: TrainArgs) -> anyhow::Result<()> {
    let (resolved, folder) = start(&args.source, args.place.out.clone(), args.resume.as_deref(), "distill")?;
    if args.resume.is_some() && resolved.recipe.method.is_none() {
        let shown = folder.display();
        let message = format!("{shown}: learns from labels alone; go on with hcd train --resume {shown}");
        return Err(hcd::Error::Run(message).into());
    }
    let experiment = session::prepare(&resolved.recipe)?;
    let cache = resolved.recipe.teacher.as_ref().and_then(|teacher| teacher.cache.as_deref());
    let given = session::given_teacher(&experiment, &[resolved.recipe.seed])?;
    let (mut teacher, network): (Box<dyn Teacher>, _) = match given {
        Some(given) => (Box::new(given), None),
        None => {
            let loaded = session::load_teacher(&experiment)?;
            let network = (loaded.network.clone(), loaded.card.clone());
            let live = session::live_teacher(&experiment, loaded)?;
            let teacher: Box<dyn Teacher> = match cache {
                None => Box::new(live),
                Some(folder) => {
                    Box::new(session::keep_answers(&experiment, live, folder, &[resolved.recipe.seed])?)
                }
            };
            (teacher, Some(network))
        }
    };
    let Some(method) = &resolved.recipe.method else {
        return Err(hcd::Error::Recipe("a distillation needs a method: give --method NAME".to_owned()).into());
    };
    let mut objective = Objective::Distilled { teacher: teacher.as_mut(), method };
    finish(&resolved, &experiment, &mut objective, &folder, &args.place, network.as_ref())
}
