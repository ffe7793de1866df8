//! The flags of the web page.

use super::inputs::Inputs;
use crate::cli::error::Failure;

/// The port that the original's page is served at.
const DEFAULT_PORT: u16 = 5070;

/// The web page flags.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the flag of its name, which the table of flags describes")]
pub struct UiConfig {
    pub host: String,
    pub port: u16,
}

impl UiConfig {
    /// `None` where the page is off.
    pub(super) fn read(inputs: &mut Inputs<'_>, has_bridge: bool) -> Result<Option<UiConfig>, Failure> {
        let enabled = inputs.switch("ui", false);
        let host = inputs.text("ui-host").unwrap_or_else(|| "127.0.0.1".into());
        let port = inputs.number("ui-port", 0.0, f64::from(u16::MAX), "a port, 0 to 65535")?;
        if !enabled {
            return Ok(None);
        }
        if !has_bridge {
            inputs.warnings.push(
                "--ui serves a page that needs an SC-Bridge to talk to; add --sc-bridge 1 --sc-bridge-token TOKEN"
                    .into(),
            );
        }
        Ok(Some(UiConfig { host, port: port.map_or(DEFAULT_PORT, |port| port as u16) }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::PeerConfig;
    use super::*;
    use crate::cli::args::Arguments;

    fn read(args: &[&str]) -> (Result<Option<UiConfig>, String>, Vec<String>) {
        let mut warnings = Vec::new();
        let config = PeerConfig::read(&Arguments::parse(args.iter().copied()), &|_| None, &mut warnings);
        (config.map(|config| config.ui).map_err(|error| error.to_string()), warnings)
    }

    #[test]
    fn the_page_is_off_unless_it_is_asked_for() {
        let on = |host: &str, port| Ok(Some(UiConfig { host: host.into(), port }));
        let bridge = ["--sc-bridge", "1", "--sc-bridge-token", "t"];
        let with = |args: &[&'static str]| read(&[&bridge[..], args].concat()).0;
        assert_eq!(with(&[]), Ok(None));
        assert_eq!(with(&["--ui-port", "80"]), Ok(None));
        assert_eq!(with(&["--ui", "1"]), on("127.0.0.1", 5070));
        assert_eq!(with(&["--ui", "1", "--ui-host", "::1", "--ui-port", "0"]), on("::1", 0));
        assert!(with(&["--ui", "1", "--ui-port", "x"]).is_err_and(|error| error.contains("--ui-port")));
    }

    #[test]
    fn a_page_without_a_bridge_is_served_with_a_warning() {
        let (config, warnings) = read(&["--ui", "1"]);
        assert_eq!(config, Ok(Some(UiConfig { host: "127.0.0.1".into(), port: 5070 })));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("--sc-bridge 1"), "{warnings:?}");
    }
}
