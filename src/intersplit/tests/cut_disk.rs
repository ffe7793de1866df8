//! A peer that is killed at every step of a write: what it starts with again is what was before, or all of what came after.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A disk that stops after some steps, with half of the file that is being written.
struct Cut {
    left: Arc<AtomicUsize>,
}

impl Cut {
    fn step(&self) -> io::Result<()> {
        let step = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        step.map(drop).map_err(|_| io::ErrorKind::StorageFull.into())
    }
}

impl Disk for Cut {
    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let cut = self.step();
        let content = if cut.is_ok() { content } else { &content[..content.len() / 2] };
        SystemDisk.write(path, content).and(cut)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        SystemDisk.rename(from, to)
    }

    /// As the system's, but nothing is tidied up.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension("tmp");
        self.write(&temporary, content)?;
        self.rename(&temporary, path)
    }
}

fn strict(folder: &Path, disk: Box<dyn Disk>) -> Member {
    let change = |options: &mut InterSplitOptions| {
        options.path = Some(folder.join(SNAPSHOT_FILE));
        options.verified = VerifiedRooms::Named(vec!["strict".into()]);
    };
    Member::on_disk(1, change, disk)
}

/// All that a member knows, and what it tells a neighbour.
fn state(member: &Member) -> Vec<(Vec<String>, String)> {
    let rooms = ["strict", "cleared", "empty"].iter();
    rooms
        .map(|room| {
            let told = member.split.history_of(&(*room).into(), &HashSet::new());
            (member.ids(room), Value::from(told.into_iter().map(Value::from).collect::<Vec<_>>()).to_string())
        })
        .collect()
}

#[tokio::test]
async fn a_cut_at_any_step_leaves_one_of_two_states() {
    let mut seen = HashSet::new();
    for steps in 0..=10 {
        let folder = tempfile::tempdir().expect("a folder");
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let member = strict(folder.path(), Box::new(Cut { left: left.clone() }));
        member.add("strict", "a", "1", "b").await;
        member.add("cleared", "a", "1", "b").await;
        let before = state(&member);
        // What follows is one write: the writer gets its turn when this waits.
        left.store(steps, Ordering::Relaxed);
        let other = Member::new(2);
        member.split.receive("strict", &signed(&other.keys, "strict", expense_message(&other.id("t"), "a", 2)));
        member.split.receive("cleared", &signed(&other.keys, "cleared", clear_message()));
        member.split.receive("empty", &signed(&other.keys, "empty", clear_message()));
        let after = state(&member);
        let written = member.split.flush().await;
        drop(member);
        // Twice: nor does a start change what is there.
        for start in 0..2 {
            let again = state(&strict(folder.path(), Box::new(SystemDisk)));
            let is_before = again == before;
            assert!(
                is_before || again == after,
                "{steps} steps, start {start}: {again:?}\nneither {before:?}\nnor {after:?}"
            );
            assert!(!(is_before && written.is_ok()), "{steps} steps: acknowledged, and lost");
            seen.insert((is_before, written.is_ok()));
        }
    }
    assert_eq!(seen, HashSet::from([(true, false), (false, true)]));
}

#[tokio::test]
async fn proofs_that_could_not_take_their_place_take_it_with_the_next_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let member = strict(folder.path(), Box::new(Cut { left: left.clone() }));
    // All steps of a write but the last; then the first of the next, and no more.
    for steps in [4, 1, 2] {
        left.store(steps, Ordering::Relaxed);
        let draft = Draft {
            channel: "strict".into(),
            payer: "a".into(),
            amount: Some("1".into()),
            split: "b".into(),
            note: Value::Null,
        };
        let added = member.split.add_expense(draft).await.is_ok();
        assert_eq!(added, steps == 4);
    }
    // Not before: a start gives them their place, too.
    assert_eq!(strict(folder.path(), Box::new(SystemDisk)).ids("strict").len(), 1);
}

#[tokio::test]
async fn files_without_a_hash_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let member = strict(folder.path(), Box::new(SystemDisk));
    member.add("strict", "a", "1", "b").await;
    drop(member);
    let path = folder.path().join("expense-split.snapshots.proofs.json");
    let text = std::fs::read_to_string(&path).expect("is there");
    let (start, rest) = text.split_once(r#""of":""#).expect("has a hash");
    let (_, rest) = rest.split_once(r#"","#).expect("more follows");
    std::fs::write(&path, format!("{start}{rest}")).expect("written");
    assert_eq!(strict(folder.path(), Box::new(SystemDisk)).ids("strict").len(), 1);
}
