//! Membership in multicast groups, so that switches and network cards pass on what is sent to them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv6Addr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// The groups that are joined. The kernel tells the routers (MLD), and leaves all groups when this ends.
#[derive(Debug, Default)]
pub(super) struct Memberships {
    /// The memberships of one socket are limited by its memory.
    sockets: Vec<OwnedFd>,
    /// By link and group, the position of the socket that is the member.
    joined: BTreeMap<(u32, Ipv6Addr), usize>,
}

impl Memberships {
    /// Joins and leaves until exactly these groups are joined. What fails is returned, and tried again the next time.
    pub(super) fn sync(&mut self, groups: &BTreeSet<(u32, Ipv6Addr)>) -> Vec<(u32, io::Error)> {
        let gone: Vec<_> = self
            .joined
            .keys()
            .filter(|key| !groups.contains(key))
            .copied()
            .collect();
        for key in gone {
            self.leave(key);
        }
        let mut failures = Vec::new();
        for &(link, group) in groups {
            if !self.joined.contains_key(&(link, group))
                && let Err(errno) = self.join(link, group)
            {
                failures.push((link, errno.into()));
            }
        }
        failures
    }

    fn leave(&mut self, (link, group): (u32, Ipv6Addr)) {
        if let Some(position) = self.joined.remove(&(link, group))
            && let Some(socket) = self.sockets.get(position)
        {
            // It fails when the link is gone, and the membership with it.
            let _ = sockopt::set_ipv6_drop_membership(socket, &group, link);
        }
    }

    fn join(&mut self, link: u32, group: Ipv6Addr) -> rustix::io::Result<()> {
        for (position, socket) in self.sockets.iter().enumerate().rev() {
            match sockopt::set_ipv6_add_membership(socket, &group, link) {
                Ok(()) => {
                    self.joined.insert((link, group), position);
                    return Ok(());
                }
                Err(Errno::NOBUFS | Errno::NOMEM) => {}
                // A link with the same index had it, and this socket does not know that the link is another.
                Err(Errno::ADDRINUSE) => {
                    let _ = sockopt::set_ipv6_drop_membership(socket, &group, link);
                }
                Err(errno) => return Err(errno),
            }
        }
        let socket = rustix::net::socket_with(AddressFamily::INET6, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_ipv6_add_membership(&socket, &group, link)?;
        self.joined.insert((link, group), self.sockets.len());
        self.sockets.push(socket);
        Ok(())
    }
}
