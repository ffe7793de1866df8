//! `intercom`: a native peer of the Intercom network.
//!
//! The program is a thin `main` over this library:
//!
//! ```
//! let usage = intercom::cli::help();
//! assert!(usage.contains("--sc-bridge-token"));
//! ```

mod arguments;
pub mod bridge;
pub mod cli;
mod durable;
mod http;
pub mod identity;
pub mod intersplit;
pub mod metrics;
pub mod peer;
pub mod sidechannel;
pub mod terminal;
pub mod ui;
