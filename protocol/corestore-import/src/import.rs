//! A whole store.

use std::collections::{BTreeMap, BTreeSet};

use hypercore::{Hash, Store};

use crate::ImportError;
use crate::carry::{Alias, Carrier};
use crate::keys;
use crate::records::{Auth, StoreHead};
use crate::report::{CoreReport, Report};
use crate::source::{Damaged, Source};

/// Carries all of `source` into `target`, which is empty. `each` is told of every core when it is done.
///
/// What is written is durable when the target was [flushed](Store::flush).
///
/// # Errors
/// [`ImportError::Version`], [`ImportError::Damaged`] where the store's own entry is, [`ImportError::Target`]. What is wrong with
/// one core is in the report.
pub fn import(source: &dyn Source, target: &Store, each: &mut dyn FnMut(&CoreReport)) -> Result<Report, ImportError> {
    let value = source.get(&keys::store())?.ok_or_else(|| ImportError::Damaged("it has no entry of its own".into()))?;
    let head = StoreHead::decode(&value).map_err(|error| ImportError::Damaged(format!("its own entry: {error}")))?;
    if !(1..=2).contains(&head.version) {
        return Err(ImportError::Version(head.version));
    }
    if let Some(seed) = &head.seed {
        target.set_primary_key(seed)?;
    }
    let mut report = Report::default();
    if head.groups > 0 {
        report.problems.push(format!("{} groups of cores: not carried", head.groups));
    }
    let names = names(source, &mut report);
    let carrier = Carrier { source, target, primary_key: head.seed };
    for discovery_key in discovery_keys(source, &names, &mut report) {
        let names = names.get(&discovery_key).map_or(&[][..], |names| &names[..]);
        let mut core = carrier.core(&discovery_key, names.first())?;
        for (_, name) in names.iter().skip(1) {
            core.problem(format!("its other name {}: not carried", String::from_utf8_lossy(name)));
        }
        each(&core);
        report.cores.push(core);
    }
    Ok(report)
}

/// The names of all cores.
fn names(source: &dyn Source, report: &mut Report) -> BTreeMap<Hash, Vec<Alias>> {
    let mut names: BTreeMap<Hash, Vec<Alias>> = BTreeMap::new();
    let mut wrong = 0;
    let read = source.range(&[2], &[3], &mut |key, value| {
        match (keys::alias_of(key), Hash::try_from(value)) {
            (Some(alias), Ok(discovery_key)) => names.entry(discovery_key).or_default().push(alias),
            _ => wrong += 1,
        }
        true
    });
    if wrong > 0 {
        report.problems.push(format!("{wrong} names that are none"));
    }
    if let Err(Damaged(text)) = read {
        report.problems.push(format!("the list of names: damaged ({text}), some may be missing"));
    }
    names
}

/// All cores. Where the list of them is damaged, those that names or their keys tell of.
fn discovery_keys(source: &dyn Source, names: &BTreeMap<Hash, Vec<Alias>>, report: &mut Report) -> BTreeSet<Hash> {
    let mut found = BTreeSet::new();
    let read = source.range(&[1], &[2], &mut |key, _| {
        found.extend(keys::discovery_key(key));
        true
    });
    if let Err(Damaged(text)) = read {
        report.problems.push(format!("the list of cores: damaged ({text}), some may be missing"));
        found.extend(names.keys());
        // As far as it can be read, too.
        let _ = source.range(&[3], &[4], &mut |_, value| {
            found.extend(Auth::decode(value).ok().map(|auth| auth.discovery_key));
            true
        });
    }
    found
}
