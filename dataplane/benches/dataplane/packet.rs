//! What the first packet of a connection takes, beside one bare DNAT rule.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use fairlead_dataplane::compile::Compiler;
use fairlead_dataplane::netlink::{Connection, Ownership};
use fairlead_dataplane::sync::Dataplane;
use fairlead_dataplane::table::{Chain, ChainKind, Hook, HookPoint, Rule, Statement, Table};
use fairlead_dataplane::transaction::Transaction;
use fairlead_lab::{Lab, Namespace, Pod};
use fairlead_model::{Backend, Candidate, Family, Protocol, Selection, Service, ServicePort, Standing};

use crate::cost::percentile;
use crate::fixture::{Cluster, cluster_ip};

const PAIRS: usize = 6_000;
const PORT: u16 = 8080;
const TIMEOUT: Duration = Duration::from_secs(2);

/// Two nodes of the same shape, each with a pod that asks and a pod that answers. One has the whole rule set, the other one
/// rule; they are asked in turn, so that whatever the machine does meanwhile falls on both.
pub(crate) fn first_packet() {
    println!("| first packet of a UDP flow and its answer | p50 | p99 | one DNAT rule: p50 | p99 | ratio of p50 |");
    println!("|---|---|---|---|---|---|");
    for services in [10, 100, 1_000, 10_000, 50_000] {
        let lab = Lab::with_nodes(2).expect("a lab");
        let (with_services, with_rule) = (lab.node(1), lab.node(2));
        let ours = Pair::new(
            with_services.add_pod("ask").expect("a pod"),
            with_services.add_pod("answer").expect("a pod"),
        );
        let bare = Pair::new(
            with_rule.add_pod("ask").expect("a pod"),
            with_rule.add_pod("answer").expect("a pod"),
        );
        let vip = cluster_ip(services / 2);
        // Both values live until the end: they own their tables.
        let _dataplane = with_services.run(|| load_services(services, vip, ours.answers));
        let _rule = with_rule.run(|| load_rule(bare.answers));
        let target = SocketAddr::new(vip.into(), 80);
        let (mut through_services, mut through_rule) = (Vec::new(), Vec::new());
        for pair in 0..PAIRS + PAIRS / 10 {
            let (a, b) = (ours.ask(target), bare.ask(target));
            // The first tenth warms up.
            if pair >= PAIRS / 10 {
                through_services.push(a);
                through_rule.push(b);
            }
        }
        let p50 = (percentile(&mut through_services, 50), percentile(&mut through_rule, 50));
        let p99 = (percentile(&mut through_services, 99), percentile(&mut through_rule, 99));
        println!(
            "| {services} Services | {:.1?} | {:.1?} | {:.1?} | {:.1?} | **{:.2}** |",
            p50.0,
            p99.0,
            p50.1,
            p99.1,
            p50.0.as_secs_f64() / p50.1.as_secs_f64(),
        );
    }
}

struct Pair {
    asks: Pod,
    answers: Ipv4Addr,
    /// Ends the echo server when it is dropped.
    _server: Echo,
}

impl Pair {
    fn new(asks: Pod, answers: Pod) -> Self {
        let address = answers.addresses().v4;
        Self {
            asks,
            answers: address,
            _server: Echo::start(answers),
        }
    }

    /// Time from sending the first packet of a new flow to its answer.
    fn ask(&self, target: SocketAddr) -> Duration {
        let socket = in_namespace(&self.asks, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))).expect("a socket");
        socket.set_read_timeout(Some(TIMEOUT)).expect("a time limit");
        socket.connect(target).expect("a route");
        let began = Instant::now();
        socket.send(b"?").expect("a packet");
        socket.recv(&mut [0; 16]).expect("an answer");
        began.elapsed()
    }
}

fn in_namespace(namespace: &Namespace, bind: impl FnOnce() -> io::Result<UdpSocket> + Send) -> io::Result<UdpSocket> {
    namespace.run(bind)
}

/// A thread that answers every packet until the socket is closed.
struct Echo {
    pod: Pod,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Echo {
    fn start(pod: Pod) -> Self {
        let bound = in_namespace(&pod, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)));
        let socket = bound.expect("a free port");
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 16];
            while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                // An empty packet is the word to end.
                if len == 0 || socket.send_to(&buffer[..len], from).is_err() {
                    break;
                }
            }
        });
        Self {
            pod,
            thread: Some(thread),
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let sent = in_namespace(&self.pod, || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.send_to(&[], (Ipv4Addr::LOCALHOST, PORT)).map(|_| socket)
        });
        if sent.is_ok() {
            let _ = self.thread.take().map(std::thread::JoinHandle::join);
        }
    }
}

/// Many Services; the one at `vip` has a UDP port with one real endpoint.
fn load_services(services: u32, vip: Ipv4Addr, endpoint: Ipv4Addr) -> Dataplane {
    let cluster = Cluster::new(services, 2);
    let mut compiler: Compiler = cluster.compile(None);
    let asked = cluster
        .services
        .iter()
        .find(|service| service.cluster_ips == [IpAddr::V4(vip)])
        .expect("it is one of them");
    let port = ServicePort {
        name: "echo".into(),
        protocol: Protocol::Udp,
        port: 80,
        node_port: None,
    };
    let asked = Service {
        ports: vec![port],
        ..asked.clone()
    };
    compiler.set_service(&asked, |_, family| {
        let backend = Backend {
            address: endpoint.into(),
            port: PORT,
            is_local: true,
        };
        let candidate = Candidate {
            backend,
            node: None,
            zone: None,
            is_serving: true,
            is_ready: true,
            cluster: Standing::Chosen,
            local: Standing::Chosen,
        };
        Selection {
            candidates: if family == Family::V4 {
                vec![candidate]
            } else {
                Vec::new()
            },
        }
    });
    let mut dataplane = Dataplane::open(Ownership::Owned).expect("nf_tables");
    dataplane.reconcile(&mut compiler).expect("the kernel takes it");
    dataplane
}

/// `meta l4proto udp dnat ip to …` and nothing else.
fn load_rule(endpoint: Ipv4Addr) -> Connection {
    let hook = Hook {
        kind: ChainKind::Nat,
        point: HookPoint::Prerouting,
        priority: -100,
    };
    let dnat = Statement::Dnat(SocketAddr::new(endpoint.into(), PORT));
    let rules = vec![Rule(vec![Statement::L4Proto(Protocol::Udp), dnat])];
    let mut table = Table::default();
    table.chains.insert(
        "bare".into(),
        Chain {
            hook: Some(hook),
            rules,
        },
    );
    let mut connection = Connection::open(Ownership::Owned).expect("nf_tables");
    connection
        .commit(&Transaction::load(&table), None)
        .expect("the kernel takes it");
    connection
}
