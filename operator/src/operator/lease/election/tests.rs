use super::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn election(name: &str) -> Election {
    let timing = Timing::new(seconds(15), seconds(10), seconds(2)).unwrap();
    Election::new(name.into(), timing)
}

/// The lease as a holder left it.
fn lease(holder: &str, generation: i32, version: &str) -> Record {
    Record {
        holder: Some(holder).filter(|holder| !holder.is_empty()).map(Into::into),
        duration: Some(seconds(15)),
        generation: Generation(generation),
        version: version.into(),
        object: Arc::default(),
    }
}

fn leader(now: Instant) -> Election {
    let mut election = election("me");
    assert_eq!(election.next(now), Step::Look);
    election.looked(None, now);
    let Step::Write(Write::Take { over: None, generation }) = election.next(now) else {
        panic!("a lease that does not exist is free");
    };
    assert_eq!(generation, Generation(0));
    election.wrote(Written::Done(lease("me", 0, "1")), now);
    assert_eq!(election.claim().unwrap().valid_until, now + seconds(10));
    election
}

#[test]
fn a_lease_of_another_is_taken_when_it_has_not_changed_for_its_duration() {
    let now = Instant::now();
    let mut election = election("me");
    assert_eq!(election.next(now), Step::Look);
    election.looked(Some(lease("other", 4, "7")), now);
    assert_eq!(election.next(now), Step::Wait(now + seconds(15)));
    // Renewed, as a watch tells.
    election.changed(Some(lease("other", 4, "8")), now + seconds(5));
    assert_eq!(election.next(now + seconds(15)), Step::Wait(now + seconds(20)));
    // The same again is no sign of life.
    election.changed(Some(lease("other", 4, "8")), now + seconds(19));
    let Step::Write(Write::Take { generation, .. }) = election.next(now + seconds(20)) else {
        panic!("the lease is free");
    };
    assert_eq!(generation, Generation(5));
}

#[test]
fn a_lease_that_was_given_back_is_taken_at_once() {
    let now = Instant::now();
    let mut election = election("me");
    election.next(now);
    election.looked(Some(lease("other", 4, "7")), now);
    election.changed(Some(lease("", 4, "8")), now + seconds(1));
    assert!(matches!(
        election.next(now + seconds(1)),
        Step::Write(Write::Take { .. })
    ));
}

#[test]
fn a_claim_counts_from_when_its_write_was_sent() {
    let now = Instant::now();
    let mut election = leader(now);
    assert_eq!(election.next(now), Step::Wait(now + seconds(2)));
    assert!(matches!(
        election.next(now + seconds(2)),
        Step::Write(Write::Renew { .. })
    ));
    election.wrote(Written::Done(lease("me", 0, "2")), now + seconds(6));
    assert_eq!(election.claim().unwrap().valid_until, now + seconds(12));
}

#[test]
fn a_renewal_that_is_answered_too_late_does_not_bring_the_claim_back() {
    let now = Instant::now();
    let mut election = leader(now);
    election.next(now + seconds(9));
    assert_eq!(election.next(now + seconds(10)), Step::WaitForEvent);
    assert_eq!(election.take_loss(), Some(Loss::Overdue));
    election.wrote(Written::Done(lease("me", 0, "2")), now + seconds(10));
    assert_eq!(election.claim(), None);
    assert_eq!(
        election.next(now + seconds(11)),
        Step::WaitForEvent,
        "its work has not ended"
    );
    election.work_ended();
    let Step::Write(Write::Take { generation, .. }) = election.next(now + seconds(11)) else {
        panic!("what is ours may be taken");
    };
    assert_eq!(generation, Generation(1));
}

#[test]
fn a_leader_whose_lease_another_has_ends_and_one_whose_lease_was_deleted_goes_on() {
    let now = Instant::now();
    let mut election = leader(now);
    election.changed(None, now + seconds(1));
    assert_eq!(election.next(now + seconds(1)), Step::Look);
    election.looked(None, now + seconds(1));
    assert!(election.claim().is_some());
    assert!(matches!(
        election.next(now + seconds(2)),
        Step::Write(Write::Renew { over: None, .. })
    ));
    election.wrote(Written::Conflict, now + seconds(2));
    assert_eq!(election.next(now + seconds(2)), Step::Look);
    election.looked(Some(lease("other", 1, "9")), now + seconds(2));
    assert_eq!(election.claim(), None);
    assert_eq!(election.take_loss(), Some(Loss::Superseded(Some("other".into()))));
}

#[test]
fn whoever_resigns_gives_back_what_is_its_own_and_nothing_else() {
    let now = Instant::now();
    let mut election = leader(now);
    // A renewal is under way: its end is waited for, since it changes the version.
    election.next(now + seconds(2));
    election.resign();
    assert_eq!(election.next(now + seconds(2)), Step::WaitForEvent);
    election.wrote(Written::Done(lease("me", 0, "2")), now + seconds(3));
    assert_eq!(election.claim(), None);
    let Step::Write(Write::Release { over }) = election.next(now + seconds(3)) else {
        panic!("it holds the lease");
    };
    assert_eq!(&*over.version, "2");
    election.wrote(Written::Done(lease("", 0, "3")), now + seconds(3));
    assert_eq!(election.next(now + seconds(3)), Step::Done);

    let mut stand_by = self::election("me");
    stand_by.next(now);
    stand_by.looked(Some(lease("other", 1, "9")), now);
    stand_by.resign();
    assert_eq!(stand_by.next(now), Step::Done);
}

#[test]
fn who_resigns_while_its_take_is_lost_looks_whether_it_holds_the_lease() {
    let now = Instant::now();
    let mut election = election("me");
    election.next(now);
    election.looked(None, now);
    assert!(matches!(election.next(now), Step::Write(_)));
    election.resign();
    election.failed(now + seconds(5));
    assert_eq!(election.next(now + seconds(5)), Step::Look);
    election.looked(Some(lease("me", 0, "1")), now + seconds(5));
    assert!(matches!(
        election.next(now + seconds(5)),
        Step::Write(Write::Release { .. })
    ));
}

#[test]
fn a_request_that_fails_is_tried_again_after_a_pause() {
    let now = Instant::now();
    let mut election = election("me");
    election.next(now);
    election.failed(now);
    let Step::Wait(until) = election.next(now) else {
        panic!("it must pause");
    };
    assert!(until >= now + seconds(2) && until <= now + Duration::from_millis(2_400));
    assert_eq!(election.next(until), Step::Look);
}
