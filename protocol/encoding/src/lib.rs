//! The compact encoding of the Holepunch stack, bounded, and JavaScript's JSON.
