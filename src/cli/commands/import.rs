//! `intercom store import`: a JavaScript peer's cores.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::error::Failure;

#[cfg(not(feature = "import"))]
pub(super) fn import(_: &Path, _: Option<PathBuf>) -> Result<ExitCode, Failure> {
    Err(Failure::failed(
        "this build cannot read JavaScript stores: build it with `cargo build --release --features import`",
    ))
}

/// Imports the store in `from`.
#[cfg(feature = "import")]
pub(super) fn import(from: &Path, into: Option<PathBuf>) -> Result<ExitCode, Failure> {
    use crate::cli::output;

    let into = match into {
        Some(into) => into,
        None => beside(from).ok_or_else(|| Failure::usage("name the new store with --into"))?,
    };
    let done = corestore_import::import_folder(from, &into, &mut |core| {
        for line in lines(core) {
            output::line(&line);
        }
    });
    let (report, check) = done.map_err(|error| Failure::failed(format!("nothing was imported: {error}")))?;
    for problem in &report.problems {
        output::line(&format!("the store: {problem}"));
    }
    super::store::print(&check);
    let refused = match report.refused() {
        0 => String::new(),
        count => format!(", {count} of them refused"),
    };
    output::line(&format!("{} cores of {}{refused}: {}", report.cores.len(), from.display(), into.display()));
    Ok(if report.is_exact() { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

/// `DIR-imported`.
#[cfg(feature = "import")]
fn beside(from: &Path) -> Option<PathBuf> {
    let from = std::path::absolute(from).ok()?;
    let mut name = from.file_name()?.to_owned();
    name.push("-imported");
    Some(from.with_file_name(name))
}

/// What is said of a core.
#[cfg(feature = "import")]
fn lines(core: &corestore_import::CoreReport) -> Vec<String> {
    use corestore_import::Outcome;
    use data_encoding::HEXLOWER;

    let key = core.key.map_or_else(
        || format!("the core with the discovery key {}", HEXLOWER.encode(&core.discovery_key)),
        |key| HEXLOWER.encode(&key),
    );
    // A name is somebody's text.
    let name = core.name.as_ref().map_or_else(String::new, |name| format!(" {name:?}"));
    let said = match &core.outcome {
        Outcome::Refused(reason) => format!("refused: {reason}"),
        Outcome::Carried => {
            let drafts = match core.drafts {
                0 => String::new(),
                drafts => format!(", {drafts} drafts"),
            };
            let writable = if core.is_writable { ", writable" } else { "" };
            format!(
                "{} of {} blocks, {} bytes, fork {}{drafts}{writable}",
                core.blocks, core.length, core.bytes, core.fork
            )
        }
    };
    let mut lines = vec![format!("{key}{name}: {said}")];
    lines.extend(core.problems.iter().map(|problem| format!("  {problem}")));
    if core.more_problems > 0 {
        lines.push(format!("  and {} more", core.more_problems));
    }
    lines
}
