//! The web page: rooms, messages and shared expenses in a browser.
//!
//! A server of a few files, which are part of the program, and the page itself (`page/`): plain modules that speak to an
//! SC-Bridge with nothing but the original's messages, so that it works on the original's bridge too.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use intercom::ui::{Ui, UiOptions};
//!
//! let ui = Ui::listen(UiOptions { port: 0, ..UiOptions::default() }).await?;
//! println!("open http://{}", ui.local_addr());
//! # std::io::Result::Ok(())
//! # })?;
//! # std::io::Result::Ok(())
//! ```
//!
//! Whoever reaches the server gets the page, and nothing else: no secret is served, the token stays with the user. What it
//! answers and to whom is in `respond`.

mod files;
mod respond;
mod server;

pub use server::{Ui, UiOptions};
