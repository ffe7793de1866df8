//! Peers found and reached by public key.
