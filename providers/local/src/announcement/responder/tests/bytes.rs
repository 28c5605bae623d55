//! Whatever arrives, nothing panics and nothing is amplified.

use proptest::prelude::*;

use super::*;

/// Frames that are almost right.
fn almost_right() -> impl Strategy<Value = Vec<u8>> {
    let good = prop_oneof![
        Just(request(VIP4)),
        Just(Ask::multicast(VIP6).frame()),
        Just(told_to_all(STRANGER)),
        Just(ping(OURS, ASKER4.into(), VIP4.into())),
        Just(ping(OURS, ASKER6.into(), VIP6.into())),
    ];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (good, changes, any::<prop::sample::Index>()).prop_map(|(mut frame, changes, end)| {
        for (at, value) in changes {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        let len = frame.len();
        // Mostly whole.
        frame.truncate((end.index(len * 4) + 1).min(len));
        frame
    })
}

proptest! {
    #[test]
    fn no_frame_makes_it_panic(frame in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), almost_right()]) {
        let now = Instant::now();
        let mut responder = responder(now);
        if let Verdict::Reply(bytes) = responder.frame(LINK, &frame, now) {
            prop_assert!(Frame::parse(&bytes).is_ok_and(|frame| frame.source == OURS));
            // One in, one out, and none larger: nobody is flooded by way of us.
            prop_assert!(bytes.len() <= frame.len().max(86));
        }
        let kinds = [wire::ARP, wire::IPV4, wire::IPV6];
        for kind in kinds {
            responder.frame(LINK, &wire::frame(OURS, STRANGER, kind, &frame), now);
        }
    }
}
