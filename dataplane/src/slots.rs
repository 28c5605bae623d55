//! Which endpoint has which slot.

use std::collections::HashSet;
use std::net::SocketAddr;

/// Puts `wanted` into slots 0 to n-1 so that as few slots as possible differ from `old`: an endpoint that stays keeps its
/// slot unless that is beyond the new end, holes are filled first by those that must move, then by new ones.
///
/// So a change of one endpoint among n touches at most two slots, whatever n is.
pub(crate) fn assign(old: &[SocketAddr], wanted: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = HashSet::new();
    let wanted: Vec<_> = wanted.filter(|endpoint| seen.insert(*endpoint)).collect();
    if wanted.len() == old.len() && wanted.iter().zip(old).all(|(a, b)| a == b) {
        return wanted;
    }
    let mut unplaced = seen;
    let mut slots: Vec<Option<SocketAddr>> = (0..wanted.len())
        .map(|slot| old.get(slot).copied().filter(|endpoint| unplaced.remove(endpoint)))
        .collect();
    let moved = old
        .iter()
        .skip(wanted.len())
        .filter(|endpoint| unplaced.remove(*endpoint))
        .copied();
    let mut waiting: Vec<_> = moved.collect();
    waiting.extend(wanted.into_iter().filter(|endpoint| unplaced.contains(endpoint)));
    let mut waiting = waiting.into_iter();
    for slot in &mut slots {
        if slot.is_none() {
            *slot = waiting.next();
        }
    }
    slots.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn endpoints(hosts: &[u8]) -> Vec<SocketAddr> {
        hosts
            .iter()
            .map(|host| SocketAddr::from(([10, 0, 0, *host], 80)))
            .collect()
    }

    #[test]
    fn the_last_slot_fills_the_hole() {
        let cases: [(&[u8], &[u8], &[u8]); 5] = [
            (&[1, 2, 3, 4], &[1, 3, 4], &[1, 4, 3]),
            (&[1, 2, 3], &[1, 2, 4], &[1, 2, 4]),
            (&[1, 2, 3], &[3, 2, 1, 4], &[1, 2, 3, 4]),
            (&[], &[2, 1], &[2, 1]),
            (&[1, 2], &[], &[]),
        ];
        for (old, wanted, expected) in cases {
            let slots = assign(&endpoints(old), endpoints(wanted).into_iter());
            assert_eq!(slots, endpoints(expected), "{old:?} -> {wanted:?}");
        }
    }

    proptest! {
        #[test]
        fn every_wanted_endpoint_has_one_slot_and_few_move(
            old in prop::collection::btree_set(0u8..12, 0..10),
            wanted in prop::collection::vec(0u8..12, 0..10),
        ) {
            let old = endpoints(&old.into_iter().collect::<Vec<_>>());
            let slots = assign(&old, endpoints(&wanted).into_iter());
            let mut expected = endpoints(&wanted);
            expected.sort_unstable();
            expected.dedup();
            let mut sorted = slots.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, expected.clone());
            let stays = old.iter().take(slots.len()).zip(&slots).filter(|(a, b)| a == b).count();
            let could_stay = old.iter().take(slots.len()).filter(|endpoint| expected.contains(endpoint)).count();
            prop_assert_eq!(stays, could_stay);
        }
    }
}
