//! The project's own chores, as `cargo xtask <chore>`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod check;
mod fashion_mnist;
mod levels;
mod sanitize;
mod tidy;

/// The project's own chores.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    Check(check::Args),
    FashionMnist(fashion_mnist::Args),
    Sanitize(sanitize::Args),
}

fn main() -> ExitCode {
    let outcome = match Args::parse().chore {
        Chore::Check(args) => check::run(&args),
        Chore::FashionMnist(args) => fashion_mnist::run(&args),
        Chore::Sanitize(args) => sanitize::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace, wherever the chore was called from.
fn root() -> PathBuf {
    // As `cargo run` says now, not as it was when this was built: a target folder may serve several copies.
    let here =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or(env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().map_or(here.clone(), Path::to_path_buf)
}
