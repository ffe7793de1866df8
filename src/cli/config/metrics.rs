//! The flags of the metrics.

use super::Inputs;
use crate::cli::error::Failure;
use crate::metrics::MetricsOptions;

/// `None` where they are off.
pub(super) fn read(inputs: &mut Inputs<'_>) -> Result<Option<MetricsOptions>, Failure> {
    let host = inputs.text("metrics-host");
    let port = inputs.number("metrics-port", 0.0, f64::from(u16::MAX), "a port, 0 to 65535")?;
    let default = MetricsOptions::default();
    match port {
        Some(port) => Ok(Some(MetricsOptions { host: host.unwrap_or(default.host), port: port as u16 })),
        None => {
            if host.is_some() {
                inputs.warnings.push("--metrics-host does nothing without --metrics-port PORT".into());
            }
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::PeerConfig;
    use super::*;
    use crate::cli::args::Arguments;

    fn metrics(args: &[&str]) -> (Result<Option<MetricsOptions>, String>, usize) {
        let mut warnings = Vec::new();
        let config = PeerConfig::read(&Arguments::parse(args.iter().copied()), &|_| None, &mut warnings);
        (config.map(|config| config.metrics).map_err(|error| error.to_string()), warnings.len())
    }

    #[test]
    fn they_are_off_unless_a_port_is_given() {
        let on = |host: &str, port| (Ok(Some(MetricsOptions { host: host.into(), port })), 0);
        assert_eq!(metrics(&[]), (Ok(None), 0));
        assert_eq!(metrics(&["--metrics-port", "9100"]), on("127.0.0.1", 9100));
        assert_eq!(metrics(&["--metrics-port", "0", "--metrics-host", "::"]), on("::", 0));
        assert_eq!(metrics(&["--metrics-host", "0.0.0.0"]), (Ok(None), 1));
        assert!(metrics(&["--metrics-port", "x"]).0.is_err_and(|error| error.contains("--metrics-port")));
    }
}
