//! The user's and the system's wish that the program ends.

use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// What ends takes this long at most to say goodbye to clients and to withdraw announcements.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The code of a program that Ctrl-C ended: what shells give it.
const INTERRUPTED: u8 = 130;

/// Ctrl-C and SIGTERM; on Windows Ctrl-C, Ctrl-Break, the closing of the console, and shutdown.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(windows)]
    ctrl_c: tokio::signal::windows::CtrlC,
    #[cfg(windows)]
    ctrl_break: tokio::signal::windows::CtrlBreak,
    #[cfg(windows)]
    close: tokio::signal::windows::CtrlClose,
    #[cfg(windows)]
    shutdown: tokio::signal::windows::CtrlShutdown,
}

#[cfg(unix)]
impl Signals {
    /// From now on the signals do not end the process by themselves.
    pub(crate) fn new() -> io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The next signal. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(windows)]
impl Signals {
    /// From now on the signals do not end the process by themselves.
    pub(crate) fn new() -> io::Result<Signals> {
        use tokio::signal::windows;
        Ok(Signals {
            ctrl_c: windows::ctrl_c()?,
            ctrl_break: windows::ctrl_break()?,
            close: windows::ctrl_close()?,
            shutdown: windows::ctrl_shutdown()?,
        })
    }

    /// The next signal. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.ctrl_c.recv() => {}
            _ = self.ctrl_break.recv() => {}
            _ = self.close.recv() => {}
            _ = self.shutdown.recv() => {}
        }
    }
}

/// Tells that the program goes on after it was stopped: Ctrl-Z and `fg`, SIGSTOP and SIGCONT.
///
/// Windows has nothing to tell: its consoles stop no programs. There, and where the machine itself slept, the DHT node sees by the
/// wall clock that time has passed, within five seconds.
pub(crate) struct Continued {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

impl Continued {
    /// Listens from now on.
    pub(crate) fn new() -> io::Result<Continued> {
        Ok(Continued {
            #[cfg(unix)]
            signal: {
                use tokio::signal::unix::{SignalKind, signal};
                signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?
            },
        })
    }

    /// Calls `then` whenever the program goes on, for ever: what it is connected to may be gone, and nobody told it.
    pub(crate) async fn each(&mut self, then: impl Fn()) -> std::convert::Infallible {
        #[cfg(unix)]
        while self.signal.recv().await.is_some() {
            tracing::debug!("the program goes on");
            then();
        }
        #[cfg(not(unix))]
        let _ = then;
        std::future::pending().await
    }
}

impl Signals {
    /// Ends in order; at once if another signal comes meanwhile, for whoever asks twice does not want to wait.
    pub(crate) async fn closing(&mut self, close: impl Future<Output = ()>) -> ExitCode {
        tokio::select! {
            () = close => ExitCode::SUCCESS,
            () = self.next() => ExitCode::from(INTERRUPTED),
        }
    }
}

/// Says goodbye, but not for longer than [`CLOSE_TIMEOUT`]: the network may not answer.
pub(crate) async fn within_limits(close: impl Future<Output = ()>) {
    // Whoever did not hear it notices by itself.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, close).await;
}
