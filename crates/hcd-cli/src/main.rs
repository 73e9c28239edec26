//! The `hcd` command: arguments in, one sub-command a file, results on stdout, the rest on stderr.

mod args;
mod budget;
mod cell;
mod command;
mod grouping;
mod output;
mod profile;
mod progress;
mod publish;
mod round;
mod session;

use args::{Arguments, Command};
use clap::Parser;
use hcd_kernels::counted::Counted;
use std::process::ExitCode;

/// Training allocates and frees the same large tensors in every step; mimalloc keeps their pages once it is told to.
#[global_allocator]
static ALLOCATOR: Counted<mimalloc::MiMalloc> = Counted(mimalloc::MiMalloc);

fn main() -> ExitCode {
    hcd_kernels::memory::keep();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return output::usage(&error),
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::failure(&error),
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    session::use_threads(arguments.threads)?;
    session::use_device(&arguments.device)?;
    profile::start_if_wanted();
    run_command(arguments.command)?;
    profile::tell();
    output::delivered()
}

fn run_command(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Demo(args) => command::demo::run(args),
        Command::Train(args) => command::train::run(args),
        Command::Distill(args) => command::distill::run(args),
        Command::CacheTeacher(args) => command::cache_teacher::run(args),
        Command::Compare(args) => command::compare::run(args),
        Command::Report(args) => command::report::run(args),
        Command::Views(args) => command::views::run(args),
        Command::Data(args) => command::data::run(args),
        Command::Evaluate(args) => command::evaluate::run(args),
        Command::Predict(args) => command::predict::run(args),
        Command::Features(args) => command::features::run(args),
        Command::Export(args) => command::export::run(args),
        Command::Models(args) => command::models::run(args),
        Command::Methods(args) => command::methods::run(args),
        Command::Recipe(args) => command::recipe::run(args),
    }
}
