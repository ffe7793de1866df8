//! A script of everything that changes a store, and what the store has after each step.

use crypto::KeyPair;

use crate::{CommitOptions, CoreOptions, DraftOptions, Error, Hypercore, Store};

const CORES: u8 = 3;
const DRAFT: &str = "draft";

fn open(store: &Store, number: u8) -> Result<Hypercore, Error> {
    let key_pair = Some(KeyPair::from_seed(&[number; 32]));
    store.core(CoreOptions { key_pair, ..CoreOptions::default() })
}

/// All that can be read of the cores: fork and blocks, of each and of its draft, and user data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct State(Vec<(u64, Blocks, Blocks, Option<Vec<u8>>)>);

/// Blocks from the first; `None` where one was cleared.
type Blocks = Vec<Option<Vec<u8>>>;

impl State {
    pub(super) fn of(store: &Store) -> Result<Self, Error> {
        let known = store.discovery_keys()?;
        let blocks = |core: &Hypercore| -> Result<Vec<_>, Error> {
            (0..core.length()).map(|index| Ok(core.get(index)?.map(|block| block.to_vec()))).collect()
        };
        let mut cores = Vec::new();
        for number in 0..CORES {
            let key = crate::Manifest::single(KeyPair::from_seed(&[number; 32]).public_key).key();
            if !known.contains(&crypto::discovery_key(&key)) {
                continue;
            }
            let core = open(store, number)?;
            let draft =
                if core.has_draft(DRAFT)? { blocks(&core.draft(DRAFT, DraftOptions::default())?)? } else { Vec::new() };
            cores.push((core.fork(), blocks(&core)?, draft, core.user_data("note")?.map(|note| note.to_vec())));
        }
        Ok(Self(cores))
    }
}

pub(super) struct Workload {
    random: u64,
    pub(super) steps: u32,
    /// What the store had, after each step.
    pub(super) history: Vec<State>,
    /// The step in `history` up to which everything was announced.
    pub(super) announced: usize,
    pub(super) failed: Option<String>,
}

impl Workload {
    pub(super) fn new(seed: u64) -> Self {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { random, steps: 60, history: vec![State::default()], announced: 0, failed: None }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) % bound
    }

    fn blocks(&mut self) -> Vec<Vec<u8>> {
        let count = 1 + self.below(4);
        // Some are so large that they are kept in files of their own.
        let mut length = || if self.below(3) == 0 { self.below(3000) } else { self.below(200) };
        let lengths: Vec<u64> = (0..count).map(|_| length()).collect();
        lengths.into_iter().map(|length| vec![self.below(256) as u8; length as usize]).collect()
    }

    /// Runs until it is done or something fails.
    pub(super) fn run(&mut self, store: &Store) {
        for step in 0..self.steps {
            let before = self.history.len();
            let result = self.step(store, step).and_then(|()| State::of(store));
            match result {
                Ok(state) => self.history.push(state),
                Err(error) => {
                    self.failed = Some(error.to_string());
                    // What failed may have been written all the same: it is what is seen now.
                    self.history.extend(State::of(store));
                    return;
                }
            }
            if self.below(3) == 0 {
                if let Err(error) = store.synchronise() {
                    self.failed = Some(error.to_string());
                    return;
                }
                self.announced = before;
            }
        }
    }

    fn step(&mut self, store: &Store, step: u32) -> Result<(), Error> {
        let number = if step < CORES.into() { step as u8 } else { self.below(CORES.into()) as u8 };
        let core = open(store, number)?;
        // Making a core is a step of its own.
        if step < CORES.into() {
            return Ok(());
        }
        match self.below(10) {
            0..3 => drop(core.append(self.blocks())?),
            3 => {
                let length = self.below(core.length() + 1);
                core.truncate(length)?;
            }
            4 => {
                let start = self.below(core.length() + 1);
                let end = start + self.below(4);
                core.clear(start, end)?;
            }
            5 => drop(core.set_user_data("note", Some(&self.below(1 << 30).to_le_bytes()))?),
            6 if core.has_draft(DRAFT)? => {
                let draft = core.draft(DRAFT, DraftOptions::default())?;
                match core.commit(&draft, CommitOptions::default()) {
                    // The core went another way; the draft is to be begun anew.
                    Err(Error::Conflict | Error::BadArgument(_)) => drop(draft),
                    result => drop(result?),
                }
            }
            7 if core.has_draft(DRAFT)? => {
                let draft = core.draft(DRAFT, DraftOptions::default())?;
                let length = self.below(draft.length() + 1);
                draft.truncate(length)?;
            }
            6..8 => drop(core.draft(DRAFT, DraftOptions::default())?),
            8 if core.has_draft(DRAFT)? => {
                drop(core.draft(DRAFT, DraftOptions::default())?.append(self.blocks())?);
            }
            _ => {
                let other = open(store, (number + 1) % CORES)?;
                let atom = store.atom();
                core.in_atom(&atom)?.append(self.blocks())?;
                let other = other.in_atom(&atom)?;
                other.truncate(self.below(other.length() + 1))?;
                other.append(self.blocks())?;
                other.set_user_data("note", Some(b"atom"))?;
                atom.flush()?;
            }
        }
        Ok(())
    }
}
