//! `hcd distill`: a student from a teacher.

use super::train::{finish, start};
use crate::args::TrainArgs;
use crate::session;
use hcd::teacher::Live;
use hcd::train::Objective;

pub fn run(args: TrainArgs) -> anyhow::Result<()> {
    let (resolved, folder) = start(&args.source, args.place.out.clone(), args.resume.as_deref(), "distill")?;
    if args.resume.is_some() && resolved.recipe.method.is_none() {
        let shown = folder.display();
        let message = format!("{shown}: learns from labels alone; go on with hcd train --resume {shown}");
        return Err(hcd::Error::Run(message).into());
    }
    let experiment = session::prepare(&resolved.recipe)?;
    let teacher = session::load_teacher(&experiment)?;
    let mut teacher = Live::new(teacher, &experiment.normalization, &experiment.device);
    let Some(method) = &resolved.recipe.method else {
        return Err(hcd::Error::Recipe("a distillation needs a method: give --method NAME".to_owned()).into());
    };
    let mut objective = Objective::Distilled { teacher: &mut teacher, method };
    finish(&resolved, &experiment, &mut objective, &folder, &args.place)
}
