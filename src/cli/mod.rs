//! The command line: flags, subcommands, start-up, shutdown.

use std::process::ExitCode;

/// What `intercom --help` prints.
pub fn help() -> String {
    "--sc-bridge-token".into()
}

/// Runs the program on the arguments of this process.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
