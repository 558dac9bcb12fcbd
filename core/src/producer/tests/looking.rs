//! What the stream itself shows, where the server's memory cannot be trusted.

use super::*;
use crate::producer::{Last, close};

fn forgets(fault: Fault) -> Fault {
    Fault::Amnesia(Box::new(fault))
}

#[tokio::test(start_paused = true)]
async fn what_a_forgetful_server_has_is_found_in_the_stream() {
    for choice in ["resend", "report"] {
        // Stored or not, with a cut connection, and the server's memory gone either way.
        for (cut, at) in [(Fault::CutAfter, 0), (Fault::CutBefore, 0), (Fault::CutAfter, 2)] {
            let before = std::iter::repeat_n(Fault::None, at);
            let server = Scripted::new(before.chain([cut.clone(), forgets(Fault::None)]));
            let options = single().max_in_flight(1u64).on_uncertain(choice);
            let engine = open_at(&server, options, Some("0"));
            write(&engine, 1..=5);
            let report = engine.flush().await.unwrap();
            assert_eq!((report.delivered, report.uncertain), (5, 0), "{cut:?} {at}");
            assert_eq!(server.stored(), numbers(1..=5), "{cut:?} {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_batches_under_way_the_stored_one_is_told_from_the_other() {
    let server = Scripted::new([Fault::None, Fault::CutAfter, Fault::CutBefore]);
    let engine = open(&server, single().max_in_flight(2u64));
    write(&engine, 1..=4);
    let report = engine.flush().await.unwrap();
    assert_eq!((report.delivered, report.uncertain), (4, 0));
    assert_eq!(server.stored(), numbers(1..=4));
    assert_eq!(lock(&server.model).seen.iter().filter(|(_, _, body)| body == "[2]").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn where_looking_decides_nothing_a_first_repeat_is_flagged() {
    // Nobody knows where the stream ended when it was opened, or somebody else wrote.
    let foreign = || Fault::Foreign(Box::new(Fault::CutAfter));
    for (cut, tail) in [(Fault::CutAfter, None), (foreign(), Some("0"))] {
        let look = tail.map_or(0, |_| 2);
        let looks = std::iter::repeat_n(Fault::None, look);
        let faults = [cut].into_iter().chain(looks).chain([forgets(Fault::None)]);
        let server = Scripted::new(faults);
        let engine = open_at(&server, single(), tail);
        write(&engine, 1..=2);
        let report = engine.flush().await.unwrap();
        assert_eq!((report.delivered, report.uncertain), (2, 1), "{tail:?}");
        assert!(outcome(&engine, 1).await.maybe_duplicate);
        let copies = server.stored().iter().filter(|n| *n == "1").count();
        assert_eq!(copies, 2, "this server doubles, and only the flag says so");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_remembers_is_believed() {
    let server = Scripted::new([Fault::CutAfter]);
    let engine = open(&server, single());
    write(&engine, 1..=2);
    let report = engine.flush().await.unwrap();
    assert_eq!((report.delivered, report.duplicates, report.uncertain), (2, 1, 0));
    assert_eq!(server.stored(), numbers(1..=2));
}

#[tokio::test(start_paused = true)]
async fn a_last_message_whose_answer_was_lost_is_looked_for() {
    for (cut, found) in [(Fault::CutAfter, true), (Fault::CutBefore, false)] {
        let server = Scripted::new([Fault::None, cut]);
        let engine = open(&server, single());
        write(&engine, 1..=1);
        engine.flush().await.unwrap();
        let result = close(&engine, Last::of(Some(b"2"))).await;
        assert_eq!(result.map(|end| end.final_offset), Ok(Some("2".into())), "{found}");
        assert_eq!(server.stored(), numbers(1..=2));
        assert!(lock(&server.model).closed);
    }
}

#[tokio::test(start_paused = true)]
async fn others_under_the_same_id_may_have_written_the_very_same() {
    let server = Scripted::new([Fault::None, Fault::Foreign(Box::new(Fault::CutBefore))]);
    let engine = open(&server, single().shared(true));
    let own = || engine.accept(&[FOREIGN.as_bytes()]).unwrap();
    own();
    engine.flush().await.unwrap();
    own();
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), vec![FOREIGN; 3], "two of ours, and theirs");
}

#[tokio::test(start_paused = true)]
async fn an_outage_during_the_look_is_an_outage() {
    let down = std::iter::repeat_n(Fault::Refuse, 5);
    let server = Scripted::new([Fault::None, Fault::CutAfter].into_iter().chain(down));
    let engine = open(&server, single());
    write(&engine, 1..=3);
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), numbers(1..=3));

    let down = std::iter::repeat_n(Fault::Refuse, 500);
    let server = Scripted::new([Fault::None, Fault::CutAfter].into_iter().chain(down));
    let engine = open(&server, single().delivery_timeout_ms(5_000u64));
    write(&engine, 1..=3);
    assert!(engine.flush().await.is_err());
    assert_eq!(outcome(&engine, 2).await.status, Status::DeliveryUnknown);
    assert_eq!(outcome(&engine, 3).await.status, Status::Cancelled);
}
