//! Ctrl-C and its relatives: noticed at once, acted on where it is safe.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Waits for SIGINT, SIGTERM and SIGHUP, for as long as it lives.
#[derive(Debug)]
pub(super) struct Signals {
    flag: Arc<AtomicBool>,
    receiver: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Signals {
    /// From here on the signals no longer end the process.
    pub(super) fn start(runtime: &Runtime) -> anyhow::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = watch::channel(false);
        let _entered = runtime.enter();
        let listen = |kind| signal(kind).context("cannot listen for signals");
        let (mut interrupt, mut terminate, mut hang_up) = (
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        );
        let noticed = Arc::clone(&flag);
        let task = runtime.spawn(async move {
            // Cancel-safe, all of them: a signal that is not received stays pending.
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
            noticed.store(true, Ordering::Relaxed);
            sender.send_replace(true);
            // The signals stay caught until everything is cleaned up.
            std::future::pending::<()>().await;
        });
        Ok(Self { flag, receiver, task })
    }

    /// Set once a signal has come, for code that cannot wait.
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }

    /// Waits for a signal. Returns at once if one has come. Cancel-safe.
    pub(super) async fn interrupted(&mut self) {
        if self.receiver.wait_for(|interrupted| *interrupted).await.is_err() {
            // The task ends with this value only.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.task.abort();
    }
}
