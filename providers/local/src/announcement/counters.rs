//! What was done with the frames, in plain numbers for each link.

/// Why a frame got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// Too short, or its lengths and types contradict each other.
    Malformed,
    /// It has a VLAN tag: it belongs to another network than the link it came in by.
    VlanTagged,
    /// Neither a question nor a claim that we know.
    OtherProtocol,
    /// It was for another station.
    OtherDestination,
    /// It came from one of our own links.
    OwnFrame,
    /// Its sender is no single station or host.
    Sender,
    /// The link is not known, or is one that nothing is announced on.
    LinkExcluded,
    /// The link is down or has no carrier.
    LinkDown,
    /// The address is not held.
    NotHeld,
    /// The address is held, but not announced on this link.
    OtherLink,
    /// The address is in none of the link's networks.
    OffLink,
    /// It is an answer, and about somebody else.
    Answer,
    /// The hop limit is not 255: it crossed a router.
    HopLimit,
    /// The ICMP code is not 0.
    Code,
    /// A wrong checksum.
    Checksum,
    /// The target of a solicitation is a group.
    TargetMulticast,
    /// A solicitation without a source that is not as duplicate address detection sends it.
    DuplicateDetection,
    /// A part of a larger packet.
    Fragment,
    /// The address has no endpoint, so that a ping must fail.
    NoEndpoint,
    /// More echo requests than are answered in a second.
    TooManyEchoes,
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Malformed,
        Self::VlanTagged,
        Self::OtherProtocol,
        Self::OtherDestination,
        Self::OwnFrame,
        Self::Sender,
        Self::LinkExcluded,
        Self::LinkDown,
        Self::NotHeld,
        Self::OtherLink,
        Self::OffLink,
        Self::Answer,
        Self::HopLimit,
        Self::Code,
        Self::Checksum,
        Self::TargetMulticast,
        Self::DuplicateDetection,
        Self::Fragment,
        Self::NoEndpoint,
        Self::TooManyEchoes,
    ];

    /// A fixed word for metrics.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "Malformed",
            Self::VlanTagged => "VlanTagged",
            Self::OtherProtocol => "OtherProtocol",
            Self::OtherDestination => "OtherDestination",
            Self::OwnFrame => "OwnFrame",
            Self::Sender => "Sender",
            Self::LinkExcluded => "LinkExcluded",
            Self::LinkDown => "LinkDown",
            Self::NotHeld => "NotHeld",
            Self::OtherLink => "OtherLink",
            Self::OffLink => "OffLink",
            Self::Answer => "Answer",
            Self::HopLimit => "HopLimit",
            Self::Code => "Code",
            Self::Checksum => "Checksum",
            Self::TargetMulticast => "TargetMulticast",
            Self::DuplicateDetection => "DuplicateDetection",
            Self::Fragment => "Fragment",
            Self::NoEndpoint => "NoEndpoint",
            Self::TooManyEchoes => "TooManyEchoes",
        }
    }
}

/// The numbers of one link since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// ARP requests answered.
    pub arp_replies: u64,
    /// Neighbour solicitations answered.
    pub neighbour_replies: u64,
    /// Echo requests answered.
    pub echo_replies: u64,
    /// Frames sent without being asked for: gratuitous ARP and unsolicited advertisements.
    pub announcements: u64,
    /// Frames sent to ask whether an address is free.
    pub probes: u64,
    /// Claims by another node of the cluster to an address that is held here.
    pub peer_conflicts: u64,
    /// Claims by strangers to an address that is held here.
    pub stranger_conflicts: u64,
    /// Frames that the kernel did not take.
    pub send_failures: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl Counters {
    /// Frames that got no answer for this reason.
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    pub(super) const fn drop(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_number_and_a_word_of_its_own() {
        for (position, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, position);
            assert_eq!(reason.reason(), format!("{reason:?}"));
        }
    }
}
