//! The order of names: JavaScript's `a.localeCompare(b)`.
//!
//! JavaScript peers order by the collation of Unicode (CLDR's root, as ICU has it) in the locale of their machine. Here it is that
//! of English, which is the root's. Names that it takes for equal, as `é` in one code point and in two, keep the order in which
//! they came.

use std::cmp::Ordering;

use encoding::json::JsString;
use icu_collator::options::CollatorOptions;
use icu_collator::{Collator, CollatorBorrowed, CollatorPreferences};
use std::sync::LazyLock;

static ROOT: LazyLock<Option<CollatorBorrowed<'static>>> =
    LazyLock::new(|| Collator::try_new(CollatorPreferences::default(), CollatorOptions::default()).ok());

/// Compares two names.
pub(super) fn compare_names(a: &JsString, b: &JsString) -> Ordering {
    match (ROOT.as_ref(), a.as_str(), b.as_str()) {
        (Some(root), Some(a), Some(b)) => root.compare(a, b),
        (Some(root), _, _) => {
            let (a, b): (Vec<u16>, Vec<u16>) = (a.encode_utf16().collect(), b.encode_utf16().collect());
            root.compare_utf16(&a, &b)
        }
        // The data are compiled in: this does not happen.
        (None, _, _) => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_as_icu_orders_them() {
        // Node 20 with ICU 78: `[...].sort((a, b) => a.localeCompare(b))`.
        let ordered =
            ["_x", "-a", "1", "10", "2", "alice", "älice", "b", "B", "bob", "carol", "e", "é", "zoë", "Ж", "א", "日"];
        let mut names: Vec<JsString> = ordered.iter().rev().map(|name| JsString::from(*name)).collect();
        names.sort_by(compare_names);
        assert_eq!(names, ordered);
    }

    #[test]
    fn canonical_equivalents_are_equal() {
        assert_eq!(compare_names(&"\u{e9}".into(), &"e\u{301}".into()), Ordering::Equal);
    }
}
