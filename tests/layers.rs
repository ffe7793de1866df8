//! The picture of the layers in docs/architecture.md and the sources: every arrow is a use, and whatever is used lies below.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Who uses, or reaches, whom.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// What the picture does not show: what one file and its like are.
const SMALL: [&str; 4] = ["arguments", "durable", "http", "testing"];

/// Crates that are no part of the program.
const FOR_DEVELOPMENT: [&str; 2] = ["simulation", "testing"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The folders of a folder.
fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).expect("a folder").map(|entry| entry.expect("readable").path());
    entries.filter(|path| path.is_dir()).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).expect("text").to_owned()
}

/// The arrows of the picture, by the names of modules and crates, which its labels begin with.
fn drawn() -> Arrows {
    let text = read(&path("docs/architecture.md"));
    let picture = text.split("```").find_map(|part| part.strip_prefix("mermaid\n")).expect("a picture");
    let label = |line: &str| {
        let (id, rest) = line.trim().split_once("[\"")?;
        let name = rest.split([':', '"']).next()?;
        Some((id.to_owned(), name.to_owned()))
    };
    let labels: BTreeMap<String, String> =
        picture.lines().filter(|line| !line.contains("subgraph")).filter_map(label).collect();
    let mut arrows: Arrows = labels.values().map(|name| (name.clone(), BTreeSet::new())).collect();
    for line in picture.lines().filter(|line| line.contains("-->")) {
        let stations: Vec<Vec<&String>> =
            line.split("-->").map(|side| side.split('&').map(|id| &labels[id.trim()]).collect()).collect();
        for pair in stations.windows(2) {
            for from in &pair[0] {
                arrows.get_mut(*from).expect("has a label").extend(pair[1].iter().map(|to| (*to).clone()));
            }
        }
    }
    arrows
}

/// The code of a module without its tests.
fn code_of(folder: &Path) -> String {
    let mut code = String::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        let name = name_of(&path);
        if path.is_dir() && name != "tests" {
            code.push_str(&code_of(&path));
        } else if name.ends_with(".rs") && !name.starts_with("tests") && name != "against_original.rs" {
            code.push_str(read(&path).split("\n#[cfg(test)]\nmod tests {").next().expect("is there"));
        }
    }
    code
}

/// What the sources use: modules of the program each other and the crates, and the crates each other.
fn used() -> Arrows {
    let modules = folders(&path("src"));
    let crates = folders(&path("protocol"));
    let module_names: Vec<String> = modules.iter().map(|folder| name_of(folder)).collect();
    let crate_names: Vec<String> = crates.iter().map(|folder| name_of(folder)).collect();
    let mut arrows = Arrows::new();
    for folder in &modules {
        let code = code_of(folder);
        let begins = |name: &str, prefix: &str| {
            code.match_indices(&format!("{prefix}{name}")).any(|(at, found)| {
                let before =
                    code[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':');
                let after = code[at + found.len()..].starts_with("::");
                before && after
            })
        };
        let own = name_of(folder);
        let mut uses: BTreeSet<String> =
            module_names.iter().filter(|name| **name != own && begins(name, "crate::")).cloned().collect();
        uses.extend(crate_names.iter().filter(|name| begins(&name.replace('-', "_"), "")).cloned());
        arrows.insert(own, uses);
    }
    for folder in &crates {
        let manifest = read(&folder.join("Cargo.toml"));
        let part = manifest.split("\n[").find(|part| part.starts_with("dependencies]")).unwrap_or_default();
        let names = part.lines().filter_map(|line| line.split(['.', '=', ' ']).next());
        let uses = names.filter(|name| crate_names.iter().any(|known| known == name)).map(str::to_owned);
        arrows.insert(name_of(folder), uses.collect());
    }
    for name in SMALL.iter().chain(&FOR_DEVELOPMENT) {
        arrows.remove(*name);
        for uses in arrows.values_mut() {
            uses.remove(*name);
        }
    }
    arrows
}

/// Whether one leads to the other, by however many arrows. The picture has no circles: this would not end in one.
fn leads(arrows: &Arrows, from: &str, to: &str) -> bool {
    arrows[from].contains(to) || arrows[from].iter().any(|next| leads(arrows, next, to))
}

#[test]
fn the_picture_of_the_layers_is_true() {
    let (drawn, used) = (drawn(), used());
    assert_eq!(drawn.keys().collect::<Vec<_>>(), used.keys().collect::<Vec<_>>(), "who is there");
    for (from, uses) in &used {
        for to in uses {
            assert!(leads(&drawn, from, to), "{from} uses {to}, and no arrow leads there");
        }
    }
    for (from, all) in &drawn {
        for to in all {
            assert!(used[from].contains(to), "{from} does not use {to}");
        }
    }
}
