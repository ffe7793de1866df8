//! The `intercom` program: everything it does is in the library, so that it can be tested there.

use std::process::ExitCode;

fn main() -> ExitCode {
    intercom::cli::main()
}
