//! `intercom store`: what can be done with a store while no peer uses it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use data_encoding::HEXLOWER;
use hypercore::{Durability, Error, Store};

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
}

/// Runs a command on a store.
pub(crate) fn store(args: StoreArgs) -> Result<ExitCode, Failure> {
    let StoreCommand::Check { dir } = args.command;
    let failed = |error: Error| Failure::failed(format!("store {}: {error}", dir.display()));
    if !Store::exists(&dir) {
        return Err(Failure::failed(format!("there is no store in {}", dir.display())));
    }
    let store = Store::open(&dir, Durability::System).map_err(failed)?;
    let report = store.check(|_| ()).map_err(failed)?;
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
    Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
