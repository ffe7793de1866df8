//! The command line: flags, subcommands, start-up, shutdown.
//!
//! `intercom` alone is the peer, whose arguments have the original's lenient forms ([`args`]); `intercom dht`,
//! `intercom relay`, `intercom demo` and others are commands of their own with arguments as usual.

pub mod args;
pub mod banner;
mod commands;
pub mod config;
mod error;
pub mod flags;
mod output;
mod signals;
mod store_lock;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

pub use error::Failure;
pub use store_lock::StoreLock;

/// The variables that choose what is logged, in the form of `tracing`'s `EnvFilter`; the first that is set counts.
const LOG_VARIABLES: [&str; 2] = ["INTERCOM_LOG", "RUST_LOG"];

/// A native peer of the Intercom network.
#[derive(Debug, Parser)]
#[command(
    name = "intercom",
    version,
    override_usage = "intercom [LABEL] [--FLAG [VALUE]]...\n       intercom <COMMAND>",
    after_help = flags::usage(),
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a DHT node: the first of a private network, or a further one that stores for others
    Dht(commands::DhtArgs),
    /// Say what network this machine has, and what to do about it
    Doctor(commands::DoctorArgs),
    /// Run a blind relay: a place where peers meet that cannot reach each other
    Relay(commands::RelayArgs),
    /// Look after a store while no peer uses it
    Store(commands::StoreArgs),
    /// Run a private network with two peers in this process, let them exchange messages, and stay up
    Demo(commands::DemoArgs),
    /// Say why messages on a channel are not received or not sent, and what mends it
    Explain(commands::ExplainArgs),
    /// Show, import and export the identity of a peer
    Keys(commands::KeysArgs),
    /// Print the completions of a shell
    Completions(commands::CompletionsArgs),
    /// Print a manual page
    Man(commands::ManArgs),
}

/// What the command line asks for.
#[derive(Debug)]
enum Request {
    Peer(Vec<String>),
    Command(Command),
    /// Text for standard output.
    Print(String),
}

/// What `intercom --help` prints.
pub fn help() -> String {
    Cli::command().render_long_help().to_string()
}

/// The program with all commands and, unlike [`help`], with a peer's flags as arguments: what completions and manual pages are made
/// of, and what the guides must name.
pub fn reference() -> clap::Command {
    let label = clap::Arg::new("label").value_name("LABEL").help("Name of the peer's store, where no flag names it");
    let program = Cli::command().after_help("").arg(label);
    flags::GROUPS.iter().fold(program, |program, (heading, flags)| {
        flags.iter().fold(program, |program, flag| program.arg(flag.to_arg().help_heading(*heading)))
    })
}

/// Runs the program on the arguments of this process.
pub fn main() -> ExitCode {
    let done = request(std::env::args_os().skip(1)).and_then(|request| match request {
        Request::Print(text) => {
            output::text(&text);
            Ok(ExitCode::SUCCESS)
        }
        Request::Peer(args) => {
            let env = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
            let mut warnings = Vec::new();
            let config = config::PeerConfig::read(&args::Arguments::parse(args), &env, &mut warnings);
            for warning in warnings {
                output::error_line(&format!("warning: {warning}"));
            }
            let config = config?;
            log(if config.bridge.as_ref().is_some_and(|bridge| bridge.debug) {
                "warn,sc_bridge=debug"
            } else {
                "warn"
            });
            run(commands::peer(config))
        }
        Request::Command(Command::Dht(args)) => {
            log("warn");
            run(commands::dht(args))
        }
        Request::Command(Command::Doctor(args)) => {
            log("error");
            run(commands::doctor(args))
        }
        Request::Command(Command::Relay(args)) => {
            log("warn");
            run(commands::relay(args))
        }
        Request::Command(Command::Store(args)) => {
            log("warn");
            commands::store(args)
        }
        Request::Command(Command::Demo(args)) => {
            log("warn");
            run(commands::demo(args))
        }
        Request::Command(Command::Explain(args)) => {
            log("warn");
            run(commands::explain(args))
        }
        Request::Command(Command::Keys(args)) => {
            log("warn");
            commands::keys(args)
        }
        Request::Command(Command::Completions(args)) => commands::completions(&args),
        Request::Command(Command::Man(args)) => commands::man(&args),
    });
    let code = done.unwrap_or_else(|failure| {
        output::error_line(&format!("error: {failure}"));
        failure.exit_code()
    });
    output::flush();
    code
}

/// Understands the arguments after the program's name.
fn request(args: impl Iterator<Item = OsString>) -> Result<Request, Failure> {
    let args = args
        .map(|arg| {
            arg.into_string().map_err(|arg| Failure::usage(format!("argument {} is not UTF-8", arg.to_string_lossy())))
        })
        .collect::<Result<Vec<String>, Failure>>()?;
    let is_command = args.first().is_some_and(|first| {
        matches!(first.as_str(), "-h" | "-V" | "help") || Cli::command().find_subcommand(first).is_some()
    });
    if !is_command && !args.iter().any(|arg| matches!(arg.as_str(), "--help" | "--version")) {
        return Ok(Request::Peer(args));
    }
    // A peer's own arguments are none of clap's business, also beside `--help`.
    let args = if is_command {
        args
    } else {
        args.into_iter().filter(|arg| *arg == "--help" || *arg == "--version").collect()
    };
    match Cli::try_parse_from(std::iter::once("intercom".to_owned()).chain(args)) {
        Ok(Cli { command: Some(command) }) => Ok(Request::Command(command)),
        Ok(Cli { command: None }) => Ok(Request::Print(help())),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Ok(Request::Print(error.render().to_string()))
        }
        Err(error) => Err(Failure::usage(one_line(&error.render().to_string()))),
    }
}

/// What is wrong and what was probably meant, of a message in which clap goes on with how it would be right.
fn one_line(rendered: &str) -> String {
    let said = rendered.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let said = said.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    format!(
        "{}; see --help",
        said.strip_prefix("error: ")
            .unwrap_or(&said)
            .trim_end_matches("For more information, try '--help'.")
            .trim_end()
    )
}

/// Logs go to standard error.
fn log(default: &str) {
    let chosen = LOG_VARIABLES.iter().find_map(|name| std::env::var(name).ok());
    let filter = EnvFilter::new(chosen.as_deref().unwrap_or(default));
    // A second attempt, in tests, finds the first one's subscriber and leaves it.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(output::log)
        .with_ansi(io::stderr().is_terminal())
        .try_init();
}

/// Runs a command to its end on one thread.
fn run(command: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let done = runtime.block_on(command);
    // What still runs has had its time; a name that is being resolved must not hold up the end.
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(args: &[&str]) -> Result<Request, Failure> {
        request(args.iter().map(OsString::from))
    }

    #[test]
    fn commands_are_told_from_peers() {
        for args in [&[] as &[&str], &["mystore"], &["--sc-bridge", "1"], &["-x"], &["--peer-store-name", "dht"]] {
            assert!(matches!(asked(args), Ok(Request::Peer(rest)) if rest == args), "{args:?}");
        }
        assert!(matches!(asked(&["dht", "--port", "0"]), Ok(Request::Command(Command::Dht(_)))));
        assert!(matches!(asked(&["demo", "--once"]), Ok(Request::Command(Command::Demo(_)))));
    }

    #[test]
    fn help_and_version_are_printed_wherever_they_stand() {
        for args in [&["--help"] as &[&str], &["-h"], &["help"], &["mystore", "--sc-bridge", "--help"]] {
            let text = match asked(args) {
                Ok(Request::Print(text)) => text,
                other => panic!("{args:?}: {other:?}"),
            };
            assert!(text.contains("--sc-bridge-token") && text.contains("demo"), "{args:?}: {text}");
        }
        for args in [&["--version"] as &[&str], &["-V"], &["mystore", "--version"]] {
            assert!(matches!(asked(args), Ok(Request::Print(text)) if text.contains(env!("CARGO_PKG_VERSION"))));
        }
    }

    #[test]
    fn wrong_arguments_of_a_command_are_one_line() {
        for args in [&["dht", "--prot", "1"] as &[&str], &["dht", "--port", "x"], &["demo", "now"]] {
            match asked(args) {
                Err(Failure::Usage(line)) => {
                    assert!(
                        !line.contains('\n') && line.ends_with("; see --help") && line.matches("--help").count() == 1,
                        "{line}"
                    );
                }
                other => panic!("{args:?}: {other:?}"),
            }
        }
    }
}
