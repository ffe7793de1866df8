//! A disk that takes its time: messages and replies do not wait for it, and it is given the last state, not each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Condvar;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout_at};

use super::*;

/// What a whole test may take: far more than it does. What waits for a disk that is held waits for as long, and the test fails.
const ALL: Duration = Duration::from_secs(20);

/// A disk that is held: writes of the ledger wait.
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    /// When the test's time is over, and the disk is held no longer.
    end: Instant,
    overdue: AtomicBool,
}

impl Gate {
    fn pass(&self) {
        let mut open = self.open.lock();
        let left = self.end.saturating_duration_since(Instant::now());
        if self.opened.wait_while_for(&mut open, |open| !*open, left).timed_out() {
            self.overdue.store(true, Ordering::Relaxed);
        }
    }

    fn release(&self) {
        *self.open.lock() = true;
        self.opened.notify_all();
    }
}

/// What a test has of the disk. Dropped, which is also where a test fails, it is released: its writer would wait for it.
struct Held {
    gate: Arc<Gate>,
    begun: UnboundedReceiver<()>,
}

impl Held {
    /// What a future gives that has to end in the test's time.
    async fn in_time<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        let done = timeout_at(self.gate.end, future).await;
        done.unwrap_or_else(|_| panic!("not in the time of the test: {what}"))
    }

    /// Waits until a write of the ledger begins.
    async fn write_begins(&mut self) {
        let begun = timeout_at(self.gate.end, self.begun.recv()).await;
        begun.expect("no write began in the time of the test").expect("the member is there");
    }

    fn assert_nothing_waited(&self) {
        assert!(!self.gate.overdue.load(Ordering::Relaxed), "something waited for the disk");
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gate.release();
    }
}

/// A member whose disk is held.
fn held(folder: &Path) -> (Member, Held) {
    let gate = Arc::new(Gate {
        open: Mutex::default(),
        opened: Condvar::new(),
        end: Instant::now() + ALL,
        overdue: AtomicBool::default(),
    });
    let (begins, begun) = unbounded_channel();
    let path = folder.join(SNAPSHOT_FILE);
    let (ledger, slow) = (path.clone(), gate.clone());
    let disk = Before(move |path: &Path| {
        if path == ledger {
            // Nobody listens once the test has ended.
            let _ = begins.send(());
            slow.pass();
        }
        Ok(())
    });
    (Member::on_disk(1, |options| options.path = Some(path), Box::new(disk)), Held { gate, begun })
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
    let (member, mut disk) = held(folder.path());
    receive_add(&member, 0);
    disk.write_begins().await;

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
    disk.in_time("messages and replies", meanwhile).await;
    disk.assert_nothing_waited();
    assert!(!folder.path().join(SNAPSHOT_FILE).exists(), "the disk is still held");

    disk.gate.release();
    disk.in_time("the last state", member.split.flush()).await.expect("written");
    assert_eq!(stored(folder.path()), ["t1000"]);
    // What a thousand changes left to write is one state: the one that was held, and this.
    disk.write_begins().await;
    assert!(disk.begun.try_recv().is_err(), "more was written than the last state");
}

#[tokio::test]
async fn a_remote_clear_is_written_when_the_disk_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (member, mut disk) = held(folder.path());
    receive_add(&member, 0);
    disk.write_begins().await;
    receive_clear(&member);
    disk.gate.release();
    // Nobody asks for it.
    disk.write_begins().await;
    disk.in_time("the clear", member.split.flush()).await.expect("written");
    assert_eq!(stored(folder.path()), [""; 0]);
}

#[tokio::test]
async fn what_is_acknowledged_waits_for_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let (member, mut disk) = held(folder.path());
    let add = member.ask(r#"{"type":"expense_add","channel":"trip","payer":"a","amount":1,"split":"b"}"#);
    let mut add = std::pin::pin!(add);
    tokio::select! {
        reply = &mut add => panic!("acknowledged before it was written: {reply}"),
        () = disk.write_begins() => {}
    }
    assert!(member.sent.lock().is_empty(), "sent before it was written");
    // Others are answered.
    disk.in_time("a reply", member.ask(r#"{"type":"expense_list","channel":"trip"}"#)).await;
    disk.assert_nothing_waited();
    disk.gate.release();
    let reply = disk.in_time("the acknowledgement", add).await;
    assert!(reply.starts_with(r#"{"type":"expense_added""#), "{reply}");
    assert_eq!(stored(folder.path()).len(), 1);
}
