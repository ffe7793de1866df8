//! The names of all commands and of their arguments: what is completed, and what the guides must name.

/// A command and the arguments that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandNames {
    /// Its name, with the slash.
    pub name: &'static str,
    /// The names of its arguments, without the leading `--`; the first of several that mean the same.
    pub arguments: &'static [&'static str],
}

const fn command(name: &'static str, arguments: &'static [&'static str]) -> CommandNames {
    CommandNames { name, arguments }
}

/// All commands, those of other planes included.
pub const COMMANDS: &[CommandNames] = &[
    command("/add_admin", &["address"]),
    command("/update_admin", &["address"]),
    command("/add_indexer", &["key"]),
    command("/add_writer", &["key"]),
    command("/remove_writer", &["key"]),
    command("/remove_indexer", &["key"]),
    command("/set_auto_add_writers", &["enabled"]),
    command("/enable_transactions", &["enabled"]),
    command("/set_chat_status", &["enabled"]),
    command("/post", &["message", "reply_to"]),
    command("/set_nick", &["nick", "user"]),
    command("/mute_status", &["user", "muted"]),
    command("/set_mod", &["user", "mod"]),
    command("/delete_message", &["id"]),
    command("/pin_message", &["id", "pin"]),
    command("/unpin_message", &["pin_id"]),
    command("/enable_whitelist", &["enabled"]),
    command("/set_whitelist_status", &["user", "status"]),
    command("/tx", &["command", "sim"]),
    command("/deploy_subnet", &[]),
    command("/stats", &[]),
    command("/get_keys", &[]),
    command("/exit", &[]),
    command("/help", &[]),
    command("/print", &["text"]),
    command("/get", &["key", "confirmed", "unconfirmed"]),
    command("/msb", &[]),
    command("/sc_join", &["channel", "invite", "welcome"]),
    command("/sc_open", &["channel", "via", "invite", "welcome"]),
    command("/sc_send", &["channel", "message", "invite", "welcome"]),
    command("/sc_invite", &["channel", "pubkey", "ttl", "welcome"]),
    command("/sc_welcome", &["channel", "text"]),
    command("/sc_stats", &[]),
    command("/sc_why", &["channel"]),
    command("/expense_add", &["channel", "payer", "amount", "split", "note"]),
    command("/expense_list", &["channel"]),
    command("/expense_balance", &["channel"]),
    command("/expense_clear", &["channel"]),
    command("/expense_persist", &["channel", "sim"]),
    command("/expense_restore", &["channel", "confirmed", "unconfirmed", "replace"]),
    command("/expense_export", &["channel", "format"]),
];

#[cfg(test)]
mod tests {
    use super::super::help;
    use super::*;

    #[test]
    fn the_help_and_the_table_name_the_same_commands() {
        let help = help::ORIGINAL.iter().chain(&help::BEYOND);
        let mut helped: Vec<&str> = help.filter_map(|line| line.strip_prefix("- /")?.split(' ').next()).collect();
        let mut known: Vec<&str> = COMMANDS.iter().map(|command| &command.name[1..]).collect();
        helped.sort_unstable();
        helped.dedup();
        known.sort_unstable();
        assert_eq!(known, helped);
    }
}
