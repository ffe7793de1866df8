use hypercore::Hash;

/// How many problems of a core are kept; the others are counted.
const MAX_PROBLEMS: usize = 100;

/// What became of a core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All that JavaScript has of it is here, but what the problems say.
    Carried,
    /// Nothing of it is here but, where they are known, its key and its name, so that it is not begun anew by mistake.
    Refused(String),
}

/// A core of the source, and what became of it.
#[derive(Debug, Clone)]
pub struct CoreReport {
    /// What peers name it by.
    pub discovery_key: Hash,
    /// Its key, if it could be read.
    pub key: Option<Hash>,
    /// The name that it was made with.
    pub name: Option<String>,
    /// Whether it is here.
    pub outcome: Outcome,
    /// How many blocks it has.
    pub length: u64,
    /// How often it was cut.
    pub fork: u64,
    /// How many of its blocks are here.
    pub blocks: u64,
    /// Their bytes, as they are stored.
    pub bytes: u64,
    /// How many drafts of it are here.
    pub drafts: u64,
    /// Whether it can be written here.
    pub is_writable: bool,
    /// What could not be carried, and why.
    pub problems: Vec<String>,
    /// How many problems there are beyond these.
    pub more_problems: u64,
}

impl CoreReport {
    pub(crate) fn new(discovery_key: Hash) -> Self {
        Self {
            discovery_key,
            key: None,
            name: None,
            outcome: Outcome::Carried,
            length: 0,
            fork: 0,
            blocks: 0,
            bytes: 0,
            drafts: 0,
            is_writable: false,
            problems: Vec::new(),
            more_problems: 0,
        }
    }

    pub(crate) fn problem(&mut self, text: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(text.into());
        } else {
            self.more_problems += 1;
        }
    }

    /// Whether all of it is here.
    pub fn is_exact(&self) -> bool {
        self.outcome == Outcome::Carried && self.problems.is_empty()
    }
}

/// What became of a store.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Its cores.
    pub cores: Vec<CoreReport>,
    /// What of the store itself could not be carried, and why.
    pub problems: Vec<String>,
}

impl Report {
    /// Whether everything is here.
    pub fn is_exact(&self) -> bool {
        self.problems.is_empty() && self.cores.iter().all(CoreReport::is_exact)
    }

    /// How many cores were refused.
    pub fn refused(&self) -> usize {
        self.cores.iter().filter(|core| matches!(core.outcome, Outcome::Refused(_))).count()
    }
}
