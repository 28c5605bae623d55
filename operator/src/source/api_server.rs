//! The source `kube`: four watches on the API server.
//!
//! A watch's events become `known::Step`s, and those become changes. Objects are reduced while they are deserialized
//! (`watched::Reduced`); of what was sent only the names are kept, to notice what a repeated list leaves out. An API
//! server that is away is waited for, and nothing that is known is given up meanwhile.

mod connect;
mod follow;
mod known;
mod surroundings;
mod watched;

use std::convert::Infallible;
use std::sync::Arc;

use fairlead_model::Change;
use kube::runtime::watcher::Config;
use tokio::sync::mpsc;

use super::problems::ProblemBook;
use super::{ApiServerFlags, Outlets, Source, SourceError, SourceOptions, source_of};
use follow::{Server, follow};
use watched::{EndpointSlices, OwnNode, ServiceCidrs, Services};

/// Objects per page where lists come in pages: as many as client-go asks for, and some megabyte of Services.
const PAGE_SIZE: u32 = 500;

/// Starts to watch the API server that is configured.
pub async fn start(options: SourceOptions) -> Result<Source, SourceError> {
    let (client, url) = connect::connect(&options.api_server).await?;
    tracing::info!(url, node = &*options.node_name, "watching the API server");
    let for_surroundings = options.with_surroundings.then(|| client.clone());
    let server = Arc::new(Server::new(client, url));
    Ok(source_of(|outlets| async move {
        let Outlets {
            changes,
            book,
            surroundings,
        } = outlets;
        let surrounding = async {
            if let Some(client) = for_surroundings {
                surroundings::follow(client, surroundings).await;
            }
        };
        let watched = watch(server, options.node_name, changes, book);
        tokio::join!(watched, surrounding).0
    }))
}

/// A client for the API server that is configured, for what else there is to say to it.
pub async fn client(flags: &ApiServerFlags) -> Result<kube::Client, SourceError> {
    connect::connect(flags).await.map(|(client, _)| client)
}

/// Follows all kinds. Selectors leave out what is none of a proxy's business before it is sent.
async fn watch(
    server: Arc<Server>,
    node_name: Arc<str>,
    changes: mpsc::Sender<Vec<Change>>,
    book: ProblemBook,
) -> Infallible {
    let all = Config::default().page_size(PAGE_SIZE);
    let services = all
        .clone()
        .labels("!service.kubernetes.io/service-proxy-name")
        .fields("spec.clusterIP!=None");
    let slices = all.clone().labels("!service.kubernetes.io/headless");
    let own_node = all.clone().fields(&format!("metadata.name={node_name}"));
    let (never, ..) = tokio::join!(
        follow::<Services>(&server, services, &changes, &book),
        follow::<EndpointSlices>(&server, slices, &changes, &book),
        follow::<OwnNode>(&server, own_node, &changes, &book),
        follow::<ServiceCidrs>(&server, all, &changes, &book),
    );
    never
}
