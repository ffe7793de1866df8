//! A seeded network in memory.
