//! Which targets of others' target groups are ours: written down on the `LoadBalancer` object before they are registered.

use std::collections::{BTreeMap, BTreeSet};

use fairlead_aws::desired::Target;
use fairlead_crds::LoadBalancer;
use kube::ResourceExt;

/// The annotation: by ARN, a list of `id port zone`.
pub const ANNOTATION: &str = "fairlead.io/aws-registered-targets";

/// Targets by the target group's ARN.
pub type Records = BTreeMap<String, BTreeSet<Target>>;

/// What is on record. What cannot be read is left out: only what is known to be ours is taken away.
pub fn read(record: &LoadBalancer) -> Records {
    let Some(text) = record.annotations().get(ANNOTATION) else {
        return Records::new();
    };
    let written: BTreeMap<String, Vec<String>> = serde_json::from_str(text).unwrap_or_default();
    let targets = |texts: Vec<String>| texts.iter().filter_map(|text| target(text)).collect();
    written.into_iter().map(|(arn, texts)| (arn, targets(texts))).collect()
}

/// As it is written; `None` if there is nothing to write.
pub fn write(records: &Records) -> Option<String> {
    let texts = |targets: &BTreeSet<Target>| targets.iter().map(text).collect::<Vec<_>>();
    let written: BTreeMap<_, _> = records
        .iter()
        .filter(|(_, targets)| !targets.is_empty())
        .map(|(arn, targets)| (arn, texts(targets)))
        .collect();
    (!written.is_empty()).then(|| serde_json::to_string(&written).expect("texts are JSON"))
}

fn text(target: &Target) -> String {
    let zone = target.zone.as_deref().unwrap_or("-");
    let server = target.quic_server_id.as_deref().unwrap_or("-");
    format!("{} {} {zone} {server}", target.id, target.port)
}

fn target(text: &str) -> Option<Target> {
    let mut parts = text.split(' ');
    let (id, port) = (parts.next()?, parts.next()?.parse().ok()?);
    let mut more = || parts.next().filter(|part| *part != "-").map(str::to_owned);
    Some(Target {
        id: id.to_owned(),
        port,
        zone: more(),
        quic_server_id: more(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let target = |id: &str, zone: Option<&str>| Target {
            id: id.to_owned(),
            port: 80,
            zone: zone.map(str::to_owned),
            quic_server_id: None,
        };
        let records: Records = [(
            "arn:1".to_owned(),
            [target("10.0.0.7", None), target("2001:db8::7", Some("all"))].into(),
        )]
        .into();
        let mut record = LoadBalancer::new(
            "web",
            fairlead_crds::LoadBalancerSpec {
                provider: "aws".to_owned(),
                services: Vec::new(),
            },
        );
        assert!(read(&record).is_empty());
        let annotations = record.metadata.annotations.get_or_insert_default();
        annotations.insert(ANNOTATION.to_owned(), write(&records).unwrap());
        assert_eq!(read(&record), records);
        assert_eq!(write(&[("arn:1".to_owned(), BTreeSet::new())].into()), None);
    }
}
