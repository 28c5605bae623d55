//! The names of what is made. They count only then: later everything is found by its tags.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};

use crate::contract::{Scheme, Service, Settings};

use super::TargetGroup;

/// How many digits of a hash are in a name.
const DIGITS: usize = 10;

fn hash(parts: &[&str]) -> String {
    let mut text = String::new();
    for byte in digest(&SHA256, parts.concat().as_bytes()).as_ref() {
        write!(text, "{byte:02x}").expect("a String takes all that is written");
    }
    text.truncate(DIGITS);
    text
}

/// Letters and digits only, and not too many of them.
fn shortened(text: &str, length: usize) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).take(length).collect()
}

fn pattern(service: &Service, hash: &str) -> String {
    let (namespace, name) = (shortened(&service.name.namespace, 8), shortened(&service.name.name, 8));
    format!("k8s-{namespace}-{name}-{hash}")
}

pub(super) fn load_balancer(service: &Service, settings: &Settings, scheme: Scheme, cluster: &str) -> String {
    match &settings.identity.name {
        Some(name) => name.clone(),
        None => pattern(service, &hash(&[cluster, &service.uid, scheme.word()])),
    }
}

/// `base` is the UID of the Service whose listener sends here, where the target group is another one's.
pub(super) fn target_group(
    service: &Service,
    base: Option<&str>,
    port: u16,
    group: &TargetGroup,
    cluster: &str,
) -> String {
    let digest = hash(&[
        cluster,
        base.unwrap_or_default(),
        &service.uid,
        &group.port.to_string(),
        &port.to_string(),
        group.target_type.word(),
        group.protocol.word(),
        group.health_check.protocol.word(),
        &group.health_check.interval.to_string(),
    ]);
    pattern(service, &digest)
}

pub(super) fn security_group(service: &Service, cluster: &str) -> String {
    let digest = hash(&[cluster, &service.name.name, &service.name.namespace, &service.uid]);
    pattern(service, &digest)
}

/// The name of the one security group that targets let in.
pub fn backend_group_name(cluster: &str) -> String {
    let digest = hash(&[cluster]);
    format!("k8s-traffic-{}-{digest}", shortened(cluster, 232))
}

/// Another name for something that is made while its forerunner still has the name.
pub fn replacement_name(name: &str, made_for: &str) -> String {
    let stem = name.rsplit_once('-').map_or(name, |(stem, _)| stem);
    format!("{stem}-{}", hash(&[name, made_for]))
}
