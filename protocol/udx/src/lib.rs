//! UDX: reliable, multiplexed streams over UDP.
