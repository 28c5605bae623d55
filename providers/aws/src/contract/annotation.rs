//! The names of the annotations, without their prefix.

/// What every annotation of the contract begins with.
pub const PREFIX: &str = "service.beta.kubernetes.io/";

pub(super) const TYPE: &str = "aws-load-balancer-type";
pub(super) const TARGET_TYPE: &str = "aws-load-balancer-nlb-target-type";
pub(super) const NAME: &str = "aws-load-balancer-name";
pub(super) const SCHEME: &str = "aws-load-balancer-scheme";
pub(super) const INTERNAL: &str = "aws-load-balancer-internal";
pub(super) const IP_ADDRESS_TYPE: &str = "aws-load-balancer-ip-address-type";
pub(super) const TAGS: &str = "aws-load-balancer-additional-resource-tags";
pub(super) const MULTI_CLUSTER: &str = "aws-load-balancer-multi-cluster-target-group";

pub(crate) const SUBNETS: &str = "aws-load-balancer-subnets";
pub(crate) const EIP_ALLOCATIONS: &str = "aws-load-balancer-eip-allocations";
pub(crate) const PRIVATE_IPV4: &str = "aws-load-balancer-private-ipv4-addresses";
pub(crate) const IPV6: &str = "aws-load-balancer-ipv6-addresses";
pub(crate) const SOURCE_NAT: &str = "aws-load-balancer-enable-prefix-for-ipv6-source-nat";
pub(crate) const SOURCE_NAT_PREFIXES: &str = "aws-load-balancer-source-nat-ipv6-prefixes";

pub(super) const SOURCE_RANGES: &str = "load-balancer-source-ranges";
pub(super) const PREFIX_LISTS: &str = "aws-load-balancer-security-group-prefix-lists";
pub(crate) const SECURITY_GROUPS: &str = "aws-load-balancer-security-groups";
pub(super) const MANAGE_BACKEND_RULES: &str = "aws-load-balancer-manage-backend-security-group-rules";
pub(crate) const DISABLE_SECURITY_GROUPS: &str = "aws-load-balancer-disable-nlb-sg";
pub(super) const PRIVATE_LINK_RULES: &str = "aws-load-balancer-inbound-sg-rules-on-private-link-traffic";
pub(super) const PATH_MTU_DISCOVERY: &str = "aws-load-balancer-enable-icmp-for-path-mtu-discovery";

pub(super) const CERTIFICATES: &str = "aws-load-balancer-ssl-cert";
pub(super) const TLS_PORTS: &str = "aws-load-balancer-ssl-ports";
pub(super) const TLS_POLICY: &str = "aws-load-balancer-ssl-negotiation-policy";
pub(super) const BACKEND_PROTOCOL: &str = "aws-load-balancer-backend-protocol";
pub(super) const ALPN: &str = "aws-load-balancer-alpn-policy";
pub(super) const LISTENER_ATTRIBUTES: &str = "aws-load-balancer-listener-attributes";
pub(super) const TCP_UDP: &str = "aws-load-balancer-enable-tcp-udp-listener";
pub(super) const QUIC_PORTS: &str = "aws-load-balancer-quic-enabled-ports";
pub(crate) const ACTIONS: &str = "actions";

pub(super) const TARGET_GROUP_ATTRIBUTES: &str = "aws-load-balancer-target-group-attributes";
pub(super) const PROXY_PROTOCOL: &str = "aws-load-balancer-proxy-protocol";
pub(super) const PROXY_PROTOCOL_PORTS: &str = "aws-load-balancer-proxy-protocol-per-target-group";
pub(super) const NODE_LABELS: &str = "aws-load-balancer-target-node-labels";
pub(super) const HEALTH_PROTOCOL: &str = "aws-load-balancer-healthcheck-protocol";
pub(super) const HEALTH_PORT: &str = "aws-load-balancer-healthcheck-port";
pub(super) const HEALTH_PATH: &str = "aws-load-balancer-healthcheck-path";
pub(super) const HEALTH_CODES: &str = "aws-load-balancer-healthcheck-success-codes";
pub(super) const HEALTH_INTERVAL: &str = "aws-load-balancer-healthcheck-interval";
pub(super) const HEALTH_TIMEOUT: &str = "aws-load-balancer-healthcheck-timeout";
pub(super) const HEALTHY_THRESHOLD: &str = "aws-load-balancer-healthcheck-healthy-threshold";
pub(super) const UNHEALTHY_THRESHOLD: &str = "aws-load-balancer-healthcheck-unhealthy-threshold";

pub(super) const ATTRIBUTES: &str = "aws-load-balancer-attributes";
pub(super) const ACCESS_LOG: &str = "aws-load-balancer-access-log-enabled";
pub(super) const ACCESS_LOG_BUCKET: &str = "aws-load-balancer-access-log-s3-bucket-name";
pub(super) const ACCESS_LOG_PREFIX: &str = "aws-load-balancer-access-log-s3-bucket-prefix";
pub(super) const CROSS_ZONE: &str = "aws-load-balancer-cross-zone-load-balancing-enabled";
pub(super) const CAPACITY: &str = "aws-load-balancer-minimum-load-balancer-capacity";
