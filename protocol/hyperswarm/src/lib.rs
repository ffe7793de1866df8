//! Topics, peers and retries over HyperDHT.
