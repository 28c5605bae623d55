//! Between AWS' terms and ours.

pub(crate) mod groups;
pub(crate) mod load_balancers;
pub(crate) mod requests;
pub(crate) mod target_groups;

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::types as elb;
use fairlead_aws::contract::ListenerProtocol;
use fairlead_aws::desired::Tags;

/// What is not said is empty.
pub(crate) fn text(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}

/// Tags of load balancers and what belongs to them.
pub(crate) fn tags(tags: &[elb::Tag]) -> Tags {
    tags.iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), text(tag.value()))))
        .collect()
}

/// Tags of what is in EC2.
pub(crate) fn tags_of_ec2(tags: &[aws_sdk_ec2::types::Tag]) -> Tags {
    tags.iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), text(tag.value()))))
        .collect()
}

/// Pairs of keys and values.
pub(crate) fn attributes<'a>(
    pairs: impl IntoIterator<Item = (Option<&'a str>, Option<&'a str>)>,
) -> BTreeMap<String, String> {
    let pairs = pairs.into_iter();
    pairs
        .filter_map(|(key, value)| Some((key?.to_owned(), text(value))))
        .collect()
}

pub(crate) fn protocol(protocol: Option<&elb::ProtocolEnum>) -> Option<ListenerProtocol> {
    const ALL: [ListenerProtocol; 6] = [
        ListenerProtocol::Tcp,
        ListenerProtocol::Udp,
        ListenerProtocol::TcpUdp,
        ListenerProtocol::Tls,
        ListenerProtocol::Quic,
        ListenerProtocol::TcpQuic,
    ];
    let word = protocol?.as_str();
    ALL.into_iter().find(|protocol| protocol.word() == word)
}

pub(crate) fn port(port: Option<i32>) -> Option<u16> {
    port.and_then(|port| u16::try_from(port).ok())
}
