use std::collections::BTreeMap;
use std::time::Instant;

use hyper::HeaderMap;

/// One call of the API, as the proxy saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Service and action, named as in a policy: `ec2:DescribeSubnets`, `elasticloadbalancing:CreateListener`.
    pub action: String,
    /// What was asked for, with the names of the query protocol: `Subnets.member.1`. Empty where the service speaks JSON.
    pub parameters: BTreeMap<String, String>,
    /// What became of it.
    pub outcome: Outcome,
    /// When it came in.
    pub at: Instant,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is on its way.
    Pending,
    /// AWS did it or refused it, with this HTTP status, and the caller was told.
    Answered(u16),
    /// The same, but the caller is not told yet.
    Held(u16),
    /// The same, but the caller was not told.
    ReplyDropped(u16),
    /// A fault: it was refused with this HTTP status, and AWS never saw it.
    Refused(u16),
    /// A fault: the connection was closed, and AWS never saw it.
    RequestDropped,
    /// AWS could not be reached.
    Failed,
}

/// How a service's requests and errors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Forms, answered with XML.
    Query,
    /// Forms, answered with XML in which errors look different.
    Ec2,
    /// JSON, with the action in a header.
    Json,
}

/// What a request asks for; `None` if it is no call, such as LocalStack's own pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) service: String,
    pub(super) action: String,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) protocol: Protocol,
}

impl Asked {
    pub(super) fn from_request(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let signed_for = header("authorization").and_then(service_of);
        if let Some(target) = header("x-amz-target") {
            let (api, action) = target.rsplit_once('.')?;
            return Some(Self {
                service: signed_for.unwrap_or(api).to_owned(),
                action: action.to_owned(),
                parameters: BTreeMap::new(),
                protocol: Protocol::Json,
            });
        }
        let parameters = from_form(body);
        let action = parameters.get("Action")?.clone();
        let version = parameters.get("Version").map_or("", String::as_str);
        // What anybody may call, such as sts:AssumeRoleWithWebIdentity, is not signed.
        let service = signed_for.unwrap_or(match version {
            "2011-06-15" => "sts",
            "2010-05-08" => "iam",
            "2015-12-01" => "elasticloadbalancing",
            "2016-11-15" => "ec2",
            _ => "unknown",
        });
        let protocol = if service == "ec2" {
            Protocol::Ec2
        } else {
            Protocol::Query
        };
        Some(Self {
            service: service.to_owned(),
            action,
            parameters,
            protocol,
        })
    }

    /// As [`Call::action`].
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.service, self.action)
    }
}

/// The service in the scope of a signature: `… Credential=KEY/20261125/us-east-1/ec2/aws4_request, …`.
fn service_of(authorization: &str) -> Option<&str> {
    let (_, credential) = authorization.split_once("Credential=")?;
    credential.split([',', ' ']).next()?.split('/').nth(3)
}

fn from_form(body: &[u8]) -> BTreeMap<String, String> {
    let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let mut half = || decoded(halves.next().unwrap_or_default());
            (half(), half())
        })
        .collect()
}

/// A `+` is a space and `%2F` a slash. What is no code stays as it is.
fn decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => match after.first_chunk().copied().and_then(from_hexadecimal) {
                Some(byte) => {
                    rest = &after[2..];
                    byte
                }
                None => b'%',
            },
            other => *other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn from_hexadecimal(digits: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::{AUTHORIZATION, HeaderValue};

    use super::*;

    fn signed(service: &str) -> HeaderMap {
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=000000000001/20261125/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        [(AUTHORIZATION, HeaderValue::try_from(scope).unwrap())]
            .into_iter()
            .collect()
    }

    #[test]
    fn a_call_is_named_by_its_signature_and_its_form() {
        let body = b"Action=CreateListener&Version=2015-12-01&Tags.member.1.Value=a%2Fb+c%3d%&Empty=";
        let asked = Asked::from_request(&signed("elasticloadbalancing"), body).unwrap();
        assert_eq!(asked.name(), "elasticloadbalancing:CreateListener");
        assert_eq!(asked.parameters["Tags.member.1.Value"], "a/b c=%");
        assert_eq!(asked.parameters["Empty"], "");
        assert_eq!(asked.protocol, Protocol::Query);
        let asked = Asked::from_request(&signed("ec2"), b"Version=2016-11-15&Action=DescribeVpcs").unwrap();
        assert_eq!(
            (asked.name().as_str(), asked.protocol),
            ("ec2:DescribeVpcs", Protocol::Ec2)
        );
    }

    #[test]
    fn a_call_without_a_signature_is_named_by_its_version() {
        let body = b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15";
        let asked = Asked::from_request(&HeaderMap::new(), body).unwrap();
        assert_eq!(asked.name(), "sts:AssumeRoleWithWebIdentity");
    }

    #[test]
    fn a_service_that_speaks_json_names_the_action_in_a_header() {
        let mut headers = signed("acm");
        headers.insert(
            "x-amz-target",
            HeaderValue::from_static("CertificateManager.ListCertificates"),
        );
        let asked = Asked::from_request(&headers, b"{}").unwrap();
        assert_eq!(
            (asked.name().as_str(), asked.protocol),
            ("acm:ListCertificates", Protocol::Json)
        );
    }

    #[test]
    fn what_is_no_call_has_no_name() {
        assert_eq!(Asked::from_request(&HeaderMap::new(), b""), None);
        assert_eq!(Asked::from_request(&signed("ec2"), b"Version=2016-11-15"), None);
    }
}
