//! When each address is announced on each link.
//!
//! A new address is announced at once, then a few times more with a pause, then rarely. All addresses of a link share a limit; those that are
//! announced for the first time go before the repetitions.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::timing::{Limit, Timing};

#[derive(Debug)]
pub(super) struct Schedule {
    timing: Timing,
    links: BTreeMap<u32, Queue>,
}

#[derive(Debug)]
struct Queue {
    slots: BTreeMap<IpAddr, Slot>,
    /// Addresses not announced since they were taken, then the repetitions.
    first: BTreeSet<(Instant, IpAddr)>,
    later: BTreeSet<(Instant, IpAddr)>,
    limit: Limit,
    /// When the limit admits more, if it kept something back.
    held_back_until: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// `None`: not again, unless it is asked for.
    due: Option<Instant>,
    sent: u32,
}

impl Schedule {
    pub(super) fn new(timing: Timing) -> Self {
        Self {
            timing,
            links: BTreeMap::new(),
        }
    }

    /// How often addresses are announced later.
    pub(super) fn set_refresh(&mut self, refresh: Option<Duration>) {
        self.timing.refresh = refresh;
    }

    /// Begins anew with this address on this link, as if it had just been taken.
    pub(super) fn begin(&mut self, link: u32, address: IpAddr, now: Instant) {
        let timing = &self.timing;
        let queue = self.links.entry(link).or_insert_with(|| Queue::new(timing));
        queue.remove(address);
        queue.insert(
            address,
            Slot {
                due: Some(now),
                sent: 0,
            },
        );
    }

    /// Announces nothing more of this address on this link.
    pub(super) fn end(&mut self, link: u32, address: IpAddr) {
        if let Some(queue) = self.links.get_mut(&link) {
            queue.remove(address);
        }
    }

    /// Forgets a link.
    pub(super) fn end_link(&mut self, link: u32) {
        self.links.remove(&link);
    }

    /// Announces the address once more, soon.
    pub(super) fn hurry(&mut self, link: u32, address: IpAddr, now: Instant) {
        if let Some(queue) = self.links.get_mut(&link)
            && let Some(slot) = queue.remove(address)
        {
            queue.insert(address, Slot { due: Some(now), ..slot });
        }
    }

    /// Whether the address is announced on this link at all.
    #[cfg(test)]
    pub(super) fn contains(&self, link: u32, address: IpAddr) -> bool {
        self.links
            .get(&link)
            .is_some_and(|queue| queue.slots.contains_key(&address))
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.links.values().filter_map(Queue::next_deadline).min()
    }

    /// The links and addresses whose turn it is.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(u32, IpAddr)> {
        let mut due = Vec::new();
        for (&link, queue) in &mut self.links {
            while let Some((address, slot)) = queue.pop(now) {
                due.push((link, address));
                let sent = slot.sent.saturating_add(1);
                let pause = pause_after(&self.timing, link, address, sent);
                let due = pause.map(|pause| now + pause);
                queue.insert(address, Slot { due, sent });
            }
        }
        due
    }
}

/// The time after an announcement until the next, if there is one.
fn pause_after(timing: &Timing, link: u32, address: IpAddr, sent: u32) -> Option<Duration> {
    if sent < u32::from(timing.announcements) {
        return Some(timing.spacing);
    }
    // Up to a tenth less or more, so that addresses taken together do not stay together.
    let mut hasher = DefaultHasher::new();
    (link, address, sent).hash(&mut hasher);
    let share = u32::try_from(hasher.finish() % 201).expect("below 201");
    timing.refresh.map(|refresh| refresh * (900 + share) / 1000)
}

impl Queue {
    fn new(timing: &Timing) -> Self {
        Self {
            slots: BTreeMap::new(),
            first: BTreeSet::new(),
            later: BTreeSet::new(),
            limit: Limit::new(timing.frames_per_second, timing.frames_at_once),
            held_back_until: None,
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let earliest = |queue: &BTreeSet<(Instant, IpAddr)>| queue.first().map(|&(due, _)| due);
        let due = earliest(&self.first).into_iter().chain(earliest(&self.later)).min()?;
        Some(self.held_back_until.map_or(due, |until| until.max(due)))
    }

    /// Takes the address whose turn it is now, if the limit admits its frames.
    fn pop(&mut self, now: Instant) -> Option<(IpAddr, Slot)> {
        self.held_back_until = None;
        let is_due = |&&(due, _): &&(Instant, IpAddr)| due <= now;
        let queues = [&self.first, &self.later];
        let &(_, address) = queues.into_iter().find_map(|queue| queue.first().filter(is_due))?;
        let wait = self.limit.wait(now);
        if wait > Duration::ZERO {
            self.held_back_until = Some(now + wait);
            return None;
        }
        for _ in 0..frames_for(address) {
            self.limit.charge(now);
        }
        let slot = self.remove(address)?;
        Some((address, slot))
    }

    fn insert(&mut self, address: IpAddr, slot: Slot) {
        self.slots.insert(address, slot);
        if let Some(due) = slot.due {
            let queue = if slot.sent == 0 {
                &mut self.first
            } else {
                &mut self.later
            };
            queue.insert((due, address));
        }
    }

    fn remove(&mut self, address: IpAddr) -> Option<Slot> {
        let slot = self.slots.remove(&address)?;
        if let Some(due) = slot.due {
            self.first.remove(&(due, address));
            self.later.remove(&(due, address));
        }
        Some(slot)
    }
}

const fn frames_for(address: IpAddr) -> u8 {
    if address.is_ipv4() { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const LINK: u32 = 2;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from(0xac1e_0000 + number).into()
    }

    /// When what was announced, until `end`.
    fn play(schedule: &mut Schedule, start: Instant, end: Duration) -> Vec<(Duration, IpAddr)> {
        let mut played = Vec::new();
        while let Some(at) = schedule.next_deadline().filter(|&at| at <= start + end) {
            let due = schedule.due(at);
            played.extend(due.into_iter().map(|(_, address)| (at - start, address)));
        }
        played
    }

    #[test]
    fn a_new_address_is_announced_at_once_then_in_a_burst_then_rarely() {
        let start = Instant::now();
        let mut schedule = Schedule::new(Timing::default());
        schedule.begin(LINK, address(1), start);
        let times: Vec<_> = play(&mut schedule, start, Duration::from_mins(3))
            .into_iter()
            .map(|(at, _)| at)
            .collect();
        let burst = [0, 1100, 2200, 3300, 4400].map(Duration::from_millis);
        assert_eq!(times[..5], burst);
        assert!(matches!(times.len(), 7 | 8), "{times:?}");
        for pair in times[4..].windows(2) {
            let pause = pair[1].saturating_sub(pair[0]);
            assert!(
                (Duration::from_secs(54)..=Duration::from_secs(66)).contains(&pause),
                "{pause:?}"
            );
        }
    }

    #[test]
    fn without_a_refresh_it_ends_after_the_burst_until_it_must_hurry() {
        let start = Instant::now();
        let timing = Timing {
            refresh: None,
            ..Timing::default()
        };
        let mut schedule = Schedule::new(timing);
        schedule.begin(LINK, address(1), start);
        assert_eq!(play(&mut schedule, start, Duration::from_secs(1000)).len(), 5);
        assert_eq!(schedule.next_deadline(), None);
        let later = start + Duration::from_secs(2000);
        schedule.hurry(LINK, address(1), later);
        assert_eq!(schedule.due(later), [(LINK, address(1))]);
        assert_eq!(schedule.next_deadline(), None);
        schedule.end(LINK, address(1));
        schedule.hurry(LINK, address(1), later);
        assert_eq!(schedule.next_deadline(), None);
    }

    #[test]
    fn a_thousand_addresses_stay_under_the_limit_and_all_come_first_before_any_comes_twice() {
        let start = Instant::now();
        let timing = Timing {
            frames_per_second: 1000,
            frames_at_once: 100,
            ..Timing::default()
        };
        let mut schedule = Schedule::new(timing);
        for number in 0..1000 {
            schedule.begin(LINK, address(number), start);
        }
        let played = play(&mut schedule, start, Duration::from_secs(12));
        assert_eq!(played.len(), 5000);
        let first: BTreeSet<_> = played[..1000].iter().map(|&(_, address)| address).collect();
        assert_eq!(first.len(), 1000);
        // Two frames each.
        assert!(played[999].0 <= Duration::from_millis(1910), "{:?}", played[999]);
        for (position, (at, _)) in played.iter().enumerate() {
            let end = *at + Duration::from_secs(1);
            let in_a_second = played[position..].iter().take_while(|(at, _)| *at < end).count();
            assert!(in_a_second * 2 <= 1102, "{in_a_second} announcements in a second");
        }
    }

    #[test]
    fn an_ended_address_or_link_is_not_announced() {
        let start = Instant::now();
        let mut schedule = Schedule::new(Timing::default());
        for number in 1..=3 {
            schedule.begin(LINK, address(number), start);
        }
        schedule.begin(LINK + 1, address(1), start);
        schedule.end(LINK, address(2));
        assert!(!schedule.contains(LINK, address(2)));
        assert_eq!(
            schedule.due(start),
            [(LINK, address(1)), (LINK, address(3)), (LINK + 1, address(1))]
        );
        schedule.end_link(LINK);
        let next = start + Duration::from_millis(1100);
        assert_eq!(schedule.due(next), [(LINK + 1, address(1))]);
    }
}
