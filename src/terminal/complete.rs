//! What Tab proposes: names of commands, of their arguments, and of channels.

use super::commands::COMMANDS;
use crate::arguments::tokens;

/// The arguments whose value is a channel's name.
const CHANNEL: [&str; 5] = ["--channel", "--ch", "--name", "--room", "--via"];

/// Where the text to be replaced begins, in bytes, and what may stand in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proposals {
    pub(super) from: usize,
    pub(super) texts: Vec<String>,
}

/// What may complete `line`, which is what stands before the cursor. `channels` are those of the peer.
pub(super) fn complete(line: &str, channels: impl FnOnce() -> Vec<String>) -> Proposals {
    let nothing = Proposals { from: line.len(), texts: Vec::new() };
    let Some((name, rest)) = line.split_once(' ') else {
        let texts = COMMANDS.iter().filter(|command| command.name.starts_with(line)).map(|command| {
            let more = if command.arguments.is_empty() { "" } else { " " };
            format!("{}{more}", command.name)
        });
        return if line.starts_with('/') { Proposals { from: 0, texts: texts.collect() } } else { nothing };
    };
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else { return nothing };
    let word_from = line.len() - rest.rsplit(' ').next().map_or(0, str::len);
    let (before, word) = line.split_at(word_from);
    let name_is_due = name_is_due(before);
    let argument = before.split_whitespace().next_back().unwrap_or_default();
    if name_is_due == Some(false) && CHANNEL.contains(&argument) {
        let channels = channels().into_iter().map(|channel| quoted(&channel));
        return Proposals { from: word_from, texts: channels.filter(|name| name.starts_with(word)).collect() };
    }
    if name_is_due != Some(true) {
        return nothing;
    }
    let given: Vec<&str> = before.split(' ').collect();
    let names = command.arguments.iter().map(|name| format!("--{name}"));
    let texts = names.filter(|name| name.starts_with(word) && !given.contains(&name.as_str()));
    Proposals { from: word_from, texts: texts.map(|name| format!("{name} ")).collect() }
}

/// Whether the name of an argument comes next, or the value of the one before: they come in pairs. `None` within a text.
fn name_is_due(before: &str) -> Option<bool> {
    tokens(before).ok().map(|tokens| tokens.len() % 2 == 1)
}

/// A channel's name as an argument.
fn quoted(channel: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_.:/@#".contains(c);
    if !channel.is_empty() && channel.chars().all(plain) {
        return channel.to_owned();
    }
    format!("\"{}\"", channel.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        complete(line, || vec!["0000intercom".into(), "my room".into(), "other".into()]).texts
    }

    #[test]
    fn commands_are_completed() {
        assert_eq!(texts("/sc_s"), ["/sc_send ", "/sc_stats"]);
        assert_eq!(texts("/he"), ["/help"]);
        assert!(texts("/").len() == COMMANDS.len());
        assert!(
            texts("").is_empty() && texts("hello").is_empty() && texts("/no").is_empty() && texts("/no x").is_empty()
        );
    }

    #[test]
    fn names_of_arguments_are_completed_where_one_is_due() {
        assert_eq!(texts("/sc_send --"), ["--channel ", "--message ", "--invite ", "--welcome "]);
        assert_eq!(texts("/sc_send --m"), ["--message "]);
        assert_eq!(texts("/sc_send --channel \"my room\" "), ["--message ", "--invite ", "--welcome "]);
        assert!(texts("/sc_send --message ").is_empty(), "a value is due");
        assert!(texts("/sc_send --message \"a --").is_empty(), "within a text");
    }

    #[test]
    fn channels_are_completed_after_their_argument() {
        assert_eq!(texts("/sc_send --channel "), ["0000intercom", "\"my room\"", "other"]);
        assert_eq!(texts("/sc_send --channel o"), ["other"]);
        assert_eq!(texts("/sc_open --channel new --via 0"), ["0000intercom"]);
        assert_eq!(complete("/sc_send --channel o", || vec!["other".into()]).from, "/sc_send --channel ".len());
        assert_eq!(
            texts("/sc_send --message --channel ").first().map(String::as_str),
            Some("--invite "),
            "that was a value"
        );
    }
}
