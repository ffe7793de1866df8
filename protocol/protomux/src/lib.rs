//! Channels over a framed stream.
