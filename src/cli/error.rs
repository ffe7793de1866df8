//! Why the program ends without having done what it was asked to.

use std::process::ExitCode;

/// One line for the user, and the exit code that goes with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The command line or the environment is wrong: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// It was right, but what it asks for cannot be done here and now: exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// A wrong command line or environment.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::Usage(message.into())
    }

    /// Something outside the command line that stands in the way.
    pub fn failed(message: impl Into<String>) -> Failure {
        Failure::Failed(message.into())
    }

    /// The code that the process ends with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Failed(_) => ExitCode::from(1),
        }
    }
}
