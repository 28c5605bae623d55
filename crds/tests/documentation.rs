//! The examples in docs/configuration.md are objects of our kinds, and say nothing that the kinds do not know.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fairlead_crds::{AddressPool, GROUP, LoadBalancer, LoadBalancerProvider, annotation, condition, reason};
use k8s_openapi::api::core::v1::Service;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md")).unwrap()
}

/// The blocks of YAML on the page.
fn examples(page: &str) -> Vec<Value> {
    page.split("```yaml\n")
        .skip(1)
        .map(|rest| serde_saphyr::from_str(rest.split("```").next().unwrap()).unwrap())
        .collect()
}

/// Reads an object, and fails if it says something that is not in what was read.
fn read<K: DeserializeOwned + Serialize>(example: &Value) -> K {
    let object: K = serde_json::from_value(example.clone()).unwrap_or_else(|error| panic!("{error}: {example}"));
    assert_contains(&serde_json::to_value(&object).unwrap(), example, "");
    object
}

fn assert_contains(whole: &Value, part: &Value, path: &str) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (key, value) in part {
                let found = whole.get(key).unwrap_or_else(|| panic!("{path}.{key} is unknown"));
                assert_contains(found, value, &format!("{path}.{key}"));
            }
        }
        (Value::Array(whole), Value::Array(part)) => {
            assert_eq!(whole.len(), part.len(), "{path}");
            for (i, (whole, part)) in whole.iter().zip(part).enumerate() {
                assert_contains(whole, part, &format!("{path}[{i}]"));
            }
        }
        (whole, part) => assert_eq!(whole, part, "{path}"),
    }
}

#[test]
fn the_examples_are_objects_of_the_kinds() {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    let examples = examples(&page());
    for example in &examples {
        let kind = example["kind"].as_str().unwrap();
        *count.entry(kind).or_default() += 1;
        match kind {
            "LoadBalancerProvider" => drop(read::<LoadBalancerProvider>(example)),
            "AddressPool" => drop(read::<AddressPool>(example)),
            "LoadBalancer" => drop(read::<LoadBalancer>(example)),
            "Service" => drop(read::<Service>(example)),
            other => panic!("an example of {other}"),
        }
        if kind != "Service" {
            assert_eq!(example["apiVersion"], format!("{GROUP}/v1alpha1"));
        }
    }
    let expected = [
        ("AddressPool", 1),
        ("LoadBalancer", 1),
        ("LoadBalancerProvider", 2),
        ("Service", 1),
    ];
    assert_eq!(count, BTreeMap::from(expected));
}

#[test]
fn the_page_names_the_annotations_and_words_as_they_are() {
    let page = page();
    for name in [
        annotation::PROVIDER,
        annotation::ADDRESS_POOL,
        annotation::LOAD_BALANCER_IPS,
        annotation::ALLOW_SHARED_IP,
    ] {
        assert!(page.contains(&format!("`{name}`")), "{name} is missing");
    }
    assert!(page.contains(&format!("type: {}", condition::READY)));
}

#[test]
fn every_reason_is_explained_once_and_no_other() {
    let page = page();
    let (_, section) = page.split_once("\n## Reasons\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut explained: Vec<_> = section
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .collect();
    let mut expected: Vec<_> = reason::ALL.iter().map(ToString::to_string).collect();
    explained.sort_unstable();
    expected.sort_unstable();
    assert_eq!(explained, expected);
}

#[test]
fn twins_of_annotations_have_the_same_name() {
    for twins in [
        annotation::ADDRESS_POOL_ALL,
        annotation::LOAD_BALANCER_IPS_ALL,
        annotation::ALLOW_SHARED_IP_ALL,
    ] {
        let name = twins[0].strip_prefix("fairlead.io/").unwrap();
        let expected = ["fairlead.io", "metallb.io", "metallb.universe.tf"].map(|prefix| format!("{prefix}/{name}"));
        assert_eq!(twins.map(str::to_owned), expected);
    }
}
