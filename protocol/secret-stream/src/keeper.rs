//! The task beside a stream: its clocks run whether or not anybody reads or writes, as timers in JavaScript do.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Weak;
use std::task::Poll;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Transport;
use crate::driver::Driver;

/// Wakes up when a clock of the stream is due, until the stream is gone or has failed. Traffic moves the clocks all the time; the
/// timer is moved only when it fires.
pub(crate) async fn keep<T: Transport>(stream: Weak<Mutex<Driver<T>>>) {
    let mut sleep = pin!(tokio::time::sleep_until(Instant::now()));
    poll_fn(|cx| {
        loop {
            let Some(driver) = stream.upgrade() else { return Poll::Ready(()) };
            let next = driver.lock().tend(cx);
            drop(driver);
            match next {
                None => return Poll::Ready(()),
                Some(None) => return Poll::Pending,
                Some(Some(deadline)) => sleep.as_mut().reset(deadline.into()),
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
}
