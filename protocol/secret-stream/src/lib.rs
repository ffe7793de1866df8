//! Noise-secured framed streams.
