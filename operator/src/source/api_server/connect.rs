//! Where the API server is, and a client for it.

use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::chain::Chain;
use crate::source::{ApiServerFlags, SourceError};

/// An API server in reach accepts a connection in far less. The look-up of its name and TLS are within it.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A watch that is alive gets a bookmark every minute. One whose server lost its power says nothing, and without this
/// limit that would be noticed only after five minutes.
const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// A client, and the URL that it talks to.
pub(super) async fn connect(flags: &ApiServerFlags) -> Result<(Client, String), SourceError> {
    let mut config = configuration(flags).await?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    // The read timeout is about answers, not about how long a connection was idle before its request.
    config.reset_reader_on_write = true;
    // The watches retry by themselves, and say so.
    config.default_retry = false;
    let url = config.cluster_url.to_string();
    match Client::try_from(config) {
        Ok(client) => Ok((client, url)),
        Err(source) => Err(SourceError::Client {
            url,
            source: source.into(),
        }),
    }
}

async fn configuration(flags: &ApiServerFlags) -> Result<Config, SourceError> {
    let configured = match &flags.kubeconfig {
        Some(path) => from_file(path).await,
        None => inferred().await,
    };
    let Some(url) = &flags.master else { return configured };
    let uri = Config::new(url.parse().map_err(|source| invalid_master(url, source))?).cluster_url;
    if uri.scheme().is_none() {
        return Err(invalid_master(url, "it must begin with https:// or http://"));
    }
    match configured {
        Ok(mut config) => {
            config.cluster_url = uri;
            Ok(config)
        }
        // A URL alone is enough for an API server that asks for no credentials.
        Err(SourceError::NoApiServer { .. }) => Ok(Config::new(uri)),
        Err(error) => Err(error),
    }
}

fn invalid_master(url: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SourceError {
    SourceError::Master {
        url: url.to_owned(),
        source: source.into(),
    }
}

async fn from_file(path: &Path) -> Result<Config, SourceError> {
    let unusable = |source| SourceError::Kubeconfig {
        path: path.to_owned(),
        source: Box::new(source),
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(unusable)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(unusable)
}

/// The service account of the pod, or else what `kubectl` would use.
async fn inferred() -> Result<Config, SourceError> {
    let in_cluster = match Config::incluster() {
        Ok(config) => return Ok(config),
        Err(error) => Chain(&error).to_string(),
    };
    Config::from_kubeconfig(&KubeConfigOptions::default())
        .await
        .map_err(|error| SourceError::NoApiServer {
            in_cluster,
            source: error.into(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'https://10.0.0.1:6443'}}]
users: [{name: u, user: {token: secret}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
";

    fn flags(kubeconfig: &Path, master: Option<&str>) -> ApiServerFlags {
        ApiServerFlags {
            kubeconfig: Some(kubeconfig.to_owned()),
            master: master.map(str::to_owned),
        }
    }

    #[tokio::test]
    async fn the_master_overrides_the_kubeconfigs_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, KUBECONFIG).unwrap();
        let config = configuration(&flags(&path, None)).await.unwrap();
        assert_eq!(config.cluster_url.to_string(), "https://10.0.0.1:6443/");
        let config = configuration(&flags(&path, Some("https://[fd00::1]:6443")))
            .await
            .unwrap();
        assert_eq!(config.cluster_url.to_string(), "https://[fd00::1]:6443/");
        assert!(config.auth_info.token.is_some());
    }

    #[tokio::test]
    async fn what_cannot_work_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        let error = configuration(&flags(&path, None)).await.unwrap_err();
        assert_eq!(error.to_string(), format!("cannot use kubeconfig {}", path.display()));
        std::fs::write(&path, KUBECONFIG).unwrap();
        for master in ["10.0.0.1:6443", "https://"] {
            let error = configuration(&flags(&path, Some(master))).await.unwrap_err();
            assert_eq!(error.to_string(), format!("`{master}` is no URL of an API server"));
        }
    }
}
