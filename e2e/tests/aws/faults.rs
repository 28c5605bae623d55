//! What the proxy does to a call, seen by a real SDK.

use std::time::{Duration, Instant};

use fairlead_e2e::aws::{AwsBackend, Outcome, Refusal, Refused, TokenBucket, with_aws};
use fairlead_lab::test_name;
use serde_json::{Value, json};

use crate::make_target_group;

const LIMIT: Duration = Duration::from_mins(1);

fn describe_groups(aws: &AwsBackend) -> anyhow::Result<Value> {
    aws.boto_through_proxy()
        .call("elbv2", "describe_target_groups", &json!({}))
}

/// What AWS said, as the SDK understood it.
fn refused<T: std::fmt::Debug>(result: anyhow::Result<T>) -> (String, u16) {
    let error = result.unwrap_err();
    let refused: &Refused = error.downcast_ref().unwrap_or_else(|| panic!("{error:#}"));
    (refused.code.clone(), refused.status)
}

#[test]
fn a_call_above_the_limit_is_throttled_in_the_words_of_its_service() {
    with_aws(test_name!(), |aws| {
        aws.faults().on("*").throttle(2);
        assert_eq!(refused(describe_groups(aws)), ("Throttling".to_owned(), 400));
        let vpcs = || aws.boto_through_proxy().call("ec2", "describe_vpcs", &json!({}));
        assert_eq!(refused(vpcs()), ("RequestLimitExceeded".to_owned(), 503));
        vpcs().unwrap();
        aws.faults().on("acm:*").throttle(1);
        let certificates = || aws.boto_through_proxy().call("acm", "list_certificates", &json!({}));
        assert_eq!(refused(certificates()), ("ThrottlingException".to_owned(), 400));
        certificates().unwrap();
        let expected = [
            ("acm:ListCertificates", 1),
            ("ec2:DescribeVpcs", 1),
            ("elasticloadbalancing:DescribeTargetGroups", 1),
        ];
        assert_eq!(
            aws.faults().refused(),
            expected.map(|(action, count)| (action.to_owned(), count)).into()
        );
        assert_eq!(aws.faults().calls()["ec2:DescribeVpcs"], 2);
    });
}

#[test]
fn a_bucket_throttles_until_it_has_a_token_again() {
    with_aws(test_name!(), |aws| {
        let pause = Duration::from_secs(2);
        aws.faults().on("Describe*").throttle_above(TokenBucket::new(1, pause));
        let began = Instant::now();
        describe_groups(aws).unwrap();
        // The clock runs from the first call, which came in later than `began`.
        let found = fairlead_lab::wait_for(LIMIT, "a call to be granted again", || describe_groups(aws).ok());
        found.unwrap();
        assert!(began.elapsed() >= pause, "it was granted after {:?}", began.elapsed());
    });
}

#[test]
fn a_service_can_have_a_fault_of_its_own() {
    with_aws(test_name!(), |aws| {
        aws.faults().on("DescribeTargetGroups").fail(503, 1);
        aws.faults().on("ec2:DescribeVpcs").fail(500, 1);
        assert_eq!(refused(describe_groups(aws)), ("ServiceUnavailable".to_owned(), 503));
        describe_groups(aws).unwrap();
        let vpcs = || aws.boto_through_proxy().call("ec2", "describe_vpcs", &json!({}));
        assert_eq!(refused(vpcs()), ("InternalError".to_owned(), 500));
        vpcs().unwrap();
    });
}

#[test]
fn any_error_can_be_had() {
    with_aws(test_name!(), |aws| {
        let refusal = Refusal::new("TooManyTargetGroups", "no more than <3000> & not one more");
        aws.faults().on("CreateTargetGroup").refuse(refusal.clone(), 1);
        let network = aws.boto().make_network("cluster", 0).unwrap();
        let made = make_target_group(&aws.boto_through_proxy(), &network, "one", "ip");
        let error = made.unwrap_err();
        let refused: &Refused = error.downcast_ref().unwrap();
        assert_eq!((&refused.code, &refused.message), (&refusal.code, &refusal.message));
        assert_eq!(aws.boto().describe().unwrap()["TargetGroups"], json!([]));
    });
}

#[test]
fn a_call_whose_reply_is_dropped_was_done_and_one_that_is_dropped_itself_was_not() {
    with_aws(test_name!(), |aws| {
        let network = aws.boto().make_network("cluster", 0).unwrap();
        let groups = || {
            let seen = aws.boto().describe().unwrap();
            let groups = seen["TargetGroups"].as_array().unwrap().iter();
            groups.map(|group| group["TargetGroupName"].clone()).collect::<Vec<_>>()
        };
        let through_proxy = aws.boto_through_proxy();
        aws.faults().on("CreateTargetGroup").drop_request(1);
        let error = make_target_group(&through_proxy, &network, "never", "ip").unwrap_err();
        assert!(error.downcast_ref::<Refused>().is_none(), "{error:#}");
        assert_eq!(groups(), Vec::<Value>::new());

        aws.faults().on("CreateTargetGroup").drop_reply(1);
        let error = make_target_group(&through_proxy, &network, "done", "ip").unwrap_err();
        assert!(error.downcast_ref::<Refused>().is_none(), "{error:#}");
        assert_eq!(groups(), ["done"]);

        make_target_group(&through_proxy, &network, "told", "ip").unwrap();
        assert_eq!(groups(), ["done", "told"]);
        let outcomes: Vec<_> = aws.faults().history().into_iter().map(|call| call.outcome).collect();
        let expected = [
            Outcome::RequestDropped,
            Outcome::ReplyDropped(200),
            Outcome::Answered(200),
        ];
        assert_eq!(outcomes, expected);
    });
}

#[test]
fn a_reply_can_come_late() {
    with_aws(test_name!(), |aws| {
        let delay = Duration::from_secs(5);
        aws.faults().on("DescribeTargetGroups").delay_reply(delay, 1);
        let began = Instant::now();
        describe_groups(aws).unwrap();
        assert!(began.elapsed() >= delay, "it came after {:?}", began.elapsed());
    });
}

#[test]
fn a_reply_that_is_held_comes_when_it_is_released() {
    with_aws(test_name!(), |aws| {
        let network = aws.boto().make_network("cluster", 0).unwrap();
        aws.faults().on("CreateTargetGroup").hold_reply(1);
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| make_target_group(&aws.boto_through_proxy(), &network, "held", "ip"));
            let held = aws.faults().wait_until(LIMIT, "the reply to be held", |calls| {
                calls.iter().any(|call| call.outcome == Outcome::Held(200))
            });
            held.unwrap();
            let seen = aws.boto().describe().unwrap();
            assert_eq!(seen["TargetGroups"][0]["TargetGroupName"], "held");
            assert!(!caller.is_finished());
            aws.faults().release();
            caller.join().unwrap().unwrap();
        });
        assert_eq!(aws.faults().history()[0].outcome, Outcome::Answered(200));
    });
}
