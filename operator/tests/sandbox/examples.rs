//! What the examples must do.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use fairlead_lab::Protocol;
use serde_json::Value;

/// The report on the examples.
pub(crate) struct Examples<'a>(pub(crate) &'a Value);

/// What must come of every request to a frontend.
#[derive(Debug, Clone, Copy)]
enum Wanted<'a> {
    /// One of these answers, and sees this client: `itself` is whoever asks.
    Answer(&'static [&'static str], &'a str),
    /// The same, and a client gets the same one each time.
    One(&'static [&'static str], &'a str),
    Refused,
    Silence,
}

use Wanted::{Answer, One, Refused, Silence};

const WEB: &[&str] = &["web-1", "web-2", "web-3"];
const DNS: &[&str] = &["dns-2", "dns-3"];
const SHOP: &[&str] = &["shop-1", "shop-2", "shop-3"];
const PARTNER: &[&str] = &["partner-1", "partner-2"];
const TICKETS: &[&str] = &["tickets-1", "tickets-2"];
const CART: &[&str] = &["cart-1", "cart-2", "cart-3"];

/// Service, port name, frontend, who asks, the node that decides, and what comes of it; each in both families.
#[rustfmt::skip]
const WANTED: &[(&str, &str, &str, &str, &str, Wanted<'static>)] = &[
    ("web", "http", "clusterIP", "pod", "node-1", Answer(WEB, "itself")),
    ("web", "http", "clusterIP", "node", "node-1", Answer(WEB, "node-1")),
    ("web", "http", "nodePort", "pod", "node-1", Answer(WEB, "node-1")),
    ("web", "http", "nodePort", "node", "node-1", Answer(WEB, "node-1")),
    ("web", "http", "nodePort", "outside", "node-1", Answer(WEB, "node-1")),
    ("web", "http", "nodePort", "outside", "node-2", Answer(WEB, "node-2")),
    ("web", "http", "nodePort", "outside", "node-3", Answer(WEB, "node-3")),
    ("dns", "dns", "clusterIP", "pod", "node-1", Answer(DNS, "itself")),
    ("dns", "dns", "clusterIP", "node", "node-1", Answer(DNS, "node-1")),
    ("dns", "dns-tcp", "clusterIP", "pod", "node-1", Answer(DNS, "itself")),
    ("dns", "dns-tcp", "clusterIP", "node", "node-1", Answer(DNS, "node-1")),
    ("signalling", "sctp", "clusterIP", "pod", "node-1", Answer(&["signalling-1"], "itself")),
    ("signalling", "sctp", "clusterIP", "node", "node-1", Answer(&["signalling-1"], "node-1")),
    ("shop", "https", "clusterIP", "pod", "node-1", Answer(SHOP, "itself")),
    ("shop", "https", "clusterIP", "node", "node-1", Answer(SHOP, "node-1")),
    ("shop", "https", "nodePort", "pod", "node-1", Answer(SHOP, "itself")),
    ("shop", "https", "nodePort", "node", "node-1", Answer(SHOP, "node-1")),
    ("shop", "https", "nodePort", "outside", "node-1", Silence),
    ("shop", "https", "nodePort", "outside", "node-2", Answer(&["shop-1", "shop-2"], "itself")),
    ("shop", "https", "nodePort", "outside", "node-3", Answer(&["shop-3"], "itself")),
    ("shop", "https", "loadBalancer", "pod", "node-1", Answer(SHOP, "itself")),
    ("shop", "https", "loadBalancer", "node", "node-1", Answer(SHOP, "node-1")),
    ("shop", "https", "loadBalancer", "outside", "node-2", Answer(&["shop-1", "shop-2"], "itself")),
    ("admin", "http", "clusterIP", "pod", "node-1", Answer(&["admin-1"], "itself")),
    ("admin", "http", "clusterIP", "node", "node-1", Answer(&["admin-1"], "node-1")),
    ("admin", "http", "loadBalancer", "pod", "node-1", Silence),
    ("admin", "http", "loadBalancer", "node", "node-1", Silence),
    ("admin", "http", "loadBalancer", "outside", "node-1", Answer(&["admin-1"], "node-1")),
    ("partner", "http", "clusterIP", "pod", "node-1", Answer(PARTNER, "itself")),
    ("partner", "http", "clusterIP", "node", "node-1", Answer(PARTNER, "node-1")),
    ("partner", "http", "externalIP", "pod", "node-1", Answer(PARTNER, "node-1")),
    ("partner", "http", "externalIP", "node", "node-1", Answer(PARTNER, "node-1")),
    ("partner", "http", "externalIP", "outside", "node-1", Answer(PARTNER, "node-1")),
    ("tickets", "http", "clusterIP", "pod", "node-1", Answer(TICKETS, "itself")),
    ("tickets", "http", "clusterIP", "node", "node-1", Answer(TICKETS, "node-1")),
    ("tickets", "http", "loadBalancer", "pod", "node-1", Answer(TICKETS, "node-1")),
    ("tickets", "http", "loadBalancer", "node", "node-1", Answer(TICKETS, "node-1")),
    ("cart", "http", "clusterIP", "pod", "node-1", One(CART, "itself")),
    ("cart", "http", "clusterIP", "node", "node-1", One(CART, "node-1")),
    ("catalog", "http", "clusterIP", "pod", "node-1", Answer(&["catalog-1"], "itself")),
    ("catalog", "http", "clusterIP", "node", "node-1", Answer(&["catalog-1"], "node-1")),
    ("node-metrics", "metrics", "clusterIP", "pod", "node-1", Answer(&["node-metrics-1"], "itself")),
    ("node-metrics", "metrics", "clusterIP", "node", "node-1", Answer(&["node-metrics-1"], "node-1")),
    ("cache", "redis", "clusterIP", "pod", "node-1", Silence),
    ("cache", "redis", "clusterIP", "node", "node-1", Silence),
    ("down", "http", "clusterIP", "pod", "node-1", Refused),
    ("down", "http", "clusterIP", "node", "node-1", Refused),
    ("down", "http", "nodePort", "pod", "node-1", Refused),
    ("down", "http", "nodePort", "node", "node-1", Refused),
    ("down", "http", "nodePort", "outside", "node-1", Refused),
    ("down", "http", "nodePort", "outside", "node-2", Refused),
    ("down", "http", "nodePort", "outside", "node-3", Refused),
    ("draining", "http", "clusterIP", "pod", "node-1", Answer(&["draining-1"], "itself")),
    ("draining", "http", "clusterIP", "node", "node-1", Answer(&["draining-1"], "node-1")),
    // It belongs to another proxy: its cluster IP is in a ServiceCIDR and is none of ours, so it is dropped.
    ("foreign", "", "ignored", "pod", "node-1", Silence),
];

impl Examples<'_> {
    /// Asserts everything that the examples promise.
    pub(crate) fn assert_all(&self) {
        let rows = self.0["traffic"].as_array().unwrap();
        for wanted in WANTED {
            let (service, port, frontend, from, through, outcome) = *wanted;
            let name = format!("default/{service}");
            let matching: Vec<_> = rows
                .iter()
                .filter(|row| {
                    row["service"] == name.as_str()
                        && row["port"] == port
                        && row["frontend"] == frontend
                        && row["from"] == from
                        && row["through"] == through
                })
                .collect();
            let families: BTreeSet<_> = matching.iter().map(|row| row["family"].as_str().unwrap()).collect();
            assert_eq!(families, BTreeSet::from(["IPv4", "IPv6"]), "{wanted:?}");
            for row in matching {
                assert_row(row, outcome);
            }
        }
        // Nothing else was asked: neither an ExternalName nor a headless Service has anything to ask.
        assert_eq!(rows.len(), WANTED.len() * 2 + self.assert_announced());
        self.assert_that_everybody_answers();
        self.assert_ignored();
        self.assert_health_checks();
    }

    /// With so many requests, chance leaves nobody out.
    fn assert_that_everybody_answers(&self) {
        let rows = self.0["traffic"].as_array().unwrap();
        for (service, everybody) in [("web", WEB), ("dns", DNS), ("shop", SHOP), ("partner", PARTNER)] {
            let name = format!("default/{service}");
            let of_service = rows.iter().filter(|row| row["service"] == name.as_str());
            let answered: BTreeSet<_> = of_service
                .flat_map(|row| row["answers"].as_object().unwrap().keys().map(String::as_str))
                .collect();
            assert_eq!(answered, everybody.iter().copied().collect());
        }
    }

    /// Each address of the pool is with one node, whichever: the client finds it there, and the agent there says so. Returns how many
    /// there are.
    fn assert_announced(&self) -> usize {
        let announced = self.0["announced"].as_array().unwrap();
        let addresses: Vec<_> = announced.iter().map(|one| one["address"].as_str().unwrap()).collect();
        assert_eq!(addresses, ["172.30.0.230", "fd00:172:30::230"]);
        for one in announced {
            assert_eq!(
                (&one["service"], &one["pool"]),
                (&"default/tickets".into(), &"lan".into())
            );
            let node = one["node"].as_str().unwrap();
            assert!(node.starts_with("node-") && one["mac"].is_string(), "{one}");
            assert!(one["reason"].is_string() && one["epoch"].as_u64() > Some(0), "{one}");
            let is_its = |row: &&Value| {
                let to: SocketAddr = row["to"].as_str().unwrap().parse().unwrap();
                row["from"] == "outside" && to.ip().to_string() == one["address"].as_str().unwrap()
            };
            let row = self.0["traffic"].as_array().unwrap().iter().find(is_its).unwrap();
            assert_eq!(row["through"], node);
            assert_row(row, Answer(TICKETS, node));
        }
        announced.len()
    }

    fn assert_ignored(&self) {
        let ignored = self.0["ignored"].as_array().unwrap().iter().map(|ignored| {
            let reason = ignored["reason"].as_str().unwrap();
            (
                ignored["name"].as_str().unwrap(),
                reason.split([' ', ':']).next().unwrap(),
            )
        });
        let wanted = [
            ("default/mirror", "ExternalName"),
            ("default/database", "headless"),
            ("default/foreign", "label"),
        ];
        assert_eq!(ignored.collect::<Vec<_>>(), wanted);
    }

    fn assert_health_checks(&self) {
        let checks = self.0["healthChecks"].as_array().unwrap();
        let told: BTreeSet<_> = checks
            .iter()
            .map(|check| (check["node"].as_str().unwrap(), check["status"].as_u64().unwrap()))
            .collect();
        assert_eq!(
            told,
            BTreeSet::from([("node-1", 503), ("node-2", 200), ("node-3", 200)])
        );
        assert_eq!(checks.len(), 6, "three nodes, two families");
    }
}

fn assert_row(row: &Value, wanted: Wanted<'_>) {
    if row["protocol"] == "sctp" && !Protocol::Sctp.is_supported() {
        assert!(row["skipped"].is_string(), "{row:#}");
        return;
    }
    let (refused, unanswered) = (row["refused"].as_u64().unwrap(), row["unanswered"].as_u64().unwrap());
    let answers = row["answers"].as_object().unwrap();
    assert!(
        row["failed"].as_object().unwrap().is_empty() && row["complaint"].is_null(),
        "{row:#}"
    );
    match wanted {
        Answer(from, seen) | One(from, seen) => {
            assert_eq!((refused, unanswered), (0, 0), "{row:#}");
            assert!(
                !answers.is_empty() && answers.keys().all(|name| from.contains(&name.as_str())),
                "{row:#}"
            );
            assert_eq!(row["seenAs"], serde_json::json!([seen]), "{row:#}");
            assert!(!matches!(wanted, One(..)) || answers.len() == 1, "{row:#}");
        }
        Refused => assert!(answers.is_empty() && refused > 0 && unanswered == 0, "{row:#}"),
        Silence => assert!(answers.is_empty() && refused == 0 && unanswered > 0, "{row:#}"),
    }
}
