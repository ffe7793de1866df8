//! Whether the network answers, judged by how many requests time out.

/// Ticks that are remembered.
const WINDOW: usize = 4;

/// Ticks in a row without one answer that make us offline.
const OFFLINE_TICKS: usize = 2;

/// Ticks with fewer requests than this say nothing.
const IDLE_REQUESTS: u64 = 4;

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Health {
    /// Requests are answered.
    #[default]
    Online,
    /// Most requests have timed out for a while.
    Degraded,
    /// Nothing is answered.
    Offline,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tick {
    Idle,
    Healthy,
    Degraded,
    Offline,
}

/// The rules of dht-rpc 6.27: one verdict a tick, from the counters of that tick alone.
#[derive(Debug, Default)]
pub(crate) struct NetworkHealth {
    /// Counters at the last tick.
    counters: Option<(u64, u64)>,
    ticks: [Option<Tick>; WINDOW],
    seen: usize,
    health: Health,
}

impl NetworkHealth {
    pub(crate) fn health(&self) -> Health {
        self.health
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Takes the counters of all answers and timeouts so far and says whether the verdict has changed.
    pub(crate) fn update(&mut self, responses: u64, timeouts: u64) -> bool {
        let (last_responses, last_timeouts) =
            self.counters.replace((responses, timeouts)).unwrap_or((responses, timeouts));
        let responses = responses.saturating_sub(last_responses);
        let timeouts = timeouts.saturating_sub(last_timeouts);

        self.seen += 1;
        let tick = match () {
            () if self.seen < WINDOW || responses + timeouts < IDLE_REQUESTS => Tick::Idle,
            () if responses == 0 => Tick::Offline,
            () if timeouts > responses => Tick::Degraded,
            () => Tick::Healthy,
        };
        self.ticks.rotate_right(1);
        self.ticks[0] = Some(tick);
        if tick == Tick::Idle {
            return false;
        }

        let offline =
            self.ticks.iter().flatten().filter(|t| **t != Tick::Idle).take_while(|t| **t == Tick::Offline).count();
        let all = |tick| self.ticks.iter().all(|t| *t == Some(tick));
        let before = self.health;
        if offline >= OFFLINE_TICKS {
            self.health = Health::Offline;
        } else if tick != Tick::Offline && (self.health == Health::Offline || all(Tick::Healthy)) {
            self.health = Health::Online;
        } else if self.health == Health::Online && all(Tick::Degraded) {
            self.health = Health::Degraded;
        }
        before != self.health
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `(responses, timeouts)` of ticks and returns the verdict after each.
    fn run(ticks: &[(u64, u64)]) -> Vec<Health> {
        let mut health = NetworkHealth::default();
        let (mut responses, mut timeouts) = (0, 0);
        ticks
            .iter()
            .map(|(r, t)| {
                responses += r;
                timeouts += t;
                health.update(responses, timeouts);
                health.health()
            })
            .collect()
    }

    #[test]
    fn two_silent_ticks_are_offline_and_one_answer_is_online() {
        use Health::*;
        let verdicts = run(&[(9, 0), (9, 0), (9, 0), (9, 0), (0, 9), (0, 9), (9, 1)]);
        assert_eq!(verdicts, [Online, Online, Online, Online, Online, Offline, Online]);
    }

    #[test]
    fn a_quiet_node_is_not_offline() {
        assert!(run(&[(0, 0); 20]).iter().all(|h| *h == Health::Online));
        assert!(run(&[(0, 2); 20]).iter().all(|h| *h == Health::Online));
    }

    #[test]
    fn mostly_timeouts_for_four_ticks_degrade() {
        let verdicts = run(&[(9, 0), (9, 0), (9, 0), (3, 9), (3, 9), (3, 9), (3, 9), (9, 3), (9, 3), (9, 3), (9, 3)]);
        assert_eq!(verdicts[5], Health::Online);
        assert_eq!(verdicts[6], Health::Degraded);
        assert_eq!(verdicts[9], Health::Degraded);
        assert_eq!(verdicts[10], Health::Online);
    }
}
