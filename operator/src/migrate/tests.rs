use std::collections::BTreeSet;

use fairlead_crds::{AddressPool, LoadBalancerProvider};
use kube::ResourceExt;

use super::convert::{Migration, migrate};
use super::metallb::Metallb;
use super::note::Weight;
use super::text;
use crate::objects;
use crate::terminal::Paint;

fn migrated(yaml: &str) -> Migration {
    migrate(&Metallb::read(&objects::parse("test.yaml", yaml).unwrap()))
}

/// Both outputs.
fn shown(migration: &Migration) -> String {
    let summary = text::summary(migration, Paint { has_colours: false });
    format!("{}\n=== standard error\n{summary}", text::yaml(migration).unwrap())
}

/// What is printed parses back into what was meant, and the API server would see the same fields.
fn assert_parses_back(migration: &Migration) {
    let printed = objects::parse("printed.yaml", &text::yaml(migration).unwrap()).unwrap();
    assert_eq!(printed.len(), 1 + migration.pools.len());
    assert_eq!(printed[0].read::<LoadBalancerProvider>().unwrap(), migration.provider);
    for (object, pool) in printed[1..].iter().zip(&migration.pools) {
        assert_eq!(object.api_version, "fairlead.io/v1alpha1");
        assert_eq!(object.read::<AddressPool>().unwrap(), *pool);
    }
}

fn selectors(yaml: &str) -> Migration {
    let pool = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a}\nspec: {addresses: [198.51.100.0/24]}\n";
    let advertisements = yaml.lines().enumerate().map(|(index, spec)| {
        format!(
            "---\napiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {{name: l{index}}}\nspec: {spec}\n"
        )
    });
    migrated(&(pool.to_owned() + &advertisements.collect::<String>()))
}

#[test]
fn pools_and_advertisements_keep_their_meaning_and_services_their_addresses() {
    let migration = migrated(include_str!("tests/layer2.yaml"));
    insta::assert_snapshot!(shown(&migration));
    assert_parses_back(&migration);
    assert_eq!(migration.losses(), 0);
    assert_eq!((migration.tally.all, migration.tally.keep), (5, 5));
}

#[test]
fn bgp_is_told_and_so_is_what_pairs_nodes_with_interfaces() {
    let migration = migrated(include_str!("tests/bgp.yaml"));
    insta::assert_snapshot!(shown(&migration));
    assert_parses_back(&migration);
}

#[test]
fn what_is_wrong_is_told_with_object_and_field_and_the_rest_is_printed() {
    let migration = migrated(include_str!("tests/bad.yaml"));
    insta::assert_snapshot!(shown(&migration));
    assert_parses_back(&migration);
    assert_eq!((migration.tally.all, migration.tally.keep), (3, 1));
}

#[test]
fn the_old_configuration_is_read_too() {
    let migration = migrated(include_str!("tests/config-map.yaml"));
    insta::assert_snapshot!(shown(&migration));
    assert_parses_back(&migration);
}

#[test]
fn every_note_about_a_pool_is_printed_with_it_and_none_is_printed_nowhere() {
    for yaml in [
        include_str!("tests/layer2.yaml"),
        include_str!("tests/bgp.yaml"),
        include_str!("tests/bad.yaml"),
        include_str!("tests/config-map.yaml"),
    ] {
        let migration = migrated(yaml);
        let names: BTreeSet<_> = migration.pools.iter().map(ResourceExt::name_any).collect();
        let printed = text::yaml(&migration).unwrap().replace("\n#   ", " ");
        for note in &migration.notes {
            assert!(printed.contains(&note.to_string()), "{note}");
            assert!(note.pools.iter().all(|pool| names.contains(pool)), "{note:?}");
        }
    }
}

#[test]
fn areas_that_make_one_are_joined_without_a_word() {
    let announcement = |yaml: &str| {
        let migration = selectors(yaml);
        let told = migration
            .notes
            .iter()
            .any(|note| note.about.contains("L2Advertisement"));
        (migration.pools[0].spec.announcement.clone(), told)
    };
    // Nodes and interfaces of one advertisement, then all of both.
    let (one, told) = announcement("{nodeSelectors: [{matchLabels: {a: b}}], interfaces: [eth1]}\n{}");
    assert_eq!((one, told), (None, false));
    // The same interface, different nodes.
    let (one, told) = announcement(
        "{nodeSelectors: [{matchLabels: {a: b}}], interfaces: [e]}\n{nodeSelectors: [{matchLabels: {c: d}}], interfaces: [e]}",
    );
    let one = one.unwrap();
    assert_eq!((one.node_selectors.len(), one.interfaces.len(), told), (2, 1, false));
    // The same nodes, different interfaces; named ones are meant whatever network they are in.
    let (one, told) = announcement("{interfaces: [e]}\n{interfaces: [f]}");
    let one = one.unwrap();
    assert_eq!(
        (one.interfaces, one.require_on_link, told),
        (vec!["e".to_owned(), "f".to_owned()], false, false)
    );
    // Four quarters of a square.
    let quarter = |node: &str, interface: &str| {
        format!("{{nodeSelectors: [{{matchLabels: {{n: {node}}}}}], interfaces: [{interface}]}}\n")
    };
    let all = [
        quarter("a", "e"),
        quarter("b", "f"),
        quarter("a", "f"),
        quarter("b", "e"),
    ]
    .concat();
    let (one, told) = announcement(&all);
    assert_eq!((one.unwrap().node_selectors.len(), told), (2, false));
    // Three of them.
    let (_, told) = announcement(&[quarter("a", "e"), quarter("b", "f"), quarter("a", "f")].concat());
    assert!(told);
    // A selector that asks for nothing selects every node.
    let (one, told) = announcement("{nodeSelectors: [{}]}");
    assert_eq!((one, told), (None, false));
}

#[test]
fn an_advertisement_without_a_spec_is_of_every_pool() {
    for spec in ["", "spec: null\n", "spec: {}\n"] {
        for kind in ["L2Advertisement", "BGPAdvertisement"] {
            let pool = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a}\nspec: {addresses: [198.51.100.0/24]}\n";
            let yaml =
                format!("{pool}---\napiVersion: metallb.io/v1beta1\nkind: {kind}\nmetadata: {{name: empty}}\n{spec}");
            let migration = migrated(&yaml);
            assert_eq!(migration.pools[0].spec.announcement, None, "{yaml}");
            let losses = usize::from(kind == "BGPAdvertisement");
            assert_eq!(migration.losses(), losses, "{yaml}");
        }
    }
    // A pool that says nothing is none.
    let migration = migrated("{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: a}}");
    assert!(migration.pools.is_empty());
    assert_eq!(
        migration.notes[0].to_string(),
        "IPAddressPool a: spec.addresses: there is no address in it; nothing was made of this pool"
    );
}

#[test]
fn a_class_that_the_services_have_becomes_the_providers() {
    let yaml = include_str!("tests/layer2.yaml")
        .replace("type: LoadBalancer,", "type: LoadBalancer, loadBalancerClass: metallb,");
    let migration = migrated(&yaml);
    assert_eq!(migration.provider.spec.load_balancer_class.as_deref(), Some("metallb"));
    assert!(!migration.provider.spec.is_default);
    assert_eq!((migration.tally.all, migration.tally.keep), (5, 5));
}

#[test]
fn of_two_services_with_one_address_the_older_one_keeps_it() {
    let service = |name: &str, made: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default, creationTimestamp: \"{made}\"}}\n\
             spec: {{type: LoadBalancer, ipFamilies: [IPv4], ports: [{{port: 80}}]}}\n\
             status: {{loadBalancer: {{ingress: [{{ip: 198.51.100.1}}]}}}}\n"
        )
    };
    let pool = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a}\nspec: {addresses: [198.51.100.0/24]}\n";
    let young = service("a-young", "2026-01-02T00:00:00Z");
    let old = service("b-old", "2026-01-01T00:00:00Z");
    let migration = migrated(&[pool, &young, &old].concat());
    assert_eq!((migration.tally.all, migration.tally.keep), (2, 1));
    let lost = migration.notes.iter().find(|note| note.weight == Weight::Lost).unwrap();
    assert_eq!(
        lost.to_string(),
        "Service default/a-young: it does not keep 198.51.100.1: Service default/b-old has it too, and the two may not share it; it would get \
         198.51.100.0"
    );
}

#[test]
fn a_service_that_loses_its_address_is_named() {
    let yaml = include_str!("tests/layer2.yaml").replace(
        "addresses: [203.0.113.8-203.0.113.9]",
        "addresses: [203.0.113.8-203.0.113.8]",
    );
    let migration = migrated(&yaml);
    assert_eq!((migration.tally.all, migration.tally.keep), (5, 4));
    let lost: Vec<_> = migration
        .notes
        .iter()
        .filter(|note| note.weight == Weight::Lost)
        .collect();
    assert_eq!(
        lost[0].to_string(),
        "Service default/fixed: it does not keep 203.0.113.9: AddressNotInPool: 203.0.113.9 is in no AddressPool"
    );
}
