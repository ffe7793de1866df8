//! Guessing a token is slow.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// So many wrong tokens, of all connections together, cost nothing: people mistype.
pub(crate) const FREE_GUESSES: u32 = 5;

/// Beyond these, tokens are looked at one at a time, and each takes so long, right or wrong: more connections do not help, nor
/// does hanging up before the answer.
pub(crate) const GUESS_PAUSE: Duration = Duration::from_millis(100);

/// After so long without a wrong token all is forgotten.
const MEMORY: Duration = Duration::from_secs(60);

/// What a bridge remembers of wrong tokens.
#[derive(Debug, Default)]
pub(crate) struct Guard(Mutex<Guesses>);

#[derive(Debug, Default)]
struct Guesses {
    wrong: u32,
    last: Option<Instant>,
}

impl Guard {
    /// Looks at a token in its turn: the result of `check`.
    pub(crate) async fn admit(&self, check: impl FnOnce() -> bool) -> bool {
        let mut guesses = self.0.lock().await;
        if guesses.last.is_none_or(|last| last.elapsed() > MEMORY) {
            guesses.wrong = 0;
        }
        if guesses.wrong >= FREE_GUESSES {
            tokio::time::sleep(GUESS_PAUSE).await;
        }
        let right = check();
        if !right {
            guesses.wrong = guesses.wrong.saturating_add(1);
            guesses.last = Some(Instant::now());
        }
        right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn guesses_take_turns_once_there_were_some() {
        let guard = Guard::default();
        let begun = Instant::now();
        for _ in 0..FREE_GUESSES {
            assert!(!guard.admit(|| false).await);
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let guesses = (0..32).map(|_| guard.admit(|| false));
        futures_util::future::join_all(guesses).await;
        assert!(begun.elapsed() >= 32 * GUESS_PAUSE, "{:?}", begun.elapsed());
        let begun = Instant::now();
        assert!(guard.admit(|| true).await);
        assert!(begun.elapsed() >= GUESS_PAUSE);
        tokio::time::advance(MEMORY + Duration::from_secs(1)).await;
        let begun = Instant::now();
        assert!(guard.admit(|| true).await);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
