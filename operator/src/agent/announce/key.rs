//! The key that nodes sign their heartbeats with: from a Secret, or from a file.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::watch::{Change, IfUnknown, follow};

/// The entry that signs.
pub const KEY: &str = "key";
/// An entry that is accepted as well, while the key is being replaced.
const PREVIOUS: &str = "previous";
/// Shorter ones can be guessed.
const SHORTEST: usize = 16;
/// How often a file is looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Keys, the one that signs first; none while there are none.
pub type Keys = Vec<Vec<u8>>;

/// Follows the keys. The task ends when it is dropped.
#[derive(Debug)]
pub struct KeyWatch {
    /// The keys as they are now.
    pub keys: watch::Receiver<Keys>,
    task: JoinHandle<()>,
}

impl Drop for KeyWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Follows the Secret of this name. The operator makes it.
pub fn of_secret(client: Client, namespace: &str, name: &str, known: Keys) -> KeyWatch {
    let api: Api<Secret> = Api::namespaced(client, namespace);
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let (sender, keys) = watch::channel(known);
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    let task = tokio::spawn(async move {
        let mut changes = pin!(follow(api, only, IfUnknown::Warn("it has the key of heartbeats")));
        while let Some(change) = changes.next().await {
            // One that is gone is made again; until then the old key is as good as any.
            let secret = match &change {
                Change::All(secrets) => secrets.first(),
                Change::Is(secret) => Some(secret),
                Change::Gone(_) => None,
            };
            let Some(secret) = secret else {
                tracing::info!(namespace, name, "there is no Secret with the key of heartbeats yet");
                continue;
            };
            match keys_of(secret) {
                Ok(keys) => show(&sender, keys),
                Err(problem) => tracing::error!("Secret {namespace}/{name}: {problem}"),
            }
        }
    });
    KeyWatch { keys, task }
}

/// Follows a file, whose content is the key.
pub fn of_file(path: PathBuf, known: Keys) -> KeyWatch {
    let (sender, keys) = watch::channel(known);
    let task = tokio::spawn(async move {
        let mut trouble = None;
        loop {
            match read(&path) {
                Ok(key) => {
                    trouble = None;
                    show(&sender, vec![key]);
                }
                Err(problem) if trouble.as_ref() != Some(&problem) => {
                    tracing::error!("{}: {problem}", path.display());
                    trouble = Some(problem);
                }
                Err(_) => {}
            }
            sleep(LOOK).await;
        }
    });
    KeyWatch { keys, task }
}

fn show(sender: &watch::Sender<Keys>, keys: Keys) {
    sender.send_if_modified(|known| {
        let is_new = *known != keys;
        *known = keys;
        is_new
    });
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    checked("the key", bytes.trim_ascii().to_vec())
}

fn keys_of(secret: &Secret) -> Result<Keys, String> {
    let entry = |name: &str| secret.data.as_ref().and_then(|data| data.get(name));
    let key = entry(KEY).ok_or_else(|| format!("data.{KEY}: it is missing"))?;
    let mut keys = vec![checked(&format!("data.{KEY}"), key.0.clone())?];
    if let Some(previous) = entry(PREVIOUS) {
        keys.push(checked(&format!("data.{PREVIOUS}"), previous.0.clone())?);
    }
    Ok(keys)
}

fn checked(what: &str, key: Vec<u8>) -> Result<Vec<u8>, String> {
    if key.len() < SHORTEST {
        return Err(format!(
            "{what}: {} bytes are too few, at least {SHORTEST} are needed",
            key.len()
        ));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn secret(entries: &[(&str, &str)]) -> Secret {
        let entries = entries
            .iter()
            .map(|(name, text)| ((*name).to_owned(), ByteString(text.as_bytes().to_vec())));
        Secret {
            data: Some(entries.collect()),
            ..Secret::default()
        }
    }

    #[test]
    fn a_key_that_is_replaced_is_still_accepted() {
        let keys = keys_of(&secret(&[
            ("previous", "0123456789abcdef"),
            ("key", "fedcba9876543210"),
        ]))
        .unwrap();
        assert_eq!(keys, [b"fedcba9876543210", b"0123456789abcdef"]);
    }

    #[test]
    fn what_is_no_key_is_named() {
        assert_eq!(keys_of(&secret(&[])).unwrap_err(), "data.key: it is missing");
        assert_eq!(
            keys_of(&secret(&[("key", "short")])).unwrap_err(),
            "data.key: 5 bytes are too few, at least 16 are needed"
        );
        let both = secret(&[("key", "fedcba9876543210"), ("previous", "")]);
        assert!(keys_of(&both).unwrap_err().starts_with("data.previous"));
    }

    #[tokio::test]
    async fn a_key_file_is_read_without_the_end_of_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "fedcba9876543210\n").unwrap();
        let mut watch = of_file(path, Keys::new());
        let keys = watch.keys.wait_for(|keys| !keys.is_empty()).await.unwrap();
        assert_eq!(*keys, [b"fedcba9876543210"]);
    }
}
