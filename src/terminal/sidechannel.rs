//! The commands of the sidechannel.

use std::io::{self, Read};

use data_encoding::BASE64;
use encoding::json::{JsString, Object, Value, parse, parse_int, trim, truthy};

use super::Terminal;
use super::printed::Printed;
use crate::arguments::Arguments;
use crate::bridge::parse_base64_json;
use crate::sidechannel::SendOptions;

const CHANNEL: &[&str] = &["channel", "ch", "name"];
const INVITE: &[&str] = &["invite", "invite_b64", "invitebase64"];
const WELCOME: &[&str] = &["welcome", "welcome_b64", "welcomebase64"];

/// So much is read of a file with an invite or a welcome. They have about one kilobyte.
const MAX_CREDENTIAL_BYTES: u64 = 1 << 20;

const INVALID_WELCOME: &str = "Invalid welcome. Pass JSON, base64, or @file.";

impl Terminal {
    pub(super) async fn join(&self, line: &str, out: &mut Printed) -> Result<(), String> {
        let arguments = Arguments::parse(line)?;
        let Some(channel) = arguments.text(CHANNEL) else {
            out.line(r#"Usage: /sc_join --channel "<name>" [--invite <json|b64|@file>] [--welcome <json|b64|@file>]"#);
            return Ok(());
        };
        let Some((invite, welcome)) = credentials(&arguments, out) else { return Ok(()) };
        self.accept(channel, invite.as_ref(), welcome.as_ref());
        if self.sidechannel.add_channel(channel).await.map_err(|error| error.to_string())? {
            out.line(format!("Joined sidechannel: {channel}"));
        } else {
            out.line("Join denied (invite required or invalid).");
        }
        Ok(())
    }

    pub(super) async fn send(&self, line: &str, out: &mut Printed) -> Result<(), String> {
        let arguments = Arguments::parse(line)?;
        let (Some(channel), Some(message)) = (arguments.text(CHANNEL), arguments.pick(&["message", "msg"])) else {
            out.line(
                r#"Usage: /sc_send --channel "<name>" --message "<text>" [--invite <json|b64|@file>] [--welcome <json|b64|@file>]"#,
            );
            return Ok(());
        };
        let Some((invite, welcome)) = credentials(&arguments, out) else { return Ok(()) };
        self.accept(channel, invite.as_ref(), welcome.as_ref());
        if !self.sidechannel.add_channel(channel).await.map_err(|error| error.to_string())? {
            out.line("Send denied (invite required or invalid).");
            return Ok(());
        }
        if !self.sidechannel.broadcast(channel, message.into(), SendOptions { invite, welcome: None }).await {
            out.line("Send denied (owner-only or invite required).");
        }
        Ok(())
    }

    pub(super) async fn open(&self, line: &str, out: &mut Printed) -> Result<(), String> {
        let arguments = Arguments::parse(line)?;
        let Some(channel) = arguments.text(CHANNEL) else {
            out.line(
                r#"Usage: /sc_open --channel "<name>" [--via "<channel>"] [--invite <json|b64|@file>] [--welcome <json|b64|@file>]"#,
            );
            return Ok(());
        };
        let Some((invite, welcome)) = credentials(&arguments, out) else { return Ok(()) };
        let welcome = welcome.or_else(|| self.sidechannel.welcome(channel));
        let via = arguments.text(&["via", "channel_via"]);
        self.sidechannel.request_open(channel, via, invite, welcome).await;
        out.line(format!("Requested channel: {channel}"));
        Ok(())
    }

    pub(super) fn invite(&self, line: &str, out: &mut Printed) -> Result<(), String> {
        let arguments = Arguments::parse(line)?;
        let invitee = arguments.text(&["pubkey", "invitee", "peer", "key"]);
        let (Some(channel), Some(invitee)) = (arguments.text(CHANNEL), invitee) else {
            out.line(
                r#"Usage: /sc_invite --channel "<name>" --pubkey "<peer-pubkey-hex>" [--ttl <sec>] [--welcome <json|b64|@file>]"#,
            );
            return Ok(());
        };
        let Some(welcome) = credential(&arguments, WELCOME, INVALID_WELCOME, out) else { return Ok(()) };
        // A time that is no number is none: then no invite can be made.
        let ttl_ms = arguments.pick(&["ttl", "ttl_sec", "ttl_s"]).map(|ttl| {
            let seconds = parse_int(ttl.unwrap_or("null"), 10);
            if seconds.is_finite() { (seconds.max(0.0) * 1000.0) as u64 } else { 0 }
        });
        match self.sidechannel.create_invite(channel, &trim(invitee).to_lowercase(), ttl_ms, welcome) {
            Some(invite) => print_signed("invite_b64", &invite, out),
            None => out.line("Invite TTL is required. Pass --ttl <sec> or set --sidechannel-invite-ttl."),
        }
        Ok(())
    }

    pub(super) fn welcome(&self, line: &str, out: &mut Printed) -> Result<(), String> {
        let arguments = Arguments::parse(line)?;
        let text = arguments.pick(&["text", "message", "msg"]);
        let (Some(channel), Some(text)) = (arguments.text(CHANNEL), text) else {
            out.line(r#"Usage: /sc_welcome --channel "<name>" --text "<message>""#);
            return Ok(());
        };
        let welcome = self.sidechannel.create_welcome(channel, text.unwrap_or("null"));
        print_signed("welcome_b64", &welcome, out);
        Ok(())
    }

    fn accept(&self, channel: &str, invite: Option<&Value>, welcome: Option<&Value>) {
        match (invite, welcome) {
            (Some(invite), welcome) => drop(self.sidechannel.accept_invite(channel, invite, welcome)),
            (None, Some(welcome)) => drop(self.sidechannel.accept_welcome(channel, welcome)),
            (None, None) => {}
        }
    }

    pub(super) fn channel_stats(&self, out: &mut Printed) {
        let stats = Object::new()
            .with("channels", self.sidechannel.channels())
            .with("connectionCount", self.sidechannel.connection_count());
        out.value(&stats.into());
    }

    /// Says why messages on a channel are not received or not sent. Not in the original.
    pub(super) fn why(&self, line: &str, out: &mut Printed) -> Result<(), String> {
        let arguments = Arguments::parse(line)?;
        let named = arguments.text(CHANNEL).map(str::to_owned);
        // The name alone is enough: `/sc_why room`.
        let channel = named.or_else(|| arguments.lone().filter(|name| !name.starts_with("--")).map(str::to_owned));
        let Some(channel) = channel else {
            out.line(r#"Usage: /sc_why --channel "<name>""#);
            return Ok(());
        };
        self.sidechannel.explain(&channel).lines().into_iter().for_each(|line| out.line(line));
        Ok(())
    }
}

/// Prints a signed document as JSON and, under a name, in base64.
fn print_signed(name: &str, document: &Value, out: &mut Printed) {
    let json = document.to_string();
    let base64 = BASE64.encode(json.as_bytes());
    out.line(json);
    out.line(format!("{name}: {base64}"));
}

/// The invite and the welcome of a command. `None`, and the user told, if one of them cannot be read.
fn credentials(arguments: &Arguments, out: &mut Printed) -> Option<(Option<Value>, Option<Value>)> {
    let invite = credential(arguments, INVITE, "Invalid invite. Pass JSON, base64, or @file.", out)?;
    let welcome = credential(arguments, WELCOME, INVALID_WELCOME, out)?;
    Some((invite, welcome))
}

/// The invite or the welcome of a command, `Some(None)` if it has none. `None`, and the user told, if it cannot be read.
fn credential(arguments: &Arguments, names: &[&str], complaint: &str, out: &mut Printed) -> Option<Option<Value>> {
    let Some(text) = arguments.text(names) else { return Some(None) };
    let value = parse_credential(text);
    if value.is_none() {
        out.line(complaint);
    }
    value.map(Some)
}

/// The content of a file. Only of a file: a pipe or a device would hold up the peer, or never end.
fn read_credential(path: &str) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut content = Vec::new();
    std::fs::File::open(path)?.take(MAX_CREDENTIAL_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

/// An invite or a welcome as JSON, in base64, or in a file that `@` goes before. Unlike a client's, text that begins with `{` and
/// is not JSON is tried as base64 too.
fn parse_credential(text: &str) -> Option<Value> {
    let text = trim(text);
    let from_file;
    let text = match text.strip_prefix('@') {
        Some(path) => {
            from_file = read_credential(path).ok()?;
            trim(std::str::from_utf8(&from_file).ok()?)
        }
        None => text,
    };
    let text = text.strip_prefix("b64:").unwrap_or(text);
    let json = if text.starts_with('{') { parse(text).ok() } else { None };
    json.or_else(|| parse_base64_json(&JsString::from(text))).filter(truthy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_as_json_in_base64_or_in_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("welcome");
        std::fs::write(&path, " b64:eyJhIjoxfQ==\n").expect("written");
        let from_file = format!("@{}", path.display());
        for text in [r#"{"a":1}"#, " eyJhIjoxfQ", "b64:eyJhIjoxfQ==", &from_file] {
            let value = parse_credential(text).map(|value| value.to_string());
            assert_eq!(value.as_deref(), Some(r#"{"a":1}"#), "{text}");
        }
        for text in ["", "{", "@", &format!("@{}", folder.path().display()), "@/no/such/file"] {
            assert_eq!(parse_credential(text), None, "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_device_or_a_pipe_is_no_credential() {
        // Would never end.
        assert_eq!(parse_credential("@/dev/zero"), None);
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo exists");
        assert!(made.success());
        assert_eq!(parse_credential(&format!("@{}", pipe.display())), None);
    }
}
