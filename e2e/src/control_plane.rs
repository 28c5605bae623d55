//! etcd and kube-apiserver without a cluster, inside a namespace of the lab, and a proxy on each of its nodes.
//!
//! A [`Store`] is an etcd with the keys and tokens of a cluster, [`Store::serve`] starts an [`ApiServer`] on it, a [`Client`]
//! writes into that, and a [`Proxy`] follows what is written. Everything is a process of its own, killed when its value is
//! dropped, and nothing of it is outside of a temporary folder and the namespaces.
//!
//! ```no_run
//! use fairlead_e2e::control_plane::{API_PORT, Etcd, Proxy, Setup, Store, Tools, User};
//! use fairlead_lab::{Family, Lab};
//!
//! # fn main() -> anyhow::Result<()> {
//! fairlead_lab::enter_user_namespace()?;
//! let lab = Lab::with_nodes(1)?;
//! let store = Store::start(&lab, &Tools::find(Etcd::Current)?)?;
//! let server = store.serve(API_PORT)?;
//! let kubeconfig = store.kubeconfig(User::Admin, Family::V4, API_PORT)?;
//! let setup = Setup::new(lab.node(1), &kubeconfig, store.folder());
//! let agent = Proxy::start_fairlead("target/release/fairlead".as_ref(), &setup)?;
//! # drop((server, agent));
//! # Ok(())
//! # }
//! ```

mod client;
mod proxy;
mod store;
mod testing;
mod tools;

pub use client::{Client, api};
pub use proxy::{Proxy, Setup};
pub use store::{API_PORT, ApiServer, Store, User};
pub use testing::{with_api_server, with_kube_proxy};
pub use tools::{Etcd, Tools};
