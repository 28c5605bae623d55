//! Compares what came back with what must become of a question. Pure.

use std::fmt;
use std::net::IpAddr;

use fairlead_model::Protocol;

use super::expected::{Expected, Seen, source_of};
use super::question::{HOME_NODE, Origin, Question};
use super::scene::Scene;
use super::traffic::{Asked, Tally};

/// Whom workloads saw, in words: the one who asks, a node, or a stranger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sighted {
    /// The one who asks, by its own address.
    Itself,
    /// A node, by one of its addresses.
    Node(String),
    /// An address that is neither.
    Stranger(IpAddr),
}

impl fmt::Display for Sighted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself => f.write_str("itself"),
            Self::Node(name) => f.write_str(name),
            Self::Stranger(address) => address.fmt(f),
        }
    }
}

/// Whose address a workload saw. A node that asks is called by its name, since its own address and that of the node are
/// the same to the workload.
pub(super) fn sighted(scene: &Scene<'_>, question: &Question, client: IpAddr) -> Sighted {
    let source = source_of(scene, question.key.origin, question.family());
    if client == source && question.key.origin != Origin::Node {
        return Sighted::Itself;
    }
    match scene.ground.nodes.iter().find(|node| node.owns(client)) {
        Some(node) => Sighted::Node(node.name.clone()),
        None => Sighted::Stranger(client),
    }
}

/// What is wrong with the answers; nothing if all is as it must be.
pub(super) fn complaint(scene: &Scene<'_>, asked: &Asked) -> Option<String> {
    let tally = asked.tally.as_ref()?;
    match &asked.question.expected {
        Expected::Answer {
            from,
            is_affine,
            is_incomplete,
        } => {
            for (server, client) in tally.replies.keys() {
                let Some(seen) = from.get(server) else {
                    return Some(format!("{server} answered, which is no endpoint for it"));
                };
                let wanted = match (seen, asked.question.key.origin) {
                    (Seen::Client, Origin::Node) => Sighted::Node(scene.ground.node(HOME_NODE).name.clone()),
                    (Seen::Client, _) => Sighted::Itself,
                    (Seen::Node(node), _) => Sighted::Node(scene.ground.node(*node).name.clone()),
                };
                let got = sighted(scene, &asked.question, *client);
                if got != wanted {
                    return Some(format!(
                        "{server} saw {got} ({client}) as its client instead of {wanted}"
                    ));
                }
            }
            if *is_affine && !is_incomplete && tally.answers().len() > 1 {
                return Some("one client got several endpoints in spite of its affinity".to_owned());
            }
            let others = other_than_replies(tally, !is_incomplete);
            others.map(|others| format!("{others} instead of an answer"))
        }
        Expected::Refused => {
            if let Some((server, _)) = tally.replies.keys().next() {
                return Some(format!("{server} answered, although nobody is ready"));
            }
            // The kernel keeps an ICMP error for an SCTP association in the making to itself.
            let is_silent = tally.unanswered > 0 && asked.question.protocol() != Protocol::Sctp;
            (is_silent || !tally.failed.is_empty())
                .then(|| {
                    other_than_replies(
                        &Tally {
                            refused: 0,
                            ..tally.clone()
                        },
                        true,
                    )
                })
                .flatten()
                .map(|others| format!("{others} instead of a refusal"))
        }
        Expected::Dropped(_) => {
            if let Some((server, _)) = tally.replies.keys().next() {
                return Some(format!("{server} answered, although the connection must be dropped"));
            }
            let others = other_than_replies(
                &Tally {
                    unanswered: 0,
                    ..tally.clone()
                },
                true,
            );
            others.map(|others| format!("{others} instead of silence"))
        }
        Expected::NotServed => {
            let (server, _) = tally.replies.keys().next()?;
            Some(format!("{server} answered for a Service that must be ignored"))
        }
    }
}

/// What came back besides replies, in words.
fn other_than_replies(tally: &Tally, silence_counts: bool) -> Option<String> {
    let mut others = Vec::new();
    if tally.refused > 0 {
        others.push(format!("{} refused", tally.refused));
    }
    if tally.unanswered > 0 && silence_counts {
        others.push(format!("{} without an answer", tally.unanswered));
    }
    others.extend(
        tally
            .failed
            .iter()
            .map(|(error, count)| format!("{count} failed ({error})")),
    );
    (!others.is_empty()).then(|| others.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::sandbox::plan::plan;
    use crate::sandbox::question::questions;
    use crate::sandbox::testing::Stage;

    /// Judges a tally as the answer to the first question of this origin about a Service of the examples.
    fn judge(service: &str, origin: Origin, tally: Tally) -> Option<String> {
        let stage = Stage::of_examples();
        let scene = stage.scene();
        let mut questions = questions(&scene, &plan(&scene)).into_iter();
        let question =
            questions.find(|question| &*question.key.port.service.name == service && question.key.origin == origin);
        complaint(
            &scene,
            &Asked {
                question: question.unwrap(),
                tally: Some(tally),
            },
        )
    }

    fn replies<const N: usize>(replies: [(&str, &str); N]) -> Tally {
        let replies = replies.map(|(server, client)| ((server.to_owned(), client.parse().unwrap()), 1));
        Tally {
            replies: BTreeMap::from(replies),
            ..Tally::default()
        }
    }

    #[test]
    fn answers_of_endpoints_that_see_whom_they_must_are_right() {
        assert_eq!(
            judge(
                "web",
                Origin::Pod,
                replies([("web-1", "10.244.1.250"), ("web-3", "10.244.1.250")])
            ),
            None
        );
        assert_eq!(
            judge(
                "web",
                Origin::Node,
                replies([("web-1", "10.244.1.1"), ("web-2", "172.30.0.11")])
            ),
            None
        );
        assert_eq!(judge("web", Origin::Outside, replies([("web-1", "10.244.1.1")])), None);
        assert_eq!(
            judge(
                "down",
                Origin::Pod,
                Tally {
                    refused: 12,
                    ..Tally::default()
                }
            ),
            None
        );
        assert_eq!(
            judge(
                "cache",
                Origin::Pod,
                Tally {
                    unanswered: 12,
                    ..Tally::default()
                }
            ),
            None
        );
        assert_eq!(
            judge(
                "foreign",
                Origin::Pod,
                Tally {
                    refused: 12,
                    ..Tally::default()
                }
            ),
            None
        );
    }

    #[test]
    fn everything_else_is_named() {
        let cases = [
            (
                "web",
                Origin::Pod,
                replies([("dns-1", "10.244.1.250")]),
                "dns-1 answered, which is no endpoint for it",
            ),
            (
                "web",
                Origin::Pod,
                replies([("web-2", "172.30.0.11")]),
                "web-2 saw node-1 (172.30.0.11) as its client instead of itself",
            ),
            (
                "web",
                Origin::Outside,
                replies([("web-1", "172.30.0.100")]),
                "web-1 saw itself (172.30.0.100) as its client instead of node-1",
            ),
            (
                "cart",
                Origin::Pod,
                replies([("cart-1", "10.244.1.250"), ("cart-2", "10.244.1.250")]),
                "one client got several endpoints in spite of its affinity",
            ),
            (
                "web",
                Origin::Pod,
                Tally {
                    unanswered: 2,
                    ..Tally::default()
                },
                "2 without an answer instead of an answer",
            ),
            (
                "down",
                Origin::Pod,
                Tally {
                    unanswered: 2,
                    ..Tally::default()
                },
                "2 without an answer instead of a refusal",
            ),
            (
                "down",
                Origin::Pod,
                replies([("down-1", "10.244.1.250")]),
                "down-1 answered, although nobody is ready",
            ),
            (
                "cache",
                Origin::Pod,
                Tally {
                    refused: 3,
                    ..Tally::default()
                },
                "3 refused instead of silence",
            ),
            (
                "foreign",
                Origin::Pod,
                replies([("foreign-1", "10.244.1.250")]),
                "foreign-1 answered for a Service that must be ignored",
            ),
        ];
        for (service, origin, tally, wanted) in cases {
            assert_eq!(judge(service, origin, tally).as_deref(), Some(wanted));
        }
    }
}
