use std::time::{Duration, SystemTime};

use super::cluster::Cluster;
use super::foresee::{Report, foresee};
use super::input::{Input, InputError, applied};
use super::*;
use crate::objects;
use crate::terminal::Paint;
use crate::terminal::Screen;

const CLUSTER: &str = include_str!("tests/cluster.yaml");
const SERVICES: &str = include_str!("tests/services.yaml");

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)
}

fn read(yaml: &str) -> Result<Input, InputError> {
    Input::read(&objects::parse("test.yaml", yaml).unwrap(), "default")
}

fn cluster() -> Cluster {
    read(CLUSTER).unwrap().objects
}

fn live(yaml: &str) -> Report {
    foresee(Some(cluster()), read(yaml).unwrap(), &[], now())
}

fn shown(report: &Report) -> String {
    let screen = Screen {
        width: 120,
        paint: Paint { has_colours: false },
    };
    text::text(report, screen)
}

fn report_of<'a>(report: &'a Report, name: &str) -> &'a super::foresee::ServiceReport {
    report.services.iter().find(|service| service.name == name).unwrap()
}

#[test]
fn each_service_is_told_who_takes_it_and_why_what_it_gets_and_what_is_done() {
    let report = live(SERVICES);
    insta::assert_snapshot!(shown(&report));
    assert_eq!(report.complaints(), 3);
}

#[test]
fn without_a_cluster_the_files_are_all_that_there_is() {
    let report = foresee(None, read(&format!("{CLUSTER}---\n{SERVICES}")).unwrap(), &[], now());
    let online = live(SERVICES);
    for service in &online.services {
        assert_eq!(
            report_of(&report, &service.name).steps,
            service.steps,
            "{}",
            service.name
        );
    }
    // It is of the files here, and nothing is to be done.
    assert_eq!(report_of(&report, "default/old").steps, [""; 0]);
}

#[test]
fn machines_read_the_same() {
    let report =
        live("{apiVersion: v1, kind: Service, metadata: {name: late}, spec: {type: LoadBalancer, ports: [{port: 1}]}}");
    insta::assert_snapshot!(serde_saphyr::to_string(&report).unwrap());
    let json: serde_json::Value = serde_json::to_value(&report).unwrap();
    assert_eq!(json["services"][0]["addresses"][0], "198.51.100.1");
}

#[test]
fn a_change_shows_what_it_does_to_others() {
    // The pool shrinks: one that has an address of it loses it.
    let pool = "{apiVersion: fairlead.io/v1alpha1, kind: AddressPool, metadata: {name: public}, spec: {addresses: [198.51.100.1/32]}}";
    let report = live(pool);
    insta::assert_snapshot!(shown(&report));
    // Who does not get what it asks for is not of the files.
    assert_eq!(report.complaints(), 0);
    // A pool that takes addresses of another one is the fault of the files.
    let pool = "{apiVersion: fairlead.io/v1alpha1, kind: AddressPool, metadata: {name: new}, spec: {addresses: [198.51.100.0/24]}}";
    let report = live(pool);
    assert_eq!(report.complaints(), 1);
    assert_eq!(
        shown(&report),
        "AddressPool new\n  problem    PoolOverlap: spec.addresses: 198.51.100.0-198.51.100.1 is in AddressPool public too\nnothing to do\n"
    );
}

#[test]
fn what_is_new_is_the_youngest() {
    let default = "apiVersion: fairlead.io/v1alpha1\nkind: LoadBalancerProvider\nmetadata: {name: alpha}\nspec: {default: true, local: {}}\n";
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: late}\nspec: {type: LoadBalancer}\n";
    let report = live(&(default.to_owned() + service));
    let service = report_of(&report, "default/late");
    assert_eq!(service.provider.as_deref(), Some("metal"));
    assert_eq!(
        service.why,
        "it is the oldest default, and the Service has no spec.loadBalancerClass"
    );
}

#[test]
fn a_service_that_is_there_keeps_what_it_has() {
    let old = "{apiVersion: v1, kind: Service, metadata: {name: old}, spec: {type: LoadBalancer, ports: [{port: 80}]}}";
    let report = live(old);
    let service = report_of(&report, "default/old");
    assert_eq!((service.addresses.len(), service.steps.len()), (1, 0));
    // What takes its load balancer away.
    let report = live(&old.replace("type: LoadBalancer", "type: ClusterIP"));
    assert_eq!(
        report_of(&report, "default/old").steps,
        [
            "clear the Service's status",
            "remove finalizer service.kubernetes.io/load-balancer-cleanup",
            "delete LoadBalancer"
        ]
    );
}

#[test]
fn a_service_gets_the_ip_families_that_an_api_server_would_give_it() {
    use fairlead_model::Family::{V4, V6};
    let families = |spec: &str, old: Option<&str>, cluster: &[Family]| {
        let service = |spec: &str| {
            let yaml = format!(
                "{{apiVersion: v1, kind: Service, metadata: {{name: a}}, spec: {{type: LoadBalancer, {spec}}}}}"
            );
            read(&yaml).unwrap().objects.services.remove(0)
        };
        let spec = applied(service(spec), old.map(service).as_ref(), cluster).spec.unwrap();
        (spec.ip_families.unwrap().join(" "), spec.ip_family_policy.unwrap())
    };
    let both = [V6, V4];
    for (spec, old, expected) in [
        ("", None, ("IPv6", "SingleStack")),
        ("ipFamilies: [IPv4]", None, ("IPv4", "SingleStack")),
        ("ipFamilies: [IPv4, IPv6]", None, ("IPv4 IPv6", "RequireDualStack")),
        (
            "ipFamilyPolicy: PreferDualStack",
            None,
            ("IPv6 IPv4", "PreferDualStack"),
        ),
        (
            "ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4]",
            None,
            ("IPv4 IPv6", "RequireDualStack"),
        ),
        ("", Some("ipFamilies: [IPv4]"), ("IPv4", "SingleStack")),
        (
            "ipFamilyPolicy: PreferDualStack",
            Some("ipFamilies: [IPv4]"),
            ("IPv4 IPv6", "PreferDualStack"),
        ),
    ] {
        let (families, policy) = families(spec, old, &both);
        assert_eq!((families.as_str(), policy.as_str()), expected, "{spec} after {old:?}");
    }
    assert_eq!(families("ipFamilyPolicy: PreferDualStack", None, &[V4]).0, "IPv4");
}

#[test]
fn what_the_cluster_has_is_told_or_said_to_be_assumed() {
    let service = "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {type: LoadBalancer}}";
    let report = foresee(None, read(service).unwrap(), &[], now());
    assert!(report.are_ip_families_assumed);
    assert!(
        shown(&report).contains("are taken to get IPv4: nothing here says"),
        "{}",
        shown(&report)
    );
    let report = foresee(None, read(service).unwrap(), &[Family::V6], now());
    assert_eq!(
        (report.ip_families, report.are_ip_families_assumed),
        (vec!["IPv6".to_owned()], false)
    );
    assert_eq!(live(service).ip_families, ["IPv4", "IPv6"]);
}

#[test]
fn what_cannot_be_read_is_named() {
    let error = |yaml: &str| read(yaml).unwrap_err().to_string();
    assert_eq!(
        error("{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: http}]}}"),
        "Service a: spec.ports[0].port: invalid type: string \"http\", expected i32"
    );
    assert_eq!(
        error("{apiVersion: v1, kind: Service, metadata: {generateName: a}}"),
        "Service: metadata.name is missing"
    );
    let twice = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: default}\n";
    assert_eq!(error(twice), "Service default/a is in the files twice");
}
