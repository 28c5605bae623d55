//! One fault at a time, with its bound.

use super::*;

fn settled(seed: u64, nodes: usize, groups: u8) -> World {
    let mut world = World::new(seed, nodes, groups, Mode::Sticky);
    world.run(3_000);
    world.assert_one_owner_each();
    world.forget_observations();
    world
}

fn take_over_times(nodes: usize, loss: u64, trials: u64) -> Vec<u64> {
    let mut times: Vec<u64> = (1..=trials)
        .map(|seed| {
            let mut world = settled(seed, nodes, 1);
            world.network.loss = loss;
            let wait = 1_000 + world.random.below(100);
            world.run(wait);
            world.forget_observations();
            let owner = world.owners(world.groups[0].0)[0];
            world.stop(owner);
            world.run(2_000);
            world.assert_one_owner_each();
            world.watch.longest_unowned / MS
        })
        .collect();
    times.sort_unstable();
    times
}

#[test]
fn a_dead_owner_is_replaced_within_the_target() {
    for (nodes, loss) in [(3, 0), (3, 50), (10, 0), (10, 50)] {
        let times = take_over_times(nodes, loss, 100);
        let (p50, p99, max) = (times[50], times[98], times[99]);
        println!("{nodes} nodes, {loss} ‰ loss: take-over p50 {p50} ms, p99 {p99} ms, max {max} ms");
        assert!(p50 < 400 && p99 < 800, "{nodes} nodes, {loss} of 1,000 lost: {times:?}");
    }
}

#[test]
fn random_loss_moves_nothing_within_an_hour() {
    let mut world = settled(7, 3, 1);
    world.network.loss = 50;
    world.run(3_600 * 1_000);
    assert_eq!((world.watch.owns, world.watch.longest_unowned), (0, 0));
}

#[test]
fn a_drained_owner_keeps_until_its_successor_has_claimed() {
    for seed in 1..=50 {
        let mut world = settled(seed, 3, 3);
        world.network.loss = 50;
        let owner = world.owners(world.groups[0].0)[0];
        world.qualify(owner, Eligibility::Leaving);
        world.run(2_000);
        world.assert_one_owner_each();
        assert_ne!(world.owners(world.groups[0].0), [owner], "seed {seed}");
        assert_eq!(world.watch.longest_unowned, 0, "seed {seed}");
        assert!(
            world.watch.longest_double < 400 * MS,
            "seed {seed}: {} µs",
            world.watch.longest_double
        );
    }
}

#[test]
fn an_owner_that_is_cut_off_yields() {
    let mut world = settled(3, 3, 1);
    let owner = world.owners(world.groups[0].0)[0];
    world.part(owner, 1);
    world.run(450);
    assert!(!world.owners(world.groups[0].0).contains(&owner));
    world.assert_one_owner_each();
}

#[test]
fn a_claim_written_to_the_api_makes_the_minority_yield() {
    let mut world = World::new(4, 3, 1, Mode::Sticky);
    world.set_api(true);
    world.run(5_000);
    let (group, owner) = (world.groups[0].0, world.owners(world.groups[0].0)[0]);
    world.part(owner, 1);
    world.run(1_000);
    world.assert_one_owner_each();
    assert!(!world.owners(group).contains(&owner));
    world.forget_observations();
    world.run(3_000);
    assert_eq!(world.watch.owns, 0, "nobody takes it back");
}

#[test]
fn a_node_that_is_cut_off_with_the_api_server_takes_nothing_from_the_others() {
    let mut world = World::new(9, 5, 8, Mode::Sticky);
    world.set_api(true);
    world.run(5_000);
    let group = world.groups[0].0;
    let alone = (0..5)
        .find(|node| !world.owners(group).contains(node))
        .expect("one owns it");
    let owner = world.owners(group);
    world.part(alone, 1);
    world.run(10_000);
    assert_eq!(world.owners(group), owner);
    world.assert_one_owner_each();
}

/// Both had no power; one comes back, and knows the other's claims from the API server alone.
#[test]
fn a_restarted_survivor_takes_the_groups_of_a_node_that_the_api_server_calls_lost() {
    for nodes in [2, 3] {
        let mut world = World::new(8, nodes, 8, Mode::Sticky);
        world.set_api(true);
        world.run(5_000);
        let owner = world.owners(world.groups[0].0)[0];
        let survivor = (owner + 1) % nodes;
        (0..nodes).for_each(|node| world.power_off(node));
        world.run(200);
        world.power_on(survivor, Disk::Current);
        world.run(4_000);
        assert!(world.owners(world.groups[0].0).is_empty(), "it may live");
        world.run(3_000);
        assert_eq!(world.owners(world.groups[0].0), [survivor], "of {nodes} nodes");
        world.assert_one_owner_each();
    }
}

/// The link between them is cut, and both are called lost although both live.
#[test]
fn two_that_are_called_lost_do_not_take_from_each_other_for_ever() {
    let mut world = World::new(2, 2, 4, Mode::Sticky);
    world.set_api(true);
    world.run(5_000);
    world.part(0, 1);
    for node in 0..2 {
        let other = world.ids[1 - node];
        world.act(node, |agent, _| agent.set_lost(&[other]));
    }
    world.run(5_000);
    world.forget_observations();
    world.run(5_000);
    assert_eq!(world.watch.owns, 0);
    world.assert_one_owner_each();
}

/// It was taken from before, while it was paused, and has been heard since.
#[test]
fn who_dies_after_a_pause_loses_what_it_took_back() {
    let mut world = World::new(8, 2, 8, Mode::Sticky);
    world.set_api(true);
    world.run(5_000);
    let group = world.groups[0].0;
    let first = world.owners(group)[0];
    let other = 1 - first;
    world.pause(first, true);
    world.run(2_000);
    assert_eq!(world.owners(group), [other]);
    world.wake(first);
    world.run(2_000);
    world.pause(other, false);
    world.run(450);
    world.wake(other);
    world.power_off(first);
    world.run(12_000);
    assert_eq!(world.owners(group), [other]);
}

#[test]
fn a_rollout_of_all_agents_moves_nothing() {
    for seed in 1..=20 {
        let mut world = settled(seed, 3, 8);
        let before: Vec<_> = world.groups.iter().map(|(group, _)| world.owners(*group)).collect();
        for node in 0..3 {
            world.stop(node);
            world.run(150);
            world.start(node, Disk::Current);
            world.run(1_500);
        }
        let after: Vec<_> = world.groups.iter().map(|(group, _)| world.owners(*group)).collect();
        assert_eq!(before, after, "seed {seed}");
        assert!(
            world.watch.longest_unowned < 250 * MS,
            "seed {seed}: {} µs",
            world.watch.longest_unowned
        );
    }
}

#[test]
fn a_revertive_group_goes_back_without_a_gap() {
    let mut world = World::new(5, 3, 1, Mode::Revertive);
    world.run(5_000);
    let group = world.groups[0].0;
    let first = world.owners(group)[0];
    world.stop(first);
    world.run(2_000);
    world.start(first, Disk::Current);
    world.run(1_000);
    world.forget_observations();
    world.run(4_000);
    assert_eq!((world.owners(group), world.watch.longest_unowned), (vec![first], 0));
}

/// They hear of it from the API server within milliseconds of each other.
#[test]
fn of_a_new_group_one_node_alone_claims_and_soon() {
    for nodes in [2, 3, 10] {
        let mut world = settled(12, nodes, 1);
        world
            .groups
            .extend((1..=32).map(|group| (GroupId([group; 16]), Mode::Sticky)));
        let groups = world.groups.clone();
        for node in 0..nodes {
            world.act(node, |agent, now| {
                agent.set_groups(&groups);
                for (group, _) in &groups {
                    agent.set_eligibility(*group, FIT);
                }
                agent.tick(now);
            });
            world.run(2);
        }
        world.run(100);
        world.assert_one_owner_each();
        assert_eq!(world.watch.owns, 32, "of {nodes} nodes");
    }
}

#[test]
fn nodes_that_start_together_do_not_claim_the_same() {
    for nodes in [2, 3, 10] {
        let mut world = World::new(13, nodes, 32, Mode::Sticky);
        world.run(3_000);
        world.assert_one_owner_each();
        assert_eq!(world.watch.owns, 32, "of {nodes} nodes");
    }
}

#[test]
fn a_thousand_groups_on_ten_nodes_cost_little_at_rest() {
    let mut world = settled(6, 10, 1);
    world.groups = (0..1_000_u32)
        .map(|group| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&group.to_be_bytes());
            (GroupId(id), Mode::Sticky)
        })
        .collect();
    let groups = world.groups.clone();
    for node in &mut world.nodes {
        let agent = node.agent.as_mut().expect("it runs");
        agent.set_groups(&groups);
        for (group, _) in &groups {
            agent.set_eligibility(*group, FIT);
        }
    }
    world.groups.truncate(1);
    world.run(2_000);
    world.bytes = 0;
    world.run(1_000);
    println!("{} bytes per second and node at rest", world.bytes / 10);
    assert!(world.bytes / 10 < 25_000, "{}", world.bytes / 10);
}
