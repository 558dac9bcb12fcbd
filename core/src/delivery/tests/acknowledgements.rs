//! A success is believed where it was earned and echoes our tuple (delivery.md 3.5, 4.1, 4.2).

use crate::delivery::tests::*;

#[tokio::test(start_paused = true)]
async fn an_unearned_204_is_not_believed() {
    // A colliding epoch: the server has this tuple from somebody else, and perhaps later ones.
    for last in [0, 3] {
        let server = Scripted::default();
        let taken = open(&server, single().on_uncertain("resend"));
        let epoch = taken.snapshot().epoch;
        lock(&server.model).producers.insert("p".into(), (epoch, last));
        write(&taken, 1..=2);
        taken.flush().await.unwrap();
        assert_eq!(server.stored(), numbers(1..=2), "{last}");
        assert!(outcome(&taken, 1).await.maybe_duplicate, "{last}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_deduplication_is_found_out() {
    let server = Scripted::default();
    lock(&server.model).mute = true;
    let engine = open(&server, single());
    write(&engine, 1..=2);
    assert!(engine.flush().await.is_err());
    assert_eq!(outcome(&engine, 1).await.status, Status::DeliveryUnknown);
    assert_eq!(outcome(&engine, 2).await.status, Status::Cancelled);
    assert_eq!(server.stored(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn an_echo_beyond_what_was_sent_wedges_nothing() {
    let echo =
        Fault::Answer(204, vec![("producer-epoch", "7".into()), ("producer-seq", "99".into())]);
    let server = Scripted::new([Fault::None, delay(Fault::None, 100, 0), echo]);
    let forever = single().epoch(7u64).auto_claim(true).delivery_timeout_ms(0u64);
    let engine = open(&server, forever);
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=3);
    let flushed = tokio::time::timeout(Duration::from_secs(3_600), engine.flush()).await;
    assert!(flushed.is_ok());
}

/// An acknowledgement of n acknowledges all of the session up to n, also behind a
/// batch whose repeat was refused although it may have been stored: that one was stored, and so was the next.
#[tokio::test(start_paused = true)]
async fn an_ack_behind_a_batch_that_was_given_up_counts() {
    let late = delay(Fault::None, 0, 1_000);
    let server = Scripted::new([Fault::None, Fault::CutAfter, late, status(413)]);
    let engine = open_on(server.clone(), &cluster(), single());
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    write(&engine, 2..=3);
    let _ = engine.flush().await;
    let third = outcome(&engine, 3).await;
    assert!(third.is_delivered() && !third.maybe_duplicate, "{third:?}");
    assert_eq!(server.stored(), numbers(1..=3));
}
