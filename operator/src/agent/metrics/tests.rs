#![expect(clippy::float_cmp, reason = "every value here is exact in binary")]

use super::*;

fn value(metrics: &Metrics, series: &str) -> f64 {
    let text = metrics.encode();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no series {series} in\n{text}"))
        .parse()
        .unwrap()
}

#[test]
fn the_names_are_kube_proxys() {
    let text = Metrics::new().encode();
    let mut types: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE kubeproxy_"))
        .collect();
    types.sort_unstable();
    assert_eq!(
        types,
        [
            "conntrack_reconciler_deleted_entries_total counter",
            "conntrack_reconciler_sync_duration_seconds histogram",
            "network_programming_duration_seconds histogram",
            "proxy_healthz_total counter",
            "proxy_livez_total counter",
            "sync_full_proxy_rules_duration_seconds histogram",
            "sync_partial_proxy_rules_duration_seconds histogram",
            "sync_proxy_rules_duration_seconds histogram",
            "sync_proxy_rules_endpoint_changes_pending gauge",
            "sync_proxy_rules_endpoint_changes_total counter",
            "sync_proxy_rules_last_queued_timestamp_seconds gauge",
            "sync_proxy_rules_last_timestamp_seconds gauge",
            "sync_proxy_rules_nftables_cleanup_failures_total counter",
            "sync_proxy_rules_nftables_sync_failures_total counter",
            "sync_proxy_rules_no_local_endpoints_total gauge",
            "sync_proxy_rules_service_changes_pending gauge",
            "sync_proxy_rules_service_changes_total counter",
        ],
    );
    for name in [
        "cpu_seconds_total counter",
        "resident_memory_bytes gauge",
        "open_fds gauge",
        "start_time_seconds gauge",
    ] {
        assert!(text.contains(&format!("# TYPE process_{name}\n")), "{name}");
    }
}

#[test]
fn the_buckets_are_kube_proxys() {
    let metrics = Metrics::new();
    let text = metrics.encode();
    let bounds = |name: &str| -> Vec<&str> {
        let prefix = format!("{name}_bucket{{ip_family=\"IPv6\",le=\"");
        text.lines()
            .filter_map(|line| line.strip_prefix(&prefix)?.split('"').next())
            .collect()
    };
    let sync = bounds("kubeproxy_sync_proxy_rules_duration_seconds");
    assert_eq!(
        (sync.len(), sync[0], sync[14], sync[15]),
        (16, "0.001", "16.384", "+Inf")
    );
    let programming = bounds("kubeproxy_network_programming_duration_seconds");
    assert_eq!(programming.len(), 2 + 59 + 12 + 7 + 1);
    assert_eq!(programming[..4], ["0.25", "0.5", "1", "2"]);
    assert_eq!(programming[59..64], ["58", "59", "60", "65", "70"]);
    assert_eq!(
        programming[72..],
        ["115", "120", "150", "180", "210", "240", "270", "300", "+Inf"]
    );
}

#[test]
fn a_sync_counts_for_both_families_and_settles_the_changes() {
    let metrics = Metrics::new();
    metrics.service_changed();
    metrics.endpoints_changed(Family::V6);
    metrics.endpoints_changed(Family::V6);
    let pending = "kubeproxy_sync_proxy_rules_endpoint_changes_pending";
    assert_eq!(value(&metrics, &format!("{pending}{{ip_family=\"IPv4\"}}")), 0.0);
    assert_eq!(value(&metrics, &format!("{pending}{{ip_family=\"IPv6\"}}")), 2.0);
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
    metrics.sync_queued(at);
    metrics.synced(&Synced {
        extent: Extent::Partial,
        duration: Duration::from_millis(3),
        at,
    });
    for family in ["IPv4", "IPv6"] {
        let of = |name: &str| value(&metrics, &format!("kubeproxy_{name}{{ip_family=\"{family}\"}}"));
        assert_eq!(of("sync_proxy_rules_endpoint_changes_pending"), 0.0);
        assert_eq!(of("sync_proxy_rules_service_changes_pending"), 0.0);
        assert_eq!(of("sync_proxy_rules_service_changes_total"), 1.0);
        assert_eq!(of("sync_proxy_rules_duration_seconds_count"), 1.0);
        assert_eq!(of("sync_partial_proxy_rules_duration_seconds_count"), 1.0);
        assert_eq!(of("sync_full_proxy_rules_duration_seconds_count"), 0.0);
        assert_eq!(of("sync_proxy_rules_last_timestamp_seconds"), 1.5);
        assert_eq!(of("sync_proxy_rules_last_queued_timestamp_seconds"), 1.5);
    }
    assert_eq!(
        value(
            &metrics,
            "kubeproxy_sync_proxy_rules_endpoint_changes_total{ip_family=\"IPv6\"}"
        ),
        2.0
    );
    metrics.sync_failed();
    assert_eq!(
        value(
            &metrics,
            "kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family=\"IPv4\"}"
        ),
        1.0
    );
}

#[test]
fn our_own_have_their_prefix() {
    let metrics = Metrics::new();
    let commit = Commit {
        added: 5,
        removed: 2,
        bytes: 700,
        duration: Duration::from_micros(80),
    };
    metrics.committed(&commit);
    metrics.committed(&commit);
    metrics.event_committed(Duration::from_millis(2));
    metrics.table_healed("TableDeleted");
    metrics.source_objects("Service", 12);
    metrics.source_problems(1);
    metrics.programmed(Family::V6, 4, 9);
    metrics.no_local_endpoints(Family::V4, PolicySide::External, 3);
    metrics.conntrack_reconciled(Family::V4, Duration::from_millis(1), 7);
    metrics.health_check_listen_failed();
    for (series, want) in [
        ("fairlead_build_info{version=\"0.1.0\"}", 1.0),
        ("fairlead_transactions_total", 2.0),
        ("fairlead_transaction_elements_total{op=\"add\"}", 10.0),
        ("fairlead_transaction_elements_total{op=\"remove\"}", 4.0),
        ("fairlead_transaction_bytes_total", 1400.0),
        ("fairlead_commit_duration_seconds_count", 2.0),
        ("fairlead_event_to_commit_seconds_count", 1.0),
        ("fairlead_table_heals_total{reason=\"TableDeleted\"}", 1.0),
        ("fairlead_source_objects{kind=\"Service\"}", 12.0),
        ("fairlead_source_problems", 1.0),
        ("fairlead_services{ip_family=\"IPv6\"}", 4.0),
        ("fairlead_endpoints{ip_family=\"IPv6\"}", 9.0),
        ("fairlead_health_check_listen_failures_total", 1.0),
        (
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv4\",traffic_policy=\"external\"}",
            3.0,
        ),
        (
            "kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family=\"IPv4\"}",
            7.0,
        ),
    ] {
        assert_eq!(value(&metrics, series), want, "{series}");
    }
}
