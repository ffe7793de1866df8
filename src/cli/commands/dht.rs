//! `intercom dht`: a DHT node.

use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;

use crate::cli::error::Failure;

/// The arguments of `intercom dht`.
#[derive(Debug, Args)]
pub(crate) struct DhtArgs {
    /// Address to bind to, and to tell others
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    host: IpAddr,
    /// UDP port to bind to; 0: any free one
    #[arg(long, default_value_t = 49737)]
    port: u16,
    /// Nodes of the network to join; without it the node is the first of its own network
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    bootstrap: Vec<String>,
    /// Only ask, and store nothing for others
    #[arg(long, requires = "bootstrap")]
    ephemeral: bool,
    /// Further nodes to run in this process, at ports of their own
    #[arg(long, value_name = "N", default_value_t = 0)]
    nodes: u16,
}

/// Runs the node until a signal comes.
pub(crate) async fn dht(args: DhtArgs) -> Result<ExitCode, Failure> {
    let _ = (args.host, args.port, args.bootstrap, args.ephemeral, args.nodes);
    Err(Failure::failed("the DHT is not part of this build"))
}
