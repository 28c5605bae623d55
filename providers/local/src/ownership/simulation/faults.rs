//! Faults drawn from a seed, several at a time; then everything heals.

use super::*;

/// Most nodes that a run has.
const MOST: usize = 7;

fn fault(world: &mut World) {
    let count = world.nodes.len();
    let node = world.random.index(count);
    let runs = world.nodes[node].works();
    match world.random.below(22) {
        0 | 1 if runs => world.stop(node),
        2 if runs => world.power_off(node),
        3..=5 if runs => nap(world, node),
        6 => {
            let side = world.random.below(2);
            world.part(node, side);
        }
        7 | 8 => {
            let to = world.random.index(count);
            world.set_link(node, to, network::ALL);
        }
        9 => {
            let (to, loss) = (world.random.index(count), world.random.below(network::ALL));
            world.set_link(node, to, loss);
        }
        10 => {
            // It hears, or is heard, and not both.
            let deaf = world.random.below(2) == 0;
            for other in (0..count).filter(|other| *other != node) {
                let (from, to) = if deaf { (other, node) } else { (node, other) };
                world.set_link(from, to, network::ALL);
            }
        }
        11 | 12 => {
            let group = world.groups[world.random.index(world.groups.len())].0;
            let eligibility = eligibility(world);
            world.qualify_for(node, group, eligibility);
        }
        13 => {
            let eligibility = eligibility(world);
            world.qualify(node, eligibility);
        }
        14 => jump(world, node),
        15 => {
            let rates = [0, 200, -200, 10_000, -10_000];
            let ppm = rates[world.random.index(rates.len())];
            let now = world.now;
            world.nodes[node].clock.set_rate(ppm, now);
        }
        16 | 17 => {
            let up = world.random.below(2) == 0;
            world.set_api_link(node, up);
        }
        18 => change_members(world, node),
        _ => heal(world, node),
    }
}

fn eligibility(world: &mut World) -> Eligibility {
    match world.random.below(4) {
        0 | 1 => Eligibility::Leaving,
        2 => Eligibility::Ineligible(Ineligible::NoCarrier),
        _ => FIT,
    }
}

/// Shorter than what counts as a pause, shorter than what others notice, or longer.
fn nap(world: &mut World, node: usize) {
    let length = match world.random.below(3) {
        0 => 20 + world.random.below(180),
        1 => 180 + world.random.below(240),
        _ => 400 + world.random.below(2_600),
    };
    let frozen = world.random.below(3) == 0;
    world.pause(node, frozen);
    let start = world.nodes[node].starts;
    world.schedule(length * MS, Happening::Wakes { node, start });
}

fn jump(world: &mut World, node: usize) {
    let by = match world.random.below(3) {
        0 => world.random.below(150),
        1 => world.random.below(500),
        _ => world.random.below(100_000),
    };
    world.note(format_args!("node {node}: its clock jumps by {by} ms"));
    let now = world.now;
    world.nodes[node].clock.jump(by * MS, now);
    world.interrupt(node);
    world.act(node, |_, _| ());
}

/// A node joins or is deleted; each agent is told when the API server reaches it.
fn change_members(world: &mut World, node: usize) {
    if world.random.below(2) == 0 && world.nodes.len() < MOST {
        world.add_node();
        let new = world.nodes.len() - 1;
        world.note(format_args!("node {new}: is new"));
        world.nodes[new].members = world.api.members.clone();
        world.start(new, Disk::Empty);
    } else if world.api.members.len() > 2 && world.api.members.remove(&node) {
        world.note(format_args!("node {node}: is deleted"));
        if world.random.below(2) == 0 {
            world.stop(node);
        }
    }
    world.tell_all(News::Members);
}

fn heal(world: &mut World, node: usize) {
    world.mend(node);
    world.wake(node);
    if !world.nodes[node].api.up {
        world.set_api_link(node, true);
    }
    if !world.api.members.contains(&node) {
        if world.nodes[node].agent.is_some() {
            world.stop(node);
        }
        return;
    }
    let disk = [Disk::Current, Disk::Current, Disk::Old, Disk::Empty][world.random.index(4)];
    if !world.nodes[node].powered {
        world.power_on(node, disk);
    } else if world.nodes[node].agent.is_none() {
        world.start(node, disk);
    }
    world.qualify(node, FIT);
}

fn survives(seed: u64) {
    let nodes = 2 + (seed % 4) as usize;
    let mode = if seed.is_multiple_of(5) {
        Mode::Revertive
    } else {
        Mode::Sticky
    };
    let mut world = World::new(seed, nodes, 3, mode);
    world.network.loss = world.random.below(6) * 20;
    world.network.twice = 5;
    let has_api = world.random.below(3) > 0;
    world.watch.strict = true;
    world.set_api(has_api);
    let quiet = 4_000 + 2_000 * world.random.below(2);
    world.run(quiet);
    for _ in 0..10 {
        fault(&mut world);
        let wait = match world.random.below(5) {
            0 => 3_000 + world.random.below(5_000),
            _ => 20 + world.random.below(1_500),
        };
        world.run(wait);
        if has_api && world.random.below(8) == 0 {
            let up = !world.api.up;
            world.set_api(up);
        }
    }
    (0..world.nodes.len()).for_each(|node| heal(&mut world, node));
    // Members are known to all only if the API server is there.
    world.set_api(true);
    world.run(8_000);
    world.assert_one_owner_each();
    world.forget_observations();
    world.run(3_000);
    if (world.watch.owns, world.watch.longest_unowned) != (0, 0) {
        world.fail(format_args!("not at rest"));
    }
}

/// `OWNERSHIP_SEEDS=from-to` runs others, `OWNERSHIP_SEEDS=seed` one again.
#[test]
fn what_must_hold_holds_whatever_fails() {
    seeds::each("what_must_hold", seeds::chosen(4_000), survives);
}
