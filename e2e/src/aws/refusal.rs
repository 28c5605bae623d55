use super::call::Protocol;

/// How a service turns a call down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The error's code, such as `TooManyTargets`.
    pub code: String,
    /// What it says to people.
    pub message: String,
}

impl Refusal {
    /// Any error of the API, with the status of errors that are the caller's.
    pub fn new(code: &str, message: &str) -> Self {
        Self {
            status: 400,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }

    /// The same with another HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Too many calls. EC2 has a code and a status of its own for it.
    pub(super) fn throttled(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Query => Self::new("Throttling", "Rate exceeded"),
            Protocol::Ec2 => Self::new("RequestLimitExceeded", "Request limit exceeded.").with_status(503),
            Protocol::Json => Self::new("ThrottlingException", "Rate exceeded"),
        }
    }

    /// The service's own fault.
    pub(super) fn unavailable(protocol: Protocol, status: u16) -> Self {
        let code = match (protocol, status) {
            (Protocol::Ec2, 503) => "Unavailable",
            (Protocol::Ec2, _) => "InternalError",
            (_, 503) => "ServiceUnavailable",
            _ => "InternalFailure",
        };
        Self::new(code, "The request processing has failed because of an unknown error.").with_status(status)
    }

    /// The media type and the text of the answer.
    pub(super) fn body(&self, protocol: Protocol, service: &str) -> (&'static str, String) {
        const ID: &str = "00000000-0000-0000-0000-000000000000";
        let code = escaped(&self.code);
        let message = escaped(&self.message);
        match protocol {
            Protocol::Query => {
                let namespace = match service {
                    "elasticloadbalancing" => "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
                    "sts" => "https://sts.amazonaws.com/doc/2011-06-15/",
                    _ => "https://iam.amazonaws.com/doc/2010-05-08/",
                };
                let blamed = if self.status < 500 { "Sender" } else { "Receiver" };
                let text = format!(
                    "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{blamed}</Type><Code>{code}</Code>\
                     <Message>{message}</Message></Error><RequestId>{ID}</RequestId></ErrorResponse>"
                );
                ("text/xml", text)
            }
            Protocol::Ec2 => {
                let text = format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code>\
                     <Message>{message}</Message></Error></Errors><RequestID>{ID}</RequestID></Response>"
                );
                ("text/xml;charset=UTF-8", text)
            }
            Protocol::Json => {
                let text = serde_json::json!({ "__type": self.code, "message": self.message });
                ("application/x-amz-json-1.1", text.to_string())
            }
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_has_its_own_way_to_say_no() {
        let (_, text) = Refusal::throttled(Protocol::Query).body(Protocol::Query, "elasticloadbalancing");
        assert!(
            text.starts_with("<ErrorResponse xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\">")
        );
        assert!(text.contains("<Type>Sender</Type><Code>Throttling</Code>"), "{text}");
        let (_, text) = Refusal::throttled(Protocol::Ec2).body(Protocol::Ec2, "ec2");
        assert!(
            text.contains("<Response><Errors><Error><Code>RequestLimitExceeded</Code>"),
            "{text}"
        );
        let (_, text) = Refusal::throttled(Protocol::Json).body(Protocol::Json, "acm");
        assert!(text.contains(r#""__type":"ThrottlingException""#), "{text}");
        let (_, text) = Refusal::unavailable(Protocol::Query, 500).body(Protocol::Query, "elasticloadbalancing");
        assert!(
            text.contains("<Type>Receiver</Type><Code>InternalFailure</Code>"),
            "{text}"
        );
    }

    #[test]
    fn a_message_stays_text() {
        let (_, text) = Refusal::new("Code", "a < b & c").body(Protocol::Ec2, "ec2");
        assert!(text.contains("<Message>a &lt; b &amp; c</Message>"), "{text}");
    }
}
