use super::*;
use crate::sandbox::plan::plan;
use crate::sandbox::report;
use crate::sandbox::testing::Stage;
use crate::terminal::Paint;

const SCREEN: Screen = Screen {
    width: 110,
    paint: Paint { has_colours: false },
};

fn report_of(stage: &Stage) -> Report {
    let scene = stage.scene();
    let plan = plan(&scene);
    Report {
        manifests: "examples".to_owned(),
        edit: None,
        nodes: Vec::new(),
        client: scene.ground.client.both(),
        pod: scene.ground.visitor.both(),
        workloads: report::workloads(&scene, &plan),
        services: report::services(&scene, &plan),
        ignored: report::ignored(&scene),
        announced: ["172.30.0.200", "fd00:172:30::200"].map(announced_at).into(),
        problems: vec!["web.yaml:1:1: it is broken".to_owned()],
        traffic: report::traffic(&scene, &stage.asked()),
        health_checks: Vec::new(),
        passed: true,
    }
}

/// It is with node-2 because node-1 was silent.
fn announced_at(address: &str) -> AnnouncedReport {
    AnnouncedReport {
        service: "default/tickets".to_owned(),
        address: address.parse().unwrap(),
        pool: Some("lan".to_owned()),
        node: Some("node-2".to_owned()),
        mac: Some("02:00:ac:1e:00:0c".to_owned()),
        reason: Some("OwnerDead".to_owned()),
        epoch: Some(2),
        why: "the owner was silent for 312 ms".to_owned(),
    }
}

/// The lines of a Service in the table of answers.
fn lines_of<'a>(table: &'a str, service: &str) -> Vec<&'a str> {
    let from_service = table
        .lines()
        .skip_while(|line| line.split_whitespace().nth(1) != Some(service));
    // Lines that name no Service have blanks where its name would be.
    let mut lines: Vec<_> = from_service.collect();
    let end = lines
        .iter()
        .skip(1)
        .position(|line| line.chars().nth(3).is_some_and(|c| c != ' '));
    lines.truncate(end.map_or(lines.len(), |end| end + 1));
    lines
}

#[test]
fn the_tables_of_the_examples_fit_a_terminal_of_110_columns() {
    let report = report_of(&Stage::of_examples());
    for text in [
        services(&report, SCREEN),
        announced(&report.announced, SCREEN),
        traffic(&report.traffic, SCREEN),
        complaints(&report, SCREEN),
    ] {
        for line in text.lines() {
            assert!(line.chars().count() <= SCREEN.width, "{}: {line}", line.chars().count());
            assert_eq!(line.trim_end(), line);
        }
    }
}

#[test]
fn addresses_that_get_the_same_answers_share_a_row() {
    let report = report_of(&Stage::of_examples());
    let table = traffic(&report.traffic, SCREEN);
    assert_eq!(
        lines_of(&table, "web"),
        [
            "✓  web           cluster IP 80                     pod      web-1 24  web-2 24  web-3 24    itself     0.21 ms",
            "✓                cluster IP 80                     node-1   web-1 24  web-2 24  web-3 24    node-1     0.21 ms",
            "✓                node port 30080       node-1      pod      web-1 24  web-2 24  web-3 24    node-1     0.21 ms",
            "✓                node port 30080       node-1      node-1   web-1 24  web-2 24  web-3 24    node-1     0.21 ms",
            "✓                node port 30080       node-1,2,3  outside  web-1 72  web-2 72  web-3 72    that node  0.21 ms",
        ]
    );
    assert!(
        lines_of(&table, "cache")[0].contains("no answer 24  (no local pod)"),
        "{table}"
    );
    assert!(lines_of(&table, "down")[0].contains("refused 24"), "{table}");
}

#[test]
fn an_answer_that_is_wrong_has_a_row_and_an_explanation_of_its_own() {
    let stage = Stage::of_examples();
    let mut asked = stage.asked();
    let tally = asked[0].tally.as_mut().unwrap();
    tally.replies = BTreeMap::from([(("dns-1".to_owned(), "10.244.1.250".parse().unwrap()), 12)]);
    let mut report = report_of(&stage);
    report.traffic = report::traffic(&stage.scene(), &asked);
    let table = traffic(&report.traffic, SCREEN);
    let lines = lines_of(&table, "web");
    assert!(
        lines[0].starts_with("✗  web           cluster IP 80 IPv4") && lines[0].contains("dns-1 12"),
        "{table}"
    );
    assert!(lines[1].starts_with("✓                cluster IP 80 IPv6"), "{table}");
    assert_eq!(
        complaints(&report, SCREEN),
        "\nNOT AS THE MANIFESTS SAY\n\
         ✗ web: cluster IP 10.96.0.10:80/tcp from pod: dns-1 answered, which is no endpoint for it\n"
    );
}

#[test]
fn services_show_what_is_special_about_them() {
    let text = services(&report_of(&Stage::of_examples()), SCREEN);
    for part in [
        "https 443:30443",
        "dns-1 node-1, not ready",
        "catalog-2 node-2, other zone",
        "draining-1 node-2, terminating",
        "health check 32020",
        "affinity 600 s",
        "198.51.100.20 lb",
        "203.0.113.22 ext",
        "mirror    ExternalName: an alias of packages.example.com",
        "! web.yaml:1:1: it is broken",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn times_have_as_many_digits_as_mean_something() {
    assert_eq!(
        [70, 9_999, 12_345, 1_234_567].map(duration),
        ["0.07 ms", "10.00 ms", "12.3 ms", "1235 ms"]
    );
}
