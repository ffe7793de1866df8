//! What goes wrong with expenses.

use std::io;
use std::path::PathBuf;

/// JavaScript throws here: an object that has a `toString` of its own was to become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Cannot convert object to primitive value")]
pub struct Throw;

/// Why a ledger cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the expenses in {}: {error}; make the file readable, or move it away", path.display())]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// What the system says.
    pub error: io::Error,
}

/// Why an expense, a snapshot or a command is refused. The texts are those that clients match on.
#[derive(Debug, thiserror::Error)]
pub enum InterSplitError {
    /// It has no payer: name one.
    #[error("Missing payer.")]
    MissingPayer,
    /// It has no amount of at least one cent and below 2^53 cents.
    #[error("Invalid amount. Use a positive number.")]
    InvalidAmount,
    /// Nobody shares it: name members, parted by commas.
    #[error("Missing split members. Use comma-separated names.")]
    MissingMembers,
    /// A value has no text: give text or a number.
    #[error(transparent)]
    Throw(#[from] Throw),
    /// The ledger holds as much as it may: persist or export the room, and clear it.
    #[error("The ledger is full: {0}.")]
    Full(&'static str),
    /// The file could not be written, so nothing was done: make room or repair the disk, and do it again.
    #[error("Failed to save the ledger: {0}")]
    Save(String),
    /// Only the room's owner, or the author of expenses for these, may clear here.
    #[error("Clear denied (only the owner or the author of expenses may clear this room).")]
    ClearDenied,
}
