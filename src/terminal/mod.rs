//! The terminal: its commands, the prompt at which people type them, and the lines that come from standard input otherwise.
//!
//! Names, aliases of arguments, texts and the order in which names are tried are the original's (intercom `contract/protocol.js`,
//! trac-peer `src/terminal`). Commands of the subnet and of the settlement plane answer as the original does where these are not
//! ready.
//!
//! The parts: [`Terminal`] runs a line; [`Input`] takes lines from a person at a prompt or from a pipe; [`Writer`] takes what is
//! printed to whoever reads it, and holds up nobody.

mod commands;
mod complete;
mod editor;
mod help;
mod history;
mod input;
mod inspect;
mod printed;
mod sidechannel;
mod subnet;
mod tap;
mod writer;

use std::sync::Arc;

use data_encoding::HEXLOWER;
use tokio::sync::Notify;

use crate::arguments::Arguments;
use crate::bridge::{CommandOutput, Commands, Operation};
use crate::identity::Identity;
use crate::intersplit::{self, InterSplit};
use crate::sidechannel::{Console, Sidechannel};
use printed::Printed;

pub use commands::{COMMANDS, CommandNames};
pub use input::{Input, InputOptions};
pub use subnet::MSB_BOOTSTRAP;
pub use tap::Tap;
pub use writer::{LogLine, MAX_WAITING, Sink, Standard, Stream, Writer};

/// A peer's terminal.
#[derive(Clone)]
pub struct Terminal {
    sidechannel: Sidechannel,
    identity: Identity,
    subnet: Option<[u8; 32]>,
    console: Console,
    exit: Arc<Notify>,
    expenses: Option<InterSplit>,
    tap: Tap,
}

impl Terminal {
    /// A terminal of this sidechannel and identity, which prints to `console`; `exit` is notified when a command asks the peer to
    /// end.
    pub fn new(sidechannel: Sidechannel, identity: Identity, console: Console, exit: Arc<Notify>) -> Terminal {
        Terminal { sidechannel, identity, subnet: None, console, exit, expenses: None, tap: Tap::default() }
    }

    /// With what else prints while a command runs, which the original's clients get too.
    #[must_use]
    pub fn with_tap(self, tap: Tap) -> Terminal {
        Terminal { tap, ..self }
    }

    /// With the bootstrap key of its subnet, where one is configured.
    #[must_use]
    pub fn with_subnet(self, subnet: Option<[u8; 32]>) -> Terminal {
        Terminal { subnet, ..self }
    }

    /// With the commands of these expenses.
    #[must_use]
    pub fn with_expenses(self, expenses: InterSplit) -> Terminal {
        Terminal { expenses: Some(expenses), ..self }
    }

    async fn command(&self, line: &str, out: &mut Printed) -> Result<(), String> {
        match line {
            "/stats" => subnet::stats(&self.identity, self.subnet, self.sidechannel.connection_count(), out),
            "/help" => help::ORIGINAL.iter().chain(&help::BEYOND).for_each(|help| out.line(*help)),
            "/exit" => out.line("Exiting..."),
            "/get_keys" => {
                self.public_keys(out);
                out.secret(self.secret_key(), "Secret Key:  (told to a client of the SC-Bridge)");
            }
            _ => return self.prefixed(line, out).await,
        }
        Ok(())
    }

    /// The commands that are known by how a line begins, in the original's order.
    async fn prefixed(&self, line: &str, out: &mut Printed) -> Result<(), String> {
        if let Some(done) = subnet::run(line, &self.identity, out) {
            return done;
        }
        match line {
            _ if line.starts_with("/sc_join") => self.join(line, out).await?,
            _ if line.starts_with("/sc_send") => self.send(line, out).await?,
            _ if line.starts_with("/sc_open") => self.open(line, out).await?,
            _ if line.starts_with("/sc_invite") => self.invite(line, out)?,
            _ if line.starts_with("/sc_welcome") => self.welcome(line, out)?,
            _ if line.starts_with("/sc_stats") => self.channel_stats(out),
            _ if line.starts_with("/sc_why") => self.why(line, out)?,
            _ if intersplit::commands::COMMANDS.iter().any(|name| line.starts_with(name)) => match &self.expenses {
                Some(expenses) => drop(intersplit::commands::run(expenses, line, &mut |text| out.text(text)).await?),
                None => out.line("Expense split app not initialized."),
            },
            _ if line.starts_with("/print") => {
                let text = Arguments::parse(line)?.pick(&["text"]).map(|text| text.unwrap_or("null").to_owned());
                match text {
                    Some(text) => out.text(text),
                    None => out.undefined(),
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn public_keys(&self, out: &mut Printed) {
        out.line(format!("Address:  {}", self.identity.address()));
        out.line(format!("Public Key:  {}", self.identity.public_key_hex()));
    }

    fn secret_key(&self) -> String {
        format!("Secret Key:  {}", HEXLOWER.encode(&self.identity.key_pair().secret_key()))
    }
}

impl Commands for Terminal {
    fn run(&self, line: &str) -> Operation<CommandOutput> {
        let (terminal, line) = (self.clone(), line.to_owned());
        Box::pin(async move {
            let mut out = Printed::tapped(terminal.console.clone(), &terminal.tap);
            let result = terminal.command(&line, &mut out).await.map(|()| None);
            CommandOutput { output: out.finish(), result, last: line == "/exit" }
        })
    }

    fn exit(&self) {
        self.exit.notify_one();
    }
}
