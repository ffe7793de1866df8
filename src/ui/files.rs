//! The files of the page.

/// A file of the page.
#[derive(Debug)]
pub(super) struct File {
    /// Where it is served.
    pub(super) path: &'static str,
    /// Its media type.
    pub(super) kind: &'static str,
    /// Its content.
    pub(super) content: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml; charset=utf-8";

macro_rules! files {
    ($($kind:ident: $($name:literal)+;)+) => {
        &[$($(File { path: concat!("/", $name), kind: $kind, content: include_str!(concat!("page/", $name)) },)+)+]
    };
}

/// All of them.
pub(super) const FILES: &[File] = files! {
    HTML: "index.html";
    SVG: "icon.svg";
    CSS: "style.css" "rooms.css" "chat.css" "ledger.css";
    SCRIPT: "theme.js" "main.js" "bridge.js" "session.js" "room.js" "rooms.js" "chat.js" "ledger.js" "picture.js" "assistant.js"
        "dialogs.js" "status.js" "dom.js" "format.js" "link.js";
};

/// The file that a path names.
pub(super) fn find(path: &str) -> Option<&'static File> {
    let path = if path == "/" { "/index.html" } else { path };
    FILES.iter().find(|file| file.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What follows each occurrence of `before`, up to a quote.
    fn quoted<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
        text.split(before).skip(1).filter_map(|rest| rest.split(['"', '\'']).next()).collect()
    }

    #[test]
    fn whatever_the_page_asks_for_is_there() {
        for file in FILES {
            let names = match file.kind {
                HTML => [quoted(file.content, "href=\"/"), quoted(file.content, "src=\"/")].concat(),
                SCRIPT => quoted(file.content, " from './"),
                _ => Vec::new(),
            };
            for name in names {
                assert!(find(&format!("/{name}")).is_some(), "{} asks for {name}", file.path);
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ui/page");
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let name = entry.expect("it can be read").file_name().into_string().expect("names are ASCII");
            assert!(find(&format!("/{name}")).is_some(), "{name} is not served");
        }
    }

    /// The policy of the page forbids these; they would fail in the browser only.
    #[test]
    fn nothing_comes_from_elsewhere_and_nothing_is_inline() {
        for file in FILES {
            for forbidden in [
                "http://",
                "https://",
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "eval(",
                "<style",
                " style=",
                " onclick=",
            ] {
                let text = file.content.replace("http://www.w3.org/", "");
                assert!(!text.contains(forbidden), "{} has {forbidden}", file.path);
            }
        }
    }
}
