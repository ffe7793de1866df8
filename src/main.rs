//! `intercom`: a native peer of the Intercom network.

fn main() -> anyhow::Result<()> {
    Ok(())
}
