//! Whatever frame arrives on the LAN: the responder answers it or drops it, and does not panic.

#![no_main]

use std::net::IpAddr;
use std::time::Instant;

use fairlead_local::announcement::{Holding, Link, Mac, Responder, Timing};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let now = Instant::now();
    let mut responder = Responder::new(Timing::default());
    responder.set_links(
        [Link {
            index: 2,
            name: "eth0".to_owned(),
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            flags: 0x1_0003,
            is_port: false,
            prefixes: [
                "172.30.0.11/24".parse().expect("a prefix"),
                "fd00:172:30::11/64".parse().expect("a prefix"),
            ]
            .into(),
            carrier_changes: 1,
            lower: None,
            routers: Vec::new(),
        }],
        now,
    );
    let held = ["172.30.0.200", "fd00:172:30::200"].map(|text| {
        let holding = Holding {
            answers_echo: true,
            ..Holding::default()
        };
        (text.parse::<IpAddr>().expect("an address"), holding)
    });
    responder.hold(held.into(), now);
    responder.frame(2, bytes, now);
});
