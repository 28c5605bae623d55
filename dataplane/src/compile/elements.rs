//! What one claim puts into the maps.

use std::net::SocketAddr;

use fairlead_model::Family;

use super::affinity::{Choice, affine_chain};
use super::claim::{Claim, Frontend, Route};
use crate::program::{Dispatch, REFUSE, suffixed};
use crate::table::{Datum, DatumBuilder, Name, Value, Verdict};

/// Elements of sets and maps, and the pick chains that they lead to.
#[derive(Debug, Default)]
pub(super) struct Elements {
    pub(super) keys: Vec<(Name, Datum, Value)>,
    pub(super) ranges: Vec<(Name, (Datum, Datum))>,
    pub(super) picks: Vec<(Dispatch, Family, u32)>,
}

impl Frontend {
    pub(super) const fn family(self) -> Family {
        match self {
            Self::Address(address, ..) => Family::of(address),
            Self::NodePort(family, ..) => family,
        }
    }

    /// Appends the frontend's fields to a key.
    fn append_to(self, key: DatumBuilder) -> DatumBuilder {
        match self {
            Self::Address(address, protocol, port) => key.address(address).protocol(protocol).port(port),
            Self::NodePort(_, protocol, port) => key.protocol(protocol).port(port),
        }
    }

    pub(super) fn key(self) -> Datum {
        self.append_to(Datum::builder()).finish()
    }

    /// The dispatch maps for: connections to any endpoint, short-cuts, connections to local endpoints only.
    pub(super) const fn dispatches(self) -> [Dispatch; 3] {
        match self {
            Self::Address(..) => [Dispatch::Services, Dispatch::Shortcuts, Dispatch::LocalServices],
            Self::NodePort(..) => [
                Dispatch::NodePorts,
                Dispatch::NodePortShortcuts,
                Dispatch::LocalNodePorts,
            ],
        }
    }

    /// The key of one of its slots in a map of endpoints.
    pub(super) fn slot_key(self, slot: u32) -> Datum {
        self.append_to(Datum::builder().slot(slot)).finish()
    }

    fn no_endpoints(self) -> Name {
        let map = match self {
            Self::Address(..) => "no_endpoints",
            Self::NodePort(..) => "no_endpoint_nodeports",
        };
        suffixed(map, self.family())
    }
}

/// The elements of a claim that has its frontend.
pub(super) fn elements(claim: &Claim) -> Elements {
    let mut elements = Elements::default();
    let [to_any, shortcut, to_local] = claim.frontend.dispatches();
    let has_local = !claim.target.local.is_empty();
    if claim.target.cluster.is_empty() {
        elements.refuse(claim, Verdict::Goto(REFUSE.into()));
    } else {
        match claim.route {
            Route::Cluster => elements.dispatch(claim, to_any, Choice::Cluster),
            Route::InternalLocal if has_local => elements.dispatch(claim, to_any, Choice::Local),
            Route::InternalLocal => elements.refuse(claim, Verdict::Drop),
            Route::ExternalLocal => {
                elements.dispatch(claim, shortcut, Choice::Cluster);
                if has_local {
                    elements.dispatch(claim, to_local, Choice::Local);
                } else {
                    elements.refuse(claim, Verdict::Drop);
                }
            }
        }
    }
    elements.guard(claim);
    elements
}

impl Elements {
    fn refuse(&mut self, claim: &Claim, verdict: Verdict) {
        self.keys.push((
            claim.frontend.no_endpoints(),
            claim.frontend.key(),
            Value::Verdict(verdict),
        ));
    }

    fn dispatch(&mut self, claim: &Claim, dispatch: Dispatch, choice: Choice) {
        let target = &claim.target;
        let endpoints = choice.endpoints(target);
        let chain = if target.affinity.is_some() {
            affine_chain(target, choice)
        } else {
            let map = dispatch.endpoints(target.family);
            self.keys.reserve(endpoints.len() + 1);
            for (slot, endpoint) in (0..).zip(endpoints) {
                let data = Value::Data(endpoint_data(*endpoint));
                self.keys.push((Name::clone(&map), claim.frontend.slot_key(slot), data));
            }
            let count = u32::try_from(endpoints.len()).expect("a Service has fewer than 2^32 endpoints");
            self.picks.push((dispatch.picks_as(), target.family, count));
            dispatch.pick(target.family, count)
        };
        let verdict = Value::Verdict(Verdict::Goto(chain));
        self.keys
            .push((dispatch.map(target.family), claim.frontend.key(), verdict));
    }

    fn guard(&mut self, claim: &Claim) {
        let Some(sources) = &claim.sources else { return };
        let family = claim.frontend.family();
        self.keys
            .push((suffixed("guarded", family), claim.frontend.key(), Value::Nothing));
        let ranges = suffixed("source_ranges", family);
        for (first, last) in sources.iter() {
            let key = |source| claim.frontend.append_to(Datum::builder()).address(source).finish();
            self.ranges.push((Name::clone(&ranges), (key(*first), key(*last))));
        }
    }
}

fn endpoint_data(endpoint: SocketAddr) -> Datum {
    Datum::builder().address(endpoint.ip()).port(endpoint.port()).finish()
}
