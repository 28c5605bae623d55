//! Asks on the LAN who has an address, again and again, and notes everybody who answers. A kernel's neighbour table shows only one.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fairlead_lab::Client;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::world::INTERFACE;
use crate::bench::sys;

/// One question in so long.
pub(super) const EVERY: Duration = Duration::from_millis(10);

const ETHERNET: usize = 14;
const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];
const BROADCAST: Mac = [0xff; 6];
const IPV6_HEADER: usize = 40;
const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
/// The longest answer is much shorter.
const LONGEST: usize = 1514;

/// A link-layer address.
pub(super) type Mac = [u8; 6];

/// A question, and who has answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) asked: Instant,
    pub(super) answered: BTreeSet<Mac>,
}

/// Asks until it is dropped.
#[derive(Debug)]
pub(super) struct Asker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    questions: Mutex<Vec<Question>>,
}

/// Whom the client asks about, and as whom.
#[derive(Debug, Clone, Copy)]
struct Subject {
    mac: Mac,
    own: IpAddr,
    target: IpAddr,
}

impl Asker {
    /// Begins to ask from the client.
    pub(super) fn start(client: &Client, target: IpAddr) -> Result<Self> {
        let [v4, v6] = client.addresses().both();
        let subject = Subject {
            mac: client.mac(),
            own: if target.is_ipv4() { v4 } else { v6 },
            target,
        };
        let kind = if target.is_ipv4() { ARP } else { IPV6 };
        let socket = client
            .run(|| sys::packet_socket(INTERFACE, u16::from_be_bytes(kind)))
            .context("cannot open a packet socket")?;
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        Ok(Self {
            thread: Some(thread::spawn(move || of_thread.run(&socket, subject))),
            shared,
        })
    }

    /// All questions so far, in the order in which they were asked.
    pub(super) fn questions(&self) -> Vec<Question> {
        self.shared.questions().clone()
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn questions(&self) -> MutexGuard<'_, Vec<Question>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, socket: &OwnedFd, subject: Subject) {
        let question = subject.question();
        let mut next = Instant::now();
        while !self.is_over.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= next {
                self.questions().push(Question {
                    asked: now,
                    answered: BTreeSet::new(),
                });
                // A question that is not sent has no answer.
                let _ = send(socket, &question, SendFlags::DONTWAIT);
                next = (next + EVERY).max(now);
            }
            let limit = Timespec::try_from(next.saturating_duration_since(now)).expect("a pause is short");
            let _ = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&limit));
            self.hear(socket, subject);
        }
    }

    /// An answer is to the last question: it takes far less time than there is between two.
    fn hear(&self, socket: &OwnedFd, subject: Subject) {
        let mut buffer = [0; LONGEST];
        while let Ok((length, _)) = recv(socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            if let Some(mac) = subject.answer(&buffer[..length.min(LONGEST)])
                && let Some(last) = self.questions().last_mut()
            {
                last.answered.insert(mac);
            }
        }
    }
}

impl Subject {
    fn question(self) -> Vec<u8> {
        match (self.own, self.target) {
            (IpAddr::V4(own), IpAddr::V4(target)) => arp_request(self.mac, own, target),
            (IpAddr::V6(own), IpAddr::V6(target)) => solicitation(self.mac, own, target),
            _ => unreachable!("a client asks in the family of the address"),
        }
    }

    /// Who says in this frame, to the client, that it has the address.
    fn answer(self, frame: &[u8]) -> Option<Mac> {
        let (header, body) = frame.split_at_checked(ETHERNET)?;
        if header[..6] != self.mac {
            return None;
        }
        match self.target {
            IpAddr::V4(target) => {
                let is_reply = body.get(6..8)? == [0, 2] && body.get(14..18)? == target.octets();
                is_reply.then(|| body[8..14].try_into().ok()).flatten()
            }
            IpAddr::V6(target) => {
                let message = body.get(IPV6_HEADER..)?;
                let is_reply = body[6] == ICMPV6
                    && *message.first()? == NEIGHBOUR_ADVERTISEMENT
                    && message.get(8..24)? == target.octets();
                let option = message.get(24..32)?;
                (is_reply && option[0] == TARGET_LINK_LAYER_ADDRESS)
                    .then(|| option[2..8].try_into().ok())
                    .flatten()
            }
        }
    }
}

/// RFC 826.
fn arp_request(mac: Mac, own: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let ethernet_and_ipv4 = [0, 1, 8, 0, 6, 4];
    let parts: [&[u8]; 9] = [
        &BROADCAST,
        &mac,
        &ARP,
        &ethernet_and_ipv4,
        &[0, 1],
        &mac,
        &own.octets(),
        &[0; 6],
        &target.octets(),
    ];
    parts.concat()
}

/// RFC 4861 §4.3, to the solicited-node address.
fn solicitation(mac: Mac, own: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let mut message = [
        &[NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..],
        &target.octets(),
        // The option with the asker's own address.
        &[1, 1],
        &mac,
    ]
    .concat();
    let length = u8::try_from(message.len()).expect("32 bytes");
    let pseudo_header = [&own.octets()[..], &group.octets(), &[0, 0, 0, length, 0, 0, 0, ICMPV6]].concat();
    let sum = checksum(&[&pseudo_header[..], &message].concat());
    message[2..4].copy_from_slice(&sum);
    let header = [0x60, 0, 0, 0, 0, length, ICMPV6, 255];
    [
        &[0x33, 0x33, 0xff, a, b, c][..],
        &mac,
        &IPV6,
        &header,
        &own.octets(),
        &group.octets(),
        &message,
    ]
    .concat()
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).expect("folded")).to_be_bytes()
}

/// How long several nodes answered between two moments: from the first question with several answers to the last, and as much as lies
/// between two questions.
pub(super) fn several_answered(questions: &[Question], from: Instant, to: Instant) -> Duration {
    let mut several = questions
        .iter()
        .filter(|question| (from..to).contains(&question.asked) && question.answered.len() > 1);
    let Some(first) = several.next() else {
        return Duration::ZERO;
    };
    let last = several.next_back().unwrap_or(first);
    last.asked - first.asked + EVERY
}

#[cfg(test)]
mod tests {
    use fairlead_lab::{Lab, in_namespace, test_name, wait_until};

    use super::*;

    #[test]
    fn whoever_answers_is_heard_in_both_families() {
        in_namespace(test_name!(), || {
            let lab = Lab::new().unwrap();
            let node = lab.node(2);
            for address in node.addresses().both() {
                let asker = Asker::start(lab.client(), address).unwrap();
                let is_answered = || {
                    let questions = asker.questions();
                    questions
                        .iter()
                        .any(|question| question.answered == BTreeSet::from([node.mac()]))
                };
                wait_until(Duration::from_secs(10), "an answer", is_answered).unwrap();
            }
        });
    }

    #[test]
    fn the_time_with_several_answers_is_from_the_first_to_the_last() {
        let start = Instant::now();
        let question = |nth: u32, answers: u8| Question {
            asked: start + EVERY * nth,
            answered: (0..answers).map(|mac| [mac; 6]).collect(),
        };
        let counts = [1, 1, 2, 1, 3, 0, 1, 1, 1, 2];
        let questions: Vec<_> = counts
            .iter()
            .zip(0..)
            .map(|(count, nth)| question(nth, *count))
            .collect();
        let several = |from: u32, to: u32| several_answered(&questions, start + EVERY * from, start + EVERY * to);
        assert_eq!(several(0, 8), EVERY * 3);
        assert_eq!(several(3, 8), EVERY);
        assert_eq!(several(5, 9), Duration::ZERO);
        assert_eq!(several(0, 10), EVERY * 8);
    }
}
