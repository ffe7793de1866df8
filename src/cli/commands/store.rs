//! `intercom store`: what can be done with a store while no peer uses it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use data_encoding::HEXLOWER;
use hypercore::{CheckReport, Durability, Error, Store};

use crate::cli::error::Failure;
use crate::cli::output;

/// The arguments of `intercom store`.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Verify every hash and every signature in a store, and say what is wrong
    #[command(
        after_help = "Nothing is changed. Exit code 0: all is well; 1: something is wrong, or the store cannot be read."
    )]
    Check {
        /// The store's directory
        dir: PathBuf,
    },
    /// Move the cores of a JavaScript peer's store over, verified as they are read (in a build with the feature import)
    #[command(
        after_help = "The JavaScript store is not changed. The new one is there when all of it is on the disk and was checked, or not \
                      at all. Exit code 0: everything was carried; 3: what the lines name was not, or not all of it; 1: there is no new \
                      store."
    )]
    Import {
        /// The folder that JavaScript's corestore was given
        dir: PathBuf,
        /// The new store's directory, which must not exist [default: DIR-imported, beside it]
        #[arg(long, value_name = "NEW")]
        into: Option<PathBuf>,
    },
}

/// Runs a command on a store.
pub(crate) fn store(args: StoreArgs) -> Result<ExitCode, Failure> {
    match args.command {
        StoreCommand::Check { dir } => check(dir),
        StoreCommand::Import { dir, into } => super::import::import(&dir, into),
    }
}

fn check(dir: PathBuf) -> Result<ExitCode, Failure> {
    let failed = |error: Error| Failure::failed(format!("store {}: {error}", dir.display()));
    if !Store::exists(&dir) {
        return Err(Failure::failed(format!("there is no store in {}", dir.display())));
    }
    let store = Store::open(&dir, Durability::System).map_err(failed)?;
    let report = store.check(|_| ()).map_err(failed)?;
    print(&report);
    Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what a check found.
pub(super) fn print(report: &CheckReport) {
    for (core, problem) in &report.problems {
        output::line(&format!("{}: {problem}", HEXLOWER.encode(core)));
    }
    if report.more_problems > 0 {
        output::line(&format!("and {} more", report.more_problems));
    }
    output::line(&format!(
        "{} cores, {} drafts, {} blocks of {} bytes, {} tree nodes, {} signatures: {}",
        report.cores,
        report.drafts,
        report.blocks,
        report.bytes,
        report.nodes,
        report.signatures,
        if report.is_whole() { "all is well" } else { "something is wrong" }
    ));
}
