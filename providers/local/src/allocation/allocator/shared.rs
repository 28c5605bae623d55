//! Where Services with a key are already, and which ports are free there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use fairlead_model::{Family, Protocol};

use super::super::intervals::Intervals;

type Ports = BTreeSet<(Protocol, u16)>;

/// Addresses by key, pool and family.
#[derive(Debug, Default)]
pub(super) struct Shared(BTreeMap<(Arc<str>, Arc<str>, Family), Group>);

impl Shared {
    pub(super) fn insert(&mut self, key: &Arc<str>, pool: &Arc<str>, address: IpAddr, ports: &Ports) {
        let group = (key.clone(), pool.clone(), Family::of(address));
        self.0.entry(group).or_default().insert(address, ports);
    }

    pub(super) fn remove(&mut self, key: &Arc<str>, pool: &Arc<str>, address: IpAddr, ports: &Ports) {
        let name = (key.clone(), pool.clone(), Family::of(address));
        if let Some(group) = self.0.get_mut(&name) {
            group.remove(address, ports);
            if group.places.is_empty() {
                self.0.remove(&name);
            }
        }
    }

    /// Addresses at which nobody with the key has one of these ports.
    pub(super) fn open<'a>(
        &'a self,
        key: &Arc<str>,
        pool: &Arc<str>,
        family: Family,
        ports: &'a Ports,
    ) -> impl Iterator<Item = IpAddr> + 'a {
        let group = self.0.get(&(key.clone(), pool.clone(), family));
        group.into_iter().flat_map(|group| group.open(ports))
    }
}

/// Numbered addresses, without gaps. That a port is taken at all of them is then one interval, however many there are.
#[derive(Debug, Default)]
struct Group {
    places: Vec<Place>,
    numbers: BTreeMap<IpAddr, usize>,
    taken: BTreeMap<(Protocol, u16), Intervals>,
}

#[derive(Debug)]
struct Place {
    address: IpAddr,
    users: u32,
    /// How many have each port: more than one for as long as one that has to give way has not.
    ports: BTreeMap<(Protocol, u16), u32>,
}

impl Group {
    fn insert(&mut self, address: IpAddr, ports: &Ports) {
        let number = *self.numbers.entry(address).or_insert_with(|| {
            self.places.push(Place {
                address,
                users: 0,
                ports: BTreeMap::new(),
            });
            self.places.len() - 1
        });
        let place = &mut self.places[number];
        place.users += 1;
        for port in ports {
            *place.ports.entry(*port).or_default() += 1;
            self.taken.entry(*port).or_default().insert(number as u128);
        }
    }

    fn remove(&mut self, address: IpAddr, ports: &Ports) {
        let Some(&number) = self.numbers.get(&address) else {
            return;
        };
        let place = &mut self.places[number];
        place.users -= 1;
        let mut free = Vec::new();
        for port in ports {
            if let Some(count) = place.ports.get_mut(port) {
                *count -= 1;
                if *count == 0 {
                    place.ports.remove(port);
                    free.push(*port);
                }
            }
        }
        let is_left = place.users == 0;
        for port in free {
            self.give_back(port, number);
        }
        if !is_left {
            return;
        }
        // The last one takes its number.
        self.places.swap_remove(number);
        self.numbers.remove(&address);
        let last = self.places.len();
        if let Some(moved) = self.places.get(number) {
            self.numbers.insert(moved.address, number);
            let ports: Vec<_> = moved.ports.keys().copied().collect();
            for port in ports {
                self.taken.entry(port).or_default().insert(number as u128);
                self.give_back(port, last);
            }
        }
    }

    fn give_back(&mut self, port: (Protocol, u16), number: usize) {
        if let Some(taken) = self.taken.get_mut(&port) {
            taken.remove(number as u128);
            if taken.is_empty() {
                self.taken.remove(&port);
            }
        }
    }

    fn open<'a>(&'a self, ports: &'a Ports) -> impl Iterator<Item = IpAddr> + 'a {
        let mut next = 0;
        std::iter::from_fn(move || {
            let end_of = |at: u128| ports.iter().find_map(|port| self.taken.get(port)?.end_of(at));
            while let Some(end) = end_of(next) {
                next = end + 1;
            }
            let place = self.places.get(usize::try_from(next).ok()?)?;
            next += 1;
            Some(place.address)
        })
    }
}
