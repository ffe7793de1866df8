//! `intercom completions` and `intercom man`: made from the definitions of the flags and commands themselves.

use std::process::ExitCode;

use clap::Args;

use crate::cli::error::Failure;
use crate::cli::{output, reference};

/// The arguments of `intercom completions`.
#[derive(Debug, Args)]
#[command(after_help = "For example: intercom completions bash > ~/.local/share/bash-completion/completions/intercom")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

/// The arguments of `intercom man`.
#[derive(Debug, Args)]
#[command(after_help = "For example: intercom man | man -l -")]
pub(crate) struct ManArgs {
    /// The command whose page it is; without it the program's own, with all flags of a peer
    command: Option<String>,
}

/// Prints the completions of a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut reference(), "intercom", &mut text);
    output::text(&String::from_utf8_lossy(&text));
    Ok(ExitCode::SUCCESS)
}

/// Prints a manual page.
pub(crate) fn man(args: &ManArgs) -> Result<ExitCode, Failure> {
    let mut program = reference();
    program.build();
    let page = match &args.command {
        None => program,
        Some(name) => {
            let found = program.find_subcommand(name).cloned();
            found.ok_or_else(|| Failure::usage(format!("there is no command \"{name}\"; see --help")))?
        }
    };
    let mut text = Vec::new();
    let written = clap_mangen::Man::new(page).render(&mut text);
    written.map_err(|error| Failure::failed(format!("the page cannot be written: {error}")))?;
    output::text(&String::from_utf8_lossy(&text));
    Ok(ExitCode::SUCCESS)
}
