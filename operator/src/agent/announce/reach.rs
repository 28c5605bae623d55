//! Whether the API server answers this node: what decides who goes on where no majority of nodes is heard.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How often it is asked while all is well.
const PAUSE: Duration = Duration::from_secs(2);
/// How long an answer may take. An owner without a majority answers for its addresses for so long.
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks until it is dropped.
#[derive(Debug)]
pub struct Reach {
    /// Whether it answers.
    pub is_reachable: watch::Receiver<bool>,
    ask: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Reach {
    /// Begins to ask.
    pub fn start(client: Client) -> Self {
        let (sender, is_reachable) = watch::channel(false);
        let ask = Arc::new(Notify::new());
        let asked = Arc::clone(&ask);
        let task = tokio::spawn(async move {
            loop {
                let is_answered = matches!(timeout(PATIENCE, client.apiserver_version()).await, Ok(Ok(_)));
                sender.send_if_modified(|known| std::mem::replace(known, is_answered) != is_answered);
                // Cancel-safe: a wish that comes meanwhile is kept.
                let _ = timeout(PAUSE, asked.notified()).await;
            }
        });
        Self {
            is_reachable,
            ask,
            task,
        }
    }

    /// Asks now.
    pub fn ask(&self) {
        self.ask.notify_one();
    }
}

impl Drop for Reach {
    fn drop(&mut self) {
        self.task.abort();
    }
}
