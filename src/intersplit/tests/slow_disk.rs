//! A disk that takes its time: messages and replies do not wait for it, and it is given the last state, not each.

use std::time::Duration;

use parking_lot::Condvar;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use super::*;

/// Longer than anything here takes; what waits for a disk that is held waits for ever.
const EVER: Duration = Duration::from_secs(20);

/// A disk that is held: writes of the ledger wait.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn release(&self) {
        *self.open.lock() = true;
        self.opened.notify_all();
    }
}

/// Releases the disk also where a test fails, which else would wait for its writer for ever.
struct Release(Arc<Gate>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// A member whose disk is held, and each write of its ledger as it begins.
fn held(folder: &Path) -> (Member, Release, UnboundedReceiver<()>) {
    let gate = Arc::new(Gate::default());
    let (begins, begun) = unbounded_channel();
    let path = folder.join(SNAPSHOT_FILE);
    let (ledger, slow) = (path.clone(), gate.clone());
    let disk = move |path: &Path, content: &[u8]| {
        if path == ledger {
            // Nobody listens once the test has ended.
            let _ = begins.send(());
            let mut open = slow.open.lock();
            slow.opened.wait_while_for(&mut open, |open| !*open, EVER);
        }
        snapshot::replace(path, content)
    };
    (Member::on_disk(1, |options| options.path = Some(path), Box::new(disk)), Release(gate), begun)
}

fn receive_add(member: &Member, id: usize) {
    let message = expense_message(&format!("t{id}"), "a", 100);
    assert!(member.split.receive("trip", &Object::new().with("message", message).into()));
}

fn receive_clear(member: &Member) {
    let message = Object::new().with("app", APP_KEY).with("type", "expense_clear").with("ts", 1);
    assert!(member.split.receive("trip", &Object::new().with("message", message).into()));
}

/// The ids of a room as it is on the disk.
fn stored(folder: &Path) -> Vec<String> {
    let again = Member::stored(1, folder);
    again.split.list(&"trip".into()).iter().map(|entry| entry.expense.tx_id.to_string()).collect()
}

#[tokio::test]
async fn messages_and_replies_do_not_wait_and_the_last_state_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let (member, disk, mut begun) = held(folder.path());
    receive_add(&member, 0);
    timeout(EVER, begun.recv()).await.expect("the first write begins");

    let meanwhile = async {
        for id in 1..1_000 {
            receive_add(&member, id);
            if id % 100 == 0 {
                let balance = member.ask(r#"{"type":"expense_balance","channel":"trip"}"#).await;
                assert!(balance.contains(&format!(r#""eventCount":{}"#, id + 1)), "{balance}");
            }
        }
        receive_clear(&member);
        let list = member.ask(r#"{"type":"expense_list","channel":"trip"}"#).await;
        assert!(list.contains(r#""count":0"#), "{list}");
        receive_add(&member, 1_000);
    };
    let before = std::time::Instant::now();
    meanwhile.await;
    assert!(before.elapsed() < EVER, "something waited for the disk");
    assert!(!folder.path().join(SNAPSHOT_FILE).exists(), "the disk is still held");

    disk.0.release();
    timeout(EVER, member.split.flush()).await.expect("ends").expect("written");
    assert_eq!(stored(folder.path()), ["t1000"]);
    // What a thousand changes left to write is one state: the one that was held, and this.
    assert!(begun.recv().await.is_some());
    assert!(begun.try_recv().is_err(), "more was written than the last state");
}

#[tokio::test]
async fn a_remote_clear_is_written_when_the_disk_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (member, disk, mut begun) = held(folder.path());
    receive_add(&member, 0);
    timeout(EVER, begun.recv()).await.expect("the first write begins");
    receive_clear(&member);
    disk.0.release();
    // Nobody asks for it.
    timeout(EVER, begun.recv()).await.expect("another write begins").expect("of the clear");
    member.split.flush().await.expect("written");
    assert_eq!(stored(folder.path()), [""; 0]);
}

#[tokio::test]
async fn what_is_acknowledged_waits_for_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let (member, disk, mut begun) = held(folder.path());
    let add = member.ask(r#"{"type":"expense_add","channel":"trip","payer":"a","amount":1,"split":"b"}"#);
    let mut add = std::pin::pin!(add);
    tokio::select! {
        reply = &mut add => panic!("acknowledged before it was written: {reply}"),
        begun = begun.recv() => begun.expect("a write begins"),
    }
    assert!(member.sent.lock().is_empty(), "sent before it was written");
    // Others are answered.
    member.ask(r#"{"type":"expense_list","channel":"trip"}"#).await;
    disk.0.release();
    let reply = timeout(EVER, add).await.expect("ends");
    assert!(reply.starts_with(r#"{"type":"expense_added""#), "{reply}");
    assert_eq!(stored(folder.path()).len(), 1);
}
