use fairlead_crds::LoadBalancerStatus;
use k8s_openapi::api::core::v1::ServiceSpec;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::*;

/// A Service and a record at an API server that does what it is told.
#[derive(Debug, Clone, PartialEq)]
struct Cluster {
    service: Option<Service>,
    load_balancer: Option<LoadBalancer>,
}

fn key() -> ServiceName {
    ServiceName::new("shop", "web")
}

fn now() -> Time {
    Time(Timestamp::from_second(1_800_000_000).unwrap())
}

fn service(finalizers: &[&str]) -> Service {
    let mut service = Service {
        spec: Some(ServiceSpec {
            type_: Some("LoadBalancer".to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    service.metadata.finalizers = Some(finalizers.iter().map(|&name| name.to_owned()).collect());
    service
}

fn wanted(addresses: &[&str]) -> Wanted {
    Wanted::LoadBalancer {
        provider: "metal".into(),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        pool: (!addresses.is_empty()).then(|| "pool".into()),
        complaint: None,
    }
}

fn refused() -> Wanted {
    Wanted::LoadBalancer {
        provider: "metal".into(),
        addresses: Vec::new(),
        pool: None,
        complaint: Some(Complaint {
            reason: reason::POOL_EXHAUSTED,
            message: "every address is taken".to_owned(),
        }),
    }
}

impl Cluster {
    fn new() -> Self {
        Self {
            service: Some(service(&["example.com/foreign"])),
            load_balancer: None,
        }
    }

    fn plan(&self, wanted: &Wanted) -> Vec<Step> {
        let observed = Observed {
            key: &key(),
            service: self.service.as_ref(),
            load_balancer: self.load_balancer.as_ref(),
        };
        plan(&observed, wanted, &now())
    }

    fn lines(&self, wanted: &Wanted) -> Vec<String> {
        self.plan(wanted).iter().map(ToString::to_string).collect()
    }

    fn perform(&mut self, step: &Step) {
        match step {
            Step::Create(spec) => {
                if self.load_balancer.is_none() {
                    let mut made = LoadBalancer::new("web", spec.clone());
                    made.metadata.generation = Some(1);
                    made.metadata.finalizers = Some(vec![KEEPER.to_owned()]);
                    self.load_balancer = Some(made);
                }
            }
            Step::Update(spec) => {
                let load_balancer = self.load_balancer.as_mut().unwrap();
                if load_balancer.spec != *spec {
                    load_balancer.metadata.generation = load_balancer.metadata.generation.map(|number| number + 1);
                }
                load_balancer.spec = spec.clone();
                load_balancer.metadata.finalizers = Some(vec![KEEPER.to_owned()]);
            }
            Step::Delete => self.load_balancer = None,
            Step::Report(report) => {
                self.load_balancer.as_mut().unwrap().status = Some(LoadBalancerStatus {
                    addresses: report.addresses.iter().map(ToString::to_string).collect(),
                    pool: report.pool.as_deref().map(str::to_owned),
                    hostname: report.hostname.clone(),
                    ids: report
                        .ids
                        .iter()
                        .filter_map(|(name, id)| Some((name.clone(), id.clone()?)))
                        .collect(),
                    conditions: report.conditions.clone(),
                    observed_generation: report.observed_generation,
                    ..LoadBalancerStatus::default()
                });
            }
            Step::Publish(addresses) => {
                let Some(service) = &mut self.service else { return };
                let ingress: Vec<_> = addresses
                    .iter()
                    .map(|address| json!({"ip": address, "ipMode": "VIP"}))
                    .collect();
                service.status = Some(serde_json::from_value(json!({"loadBalancer": {"ingress": ingress}})).unwrap());
            }
            Step::PublishHostname(hostname) => {
                let Some(service) = &mut self.service else { return };
                let status = json!({"loadBalancer": {"ingress": [{"hostname": hostname}]}});
                service.status = Some(serde_json::from_value(status).unwrap());
            }
            Step::AddFinalizer | Step::RemoveFinalizer => {
                let Some(service) = &mut self.service else { return };
                let finalizers = service.metadata.finalizers.get_or_insert_default();
                finalizers.retain(|name| name != FINALIZER);
                if *step == Step::AddFinalizer {
                    finalizers.push(FINALIZER.to_owned());
                }
            }
        }
    }

    /// Does the first of the steps, and gives how many there were.
    fn carry_out(&mut self, wanted: &Wanted, first: usize) -> usize {
        let steps = self.plan(wanted);
        steps.iter().take(first).for_each(|step| self.perform(step));
        steps.len()
    }
}

#[test]
fn a_load_balancer_is_recorded_before_the_service_is_kept_and_published_last() {
    let mut cluster = Cluster::new();
    let lines = cluster.lines(&wanted(&["198.51.100.7", "2001:db8::7"]));
    assert_eq!(
        lines,
        [
            "create LoadBalancer of provider metal",
            "add finalizer service.kubernetes.io/load-balancer-cleanup",
            "write 198.51.100.7, 2001:db8::7 into the Service's status",
            "write LoadBalancer status: 198.51.100.7, 2001:db8::7",
        ]
    );
    cluster.carry_out(&wanted(&["198.51.100.7", "2001:db8::7"]), usize::MAX);
    assert_eq!(cluster.lines(&wanted(&["198.51.100.7", "2001:db8::7"])), [""; 0]);
    assert_eq!(
        cluster.lines(&wanted(&["198.51.100.7"])),
        [
            "write 198.51.100.7 into the Service's status",
            "write LoadBalancer status: 198.51.100.7",
        ]
    );
    assert_eq!(
        cluster.lines(&Wanted::Nothing),
        [
            "clear the Service's status",
            "remove finalizer service.kubernetes.io/load-balancer-cleanup",
            "delete LoadBalancer",
        ]
    );
}

#[test]
fn what_cannot_be_had_is_told_and_told_once() {
    let mut cluster = Cluster::new();
    assert_eq!(
        cluster.lines(&refused()).last().unwrap(),
        "write LoadBalancer status (PoolExhausted)"
    );
    cluster.carry_out(&refused(), usize::MAX);
    assert_eq!(cluster.lines(&refused()), [""; 0]);
    let status = cluster.load_balancer.as_ref().unwrap().status.as_ref().unwrap();
    let conditions: Vec<_> = status
        .conditions
        .iter()
        .map(|condition| (&*condition.type_, &*condition.status, &*condition.message))
        .collect();
    assert_eq!(
        conditions,
        [
            ("Accepted", "False", "every address is taken"),
            ("Ready", "False", "every address is taken"),
        ]
    );
}

#[test]
fn a_record_that_can_be_deleted_before_its_service_is_mended() {
    let mut cluster = Cluster::new();
    cluster.carry_out(&wanted(&["198.51.100.7"]), usize::MAX);
    let metadata = &mut cluster.load_balancer.as_mut().unwrap().metadata;
    metadata.finalizers = None;
    assert_eq!(
        cluster.lines(&wanted(&["198.51.100.7"])),
        ["change LoadBalancer to provider metal"]
    );
    cluster.carry_out(&wanted(&["198.51.100.7"]), usize::MAX);
    assert_eq!(cluster.lines(&wanted(&["198.51.100.7"])), [""; 0]);
    // Of one that is being deleted finalizers cannot be added any more.
    let metadata = &mut cluster.load_balancer.as_mut().unwrap().metadata;
    (metadata.finalizers, metadata.deletion_timestamp) = (None, Some(now()));
    assert_eq!(cluster.lines(&wanted(&["198.51.100.7"])), [""; 0]);
}

#[test]
fn a_service_of_type_node_port_has_its_addresses_on_record_alone() {
    let mut cluster = Cluster::new();
    let spec = cluster.service.as_mut().unwrap().spec.as_mut().unwrap();
    spec.type_ = Some("NodePort".to_owned());
    assert_eq!(
        cluster.lines(&wanted(&["198.51.100.7"])),
        [
            "create LoadBalancer of provider metal",
            "add finalizer service.kubernetes.io/load-balancer-cleanup",
            "write LoadBalancer status: 198.51.100.7",
        ]
    );
    cluster.carry_out(&wanted(&["198.51.100.7"]), usize::MAX);
    assert_eq!(cluster.lines(&wanted(&["198.51.100.7"])), [""; 0]);
}

#[test]
fn nothing_is_done_to_what_is_not_ours() {
    // Another controller's finalizer has the same name, and its address is in the status.
    let mut cluster = Cluster::new();
    cluster.perform(&Step::AddFinalizer);
    cluster.perform(&Step::Publish(vec!["203.0.113.1".parse().unwrap()]));
    assert_eq!(cluster.lines(&Wanted::Nothing), [""; 0]);
}

#[test]
fn what_nobody_looks_after_keeps_its_addresses() {
    let mut cluster = Cluster::new();
    cluster.carry_out(&wanted(&["198.51.100.7"]), usize::MAX);
    let unattended = Wanted::Unattended(Complaint {
        reason: reason::UNKNOWN_PROVIDER,
        message: "there is no LoadBalancerProvider metal".to_owned(),
    });
    assert_eq!(
        cluster.lines(&unattended),
        ["write LoadBalancer status: 198.51.100.7 (UnknownProvider)"]
    );
    cluster.carry_out(&unattended, usize::MAX);
    assert_eq!(cluster.lines(&unattended), [""; 0]);
}

#[test]
fn a_crash_between_any_two_steps_leaves_nothing_that_is_not_found_again() {
    let changes = [
        wanted(&["198.51.100.7"]),
        wanted(&["198.51.100.8"]),
        refused(),
        wanted(&[]),
        Wanted::Nothing,
    ];
    for last in 0..changes.len() {
        for lived in 0..8 {
            let mut cluster = Cluster::new();
            for change in &changes[..last] {
                cluster.carry_out(change, usize::MAX);
            }
            cluster.carry_out(&changes[last], lived);
            // The user changes their mind, or deletes the Service.
            for is_deleted in [false, true] {
                let mut cluster = cluster.clone();
                if is_deleted {
                    let service = cluster.service.as_mut().unwrap();
                    service.metadata.deletion_timestamp = Some(now());
                }
                cluster.carry_out(&Wanted::Nothing, usize::MAX);
                assert_eq!(cluster.load_balancer, None);
                let finalizers = cluster.service.as_ref().unwrap().metadata.finalizers.clone();
                assert_eq!(finalizers, Some(vec!["example.com/foreign".to_owned()]));
                let observed = Observed {
                    key: &key(),
                    service: cluster.service.as_ref(),
                    load_balancer: None,
                };
                assert_eq!(observed.published(), [] as [IpAddr; 0], "change {last}, step {lived}");
            }
        }
    }
}

#[test]
fn a_load_balancer_of_a_cloud_is_recorded_first_and_let_go_when_nothing_of_it_is_left() {
    let mut cluster = Cluster::new();
    let cloud = |state| Wanted::Cloud {
        provider: "aws".into(),
        state,
    };
    let run = |cluster: &mut Cluster, wanted: &Wanted| {
        // Another provider is another generation, which the status follows.
        for _ in 0..2 {
            for step in cluster.plan(wanted) {
                cluster.perform(&step);
            }
        }
        assert_eq!(cluster.lines(wanted), [""; 0], "it is done");
    };
    assert_eq!(
        cluster.lines(&cloud(None)),
        [
            "create LoadBalancer of provider aws",
            "add finalizer service.kubernetes.io/load-balancer-cleanup",
            "write LoadBalancer status (Pending)",
        ]
    );
    run(&mut cluster, &cloud(None));
    let state = State {
        hostname: Some("web.elb.example".to_owned()),
        ids: [("LoadBalancer".to_owned(), "arn:1".to_owned())].into(),
        ..State::default()
    };
    assert_eq!(
        cluster.lines(&cloud(Some(state.clone()))),
        [
            "write web.elb.example into the Service's status",
            "write LoadBalancer status: web.elb.example",
        ]
    );
    run(&mut cluster, &cloud(Some(state.clone())));
    assert_eq!(
        cluster.lines(&cloud(None)),
        [""; 0],
        "an operator that knows nothing yet changes nothing"
    );

    // As long as something is left, the record says so, and the Service stays.
    run(&mut cluster, &Wanted::Leaving(Some(state)));
    let status = cluster.load_balancer.clone().unwrap().status.unwrap();
    assert_eq!(status.conditions[1].reason, reason::DELETING);
    assert_eq!(status.ids["LoadBalancer"], "arn:1");
    assert_eq!(
        cluster.lines(&Wanted::Nothing),
        [
            "clear the Service's status",
            "remove finalizer service.kubernetes.io/load-balancer-cleanup",
            "delete LoadBalancer",
        ]
    );

    // From a cloud to addresses: neither the name nor the parts stay on record.
    run(&mut cluster, &wanted(&["198.51.100.7"]));
    let status = cluster.load_balancer.unwrap().status.unwrap();
    assert!(status.hostname.is_none() && status.ids.is_empty());
}

#[test]
fn what_is_wrong_in_a_cloud_is_told_apart_by_who_can_mend_it() {
    let state = |hostname: Option<&str>, complaint: bool, trouble: bool| {
        let said = |reason| Complaint {
            reason,
            message: "it is said".to_owned(),
        };
        Some(State {
            hostname: hostname.map(str::to_owned),
            complaint: complaint.then(|| said(reason::INVALID_ANNOTATION)),
            trouble: trouble.then(|| said(reason::PROVIDER_ERROR)),
            ..State::default()
        })
    };
    let conditions = |state| {
        let mut cluster = Cluster::new();
        let wanted = Wanted::Cloud {
            provider: "aws".into(),
            state,
        };
        for step in cluster.plan(&wanted) {
            cluster.perform(&step);
        }
        let status = cluster.load_balancer.unwrap().status.unwrap();
        let shown = status
            .conditions
            .into_iter()
            .map(|condition| format!("{} {}", condition.status, condition.reason));
        shown.collect::<Vec<_>>()
    };
    assert_eq!(conditions(state(None, true, false)), ["False InvalidAnnotation"; 2]);
    assert_eq!(
        conditions(state(None, false, true)),
        ["True Accepted", "False ProviderError"]
    );
    assert_eq!(
        conditions(state(Some("web.elb.example"), true, false)),
        ["False InvalidAnnotation", "True Ready"]
    );
    assert_eq!(
        conditions(state(Some("web.elb.example"), false, true)),
        ["True Accepted", "True Ready"]
    );
}
