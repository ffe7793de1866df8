//! SC-Bridge against real WebSocket clients and a sidechannel that is none: every command's exact bytes, and what hostile
//! clients get.

mod commands;
mod hostile;
mod setup;
