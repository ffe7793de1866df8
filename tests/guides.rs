//! The guides and the program: they name every flag, command and message that exists, and none that does not.
//!
//! `BLESS=1 cargo test --test guides` writes their tables anew after a flag, a command or a measurement has changed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use intercom::cli::{flags, reference};
use intercom::terminal::COMMANDS;

const BEGIN: &str = "<!-- begin: written by the test of this file -->\n";

/// Flags in the guides that stand for any, or are those of other programs and of the scripts here.
const OF_OTHERS: [&str; 9] =
    ["--name", "--release", "--write", "--repeat", "--only", "--test", "--features", "--rounds", "--no-interop"];

/// Words that follow `intercom` in the guides and are names of stores.
const LABELS: [&str; 3] = ["alice", "bob", "mystore"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn guide(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The words of a text that begin with `prefix` and go on with letters, digits and some marks.
fn words<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(prefix).filter_map(move |(at, _)| {
        let before = text[..at].chars().next_back();
        let rest = &text[at + prefix.len()..];
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).unwrap_or(rest.len());
        let begins = rest.starts_with(|c: char| c.is_ascii_lowercase());
        let apart = before.is_none_or(|c| !c.is_alphanumeric() && !"-/.<".contains(c));
        (begins && apart).then(|| text[at..at + prefix.len() + length].trim_end_matches('-'))
    })
}

/// All flags: of a peer, of the commands, and the arguments of terminal commands.
fn known_flags() -> BTreeSet<String> {
    let mut known: BTreeSet<String> = OF_OTHERS.iter().map(|name| (*name).to_owned()).collect();
    let mut add = |command: &clap::Command| {
        for arg in command.get_arguments() {
            let names = arg.get_long_and_visible_aliases().unwrap_or_default();
            known.extend(names.into_iter().map(|name| format!("--{name}")));
        }
    };
    let mut program = reference();
    program.build();
    let mut all = vec![&program];
    while let Some(command) = all.pop() {
        add(command);
        all.extend(command.get_subcommands());
    }
    known.extend(COMMANDS.iter().flat_map(|command| command.arguments).map(|name| format!("--{name}")));
    known
}

fn commands() -> Vec<clap::Command> {
    reference().get_subcommands().filter(|command| command.get_name() != "help").cloned().collect()
}

/// The table of the program's commands.
fn commands_table() -> String {
    let mut table = String::from("| command | does |\n| --- | --- |\n");
    for command in commands() {
        rows(&mut table, "intercom", &command);
    }
    table
}

fn rows(table: &mut String, parent: &str, command: &clap::Command) {
    let name = format!("{parent} {}", command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let arguments = command.get_arguments().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()));
    let arguments: Vec<String> = arguments
        .map(|arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let value = arg.get_value_names().map(|names| names.join(" ")).unwrap_or_default();
            match arg.get_long() {
                Some(long) if arg.get_action().takes_values() => format!("`--{long} {value}` {help}"),
                Some(long) => format!("`--{long}` {help}"),
                None => format!("`{value}` {help}"),
            }
        })
        .map(|argument| argument.replace('|', "\\|"))
        .collect();
    let arguments = if arguments.is_empty() { String::new() } else { format!(".<br>{}", arguments.join(".<br>")) };
    let _ = writeln!(table, "| `{name}` | {about}{arguments} |");
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        rows(table, &name, command);
    }
}

/// The table of a peer's flags.
fn flags_table() -> String {
    let mut table = String::from("| flag | environment | meaning |\n| --- | --- | --- |\n");
    for (heading, flags) in flags::GROUPS {
        let _ = writeln!(table, "| **{heading}** | | |");
        for flag in *flags {
            let alias = flag.alias.map(|alias| format!(", `--{alias}`")).unwrap_or_default();
            let value = flag.value.replace('|', "\\|");
            let env = flag.env.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let help = flag.help.replace('|', "\\|").replace('<', "&lt;");
            let _ = writeln!(table, "| `--{} {value}`{alias} | {env} | {help} |", flag.name);
        }
    }
    table
}

/// The figures of the README: what the measurement is called in `docs/benchmarks.md`, and here, and its unit.
const FIGURES: [(&str, &str, &str); 6] = [
    ("process start to listening", "process start to listening", "ms"),
    ("`intercom` start to an accepted", "start to an accepted SC-Bridge connection", "ms"),
    ("resident memory of the idle program", "memory of the idle program", "MiB"),
    ("topic join to connection, p50", "join of a topic to a connection", "ms"),
    ("secret-stream, 256 MB, MB/s", "encrypted stream on loopback", "MB/s"),
    ("message of 200 bytes with 12 bits", "a message of 200 bytes with its proof of work", "ms"),
];

/// The table of figures, each as it is in `docs/benchmarks.md`.
fn figures_table() -> String {
    let benchmarks = guide("docs/benchmarks.md");
    let mut table = String::from("| | `intercom` | JavaScript |\n| --- | --- | --- |\n");
    for (measured, label, unit) in FIGURES {
        let line =
            benchmarks.lines().find_map(|line| line.strip_prefix("| ").filter(|line| line.starts_with(measured)));
        let line = line.unwrap_or_else(|| panic!("docs/benchmarks.md has no {measured:?}"));
        let cells: Vec<&str> = line.split('|').map(|cell| cell.split('(').next().unwrap_or_default().trim()).collect();
        let _ = writeln!(table, "| {label} | {} {unit} | {} {unit} |", cells[1], cells[2]);
    }
    table
}

/// Replaces a table of a guide.
fn replace(text: &mut String, name: &str, table: &str) {
    let end = text.find(&format!("<!-- end: {name} -->")).unwrap_or_else(|| panic!("no end of the {name}"));
    let begin = text[..end].rfind(BEGIN).unwrap_or_else(|| panic!("no begin of the {name}")) + BEGIN.len();
    text.replace_range(begin..end, table);
}

#[test]
fn the_tables_are_those_of_the_program() {
    let tables = [
        ("SKILL.md", vec![("commands", commands_table()), ("flags", flags_table())]),
        ("README.md", vec![("figures", figures_table())]),
    ];
    for (name, tables) in tables {
        let mut right = guide(name);
        tables.iter().for_each(|(table, content)| replace(&mut right, table, content));
        if std::env::var_os("BLESS").is_some() {
            fs::write(path(name), &right).expect("writable");
        }
        let is = guide(name);
        assert!(is == right, "{name} has old tables; BLESS=1 cargo test --test guides writes them anew");
    }
}

#[test]
fn the_guides_name_every_command_and_message() {
    let skill = guide("SKILL.md");
    for command in COMMANDS {
        let named = words(&skill, "/").any(|word| word == command.name);
        assert!(named, "SKILL.md does not name {}", command.name);
        for argument in command.arguments {
            let name = format!("--{argument}");
            assert!(words(&skill, "--").any(|word| word == name), "SKILL.md does not name {name} of {}", command.name);
        }
    }
    let readme = guide("README.md");
    for command in commands() {
        let name = format!("intercom {}", command.get_name());
        assert!(readme.contains(&name), "README.md does not name {name}");
    }
    // What a client of the bridge may ask: the words that the bridge compares with.
    let bridge = guide("src/bridge/session.rs");
    let handled = bridge.split("fn command(").nth(1).and_then(|rest| rest.split("fn authenticate(").next());
    let handled = handled.expect("the bridge has a function `command`");
    let patterns = handled
        .lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with("Some(\"") || line.contains("kind @ (") || line.starts_with("| \""));
    let types: BTreeSet<&str> =
        patterns.flat_map(|line| line.split("=>").next().unwrap_or_default().split('"').skip(1).step_by(2)).collect();
    assert!(["subscribe", "expense_add", "unwatch"].iter().all(|kind| types.contains(kind)), "{types:?}");
    for kind in types {
        assert!(skill.contains(&format!("\"{kind}\"")) || skill.contains(&format!("`{kind}`")), "SKILL.md: {kind}");
    }
}

/// The fields that a source reads from what a client sends.
fn fields(source: &str) -> BTreeSet<&str> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let read = |prefix| code.split(prefix).skip(1).filter_map(|rest| rest.split('"').next());
    read("message.get(\"").chain(read("read(\"")).collect()
}

#[test]
fn the_guide_names_every_field_that_a_client_may_send() {
    let skill = guide("SKILL.md");
    let sources = ["src/bridge/session.rs", "src/intersplit/messages.rs"].map(guide);
    let all: BTreeSet<&str> = sources.iter().flat_map(|source| fields(source)).collect();
    assert!(["token", "welcome", "verify", "replace"].iter().all(|field| all.contains(field)), "{all:?}");
    // As a key of a message, or on its own.
    let missing: Vec<_> = all
        .iter()
        .filter(|field| !skill.contains(&format!("\"{field}\":")) && !skill.contains(&format!("`{field}`")))
        .collect();
    assert!(missing.is_empty(), "SKILL.md does not name {missing:?}");
}

#[test]
fn the_guide_names_every_http_answer_of_the_bridge() {
    let skill = guide("SKILL.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let source = guide("src/bridge/handshake.rs");
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let all: BTreeSet<&str> = code.split("Refuse(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(all.contains("403 Forbidden") && all.len() > 3, "{all:?}");
    let missing: Vec<_> = all.iter().filter(|status| !skill.contains(**status)).collect();
    assert!(missing.is_empty(), "SKILL.md does not name {missing:?}");
}

/// Texts of the sources that clients and people get as an answer: sentences, up to what is filled in.
fn answers(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
    let texts = lines.flat_map(|line| line.split('"').skip(1).step_by(2).map(move |text| (text, line)));
    // A constant and an error are answers also without a mark at their end.
    let named = |line: &str| line.starts_with("const ") || line.starts_with("#[error(");
    let sentences = texts.filter(|(text, line)| {
        text.starts_with(|c: char| c.is_ascii_uppercase())
            && (text.ends_with(['.', '}']) || named(line))
            && !line.starts_with("warn!")
    });
    let until_filled_in = |text: &str| text.split('{').next().unwrap_or_default().trim_end().to_owned();
    sentences.map(|(text, _)| until_filled_in(text)).filter(|text| text.contains(' ')).collect()
}

#[test]
fn the_guide_names_every_error() {
    let skill = guide("SKILL.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let sources = [
        "src/bridge/session.rs",
        "src/bridge/server.rs",
        "src/intersplit/messages.rs",
        "src/intersplit/error.rs",
        "src/intersplit/commands.rs",
        "src/terminal/input.rs",
        "src/terminal/mod.rs",
        "src/terminal/sidechannel.rs",
        "src/terminal/subnet.rs",
    ];
    let all: BTreeSet<String> = sources.iter().flat_map(|name| answers(&guide(name))).collect();
    assert!(all.contains("Only admin may perform this operation.") && all.len() > 30, "{all:?}");
    let missing: Vec<_> = all.iter().filter(|text| !skill.contains(text.as_str())).collect();
    assert!(missing.is_empty(), "SKILL.md does not name {missing:#?}");
}

#[test]
fn the_guides_name_nothing_that_does_not_exist() {
    let known = known_flags();
    let subcommands: BTreeSet<String> = commands().iter().map(|command| command.get_name().to_owned()).collect();
    for name in ["README.md", "SKILL.md", "docs/architecture.md"] {
        let text = guide(name);
        for flag in words(&text, "--") {
            // `--sidechannel-…` stands for several.
            let several = text.contains(&format!("{flag}-…")) || text.contains(&format!("{flag}…"));
            assert!(known.contains(flag) || several, "{name}: there is no {flag}");
        }
        let code = text.split('`').skip(1).step_by(2);
        for command in code.filter_map(|code| code.strip_prefix('/')) {
            let word = command.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).next().unwrap_or_default();
            let exists = COMMANDS.iter().any(|command| command.name[1..] == *word);
            assert!(exists || word.is_empty() || word == "sc_" || word == "expense_", "{name}: there is no /{word}");
        }
        for word in words(&text, "intercom ").map(|word| word.trim_start_matches("intercom ")) {
            let line_has_code = text.lines().any(|line| {
                line.contains(&format!("`intercom {word}"))
                    || line.trim_start().starts_with(&format!("intercom {word}"))
            });
            let exists = subcommands.contains(word) || LABELS.contains(&word);
            assert!(exists || !line_has_code, "{name}: there is no command `intercom {word}`");
        }
    }
}

#[test]
fn the_version_is_in_one_place() {
    let version = env!("CARGO_PKG_VERSION");
    for name in ["README.md", "SKILL.md", "docs/architecture.md"] {
        assert!(!guide(name).contains(&format!("v{version}")), "{name} repeats the version");
    }
    let manifest = guide("Cargo.toml");
    assert_eq!(manifest.matches(&format!("version = \"{version}\"")).count(), 1, "Cargo.toml names it once");
}
