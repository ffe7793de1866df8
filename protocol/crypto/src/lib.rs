//! The cryptography of the Holepunch stack, by libsodium's rules.
