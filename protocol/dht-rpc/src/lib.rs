//! Kademlia requests, queries and NAT sampling.
