//! The command line: flags, subcommands, start-up, shutdown.

pub mod args;
pub mod config;
mod error;
pub mod flags;

use std::process::ExitCode;

pub use error::Failure;

/// What `intercom --help` prints about the flags of a peer.
pub fn help() -> String {
    flags::usage()
}

/// Runs the program on the arguments of this process.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
