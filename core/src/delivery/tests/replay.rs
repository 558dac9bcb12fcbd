//! A job that is run again under its epoch stores everything once (delivery.md 2.5).

use crate::delivery::tests::*;

/// One run of a job under its epoch. `program` writes; the run dies at `dies` milliseconds, or
/// flushes and ends.
pub(super) async fn run_job<F: Future<Output = ()>>(
    server: &Scripted,
    options: Options,
    dies: Option<u64>,
    program: impl FnOnce(Arc<Engine>) -> F,
) {
    let engine = open(server, options.epoch(7u64));
    match dies {
        Some(ms) => {
            let _ = tokio::time::timeout(Duration::from_millis(ms), program(engine.clone())).await;
            engine.stop_now();
        }
        None => {
            program(engine.clone()).await;
            engine.flush().await.unwrap();
            engine.begin_stop();
        }
    }
    engine.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_under_a_given_epoch_counts_duplicates() {
    let server = Scripted::default();
    for duplicates in [0, 3] {
        let engine = open(&server, single().epoch(7u64));
        write(&engine, 1..=3);
        let report = engine.flush().await.unwrap();
        assert_eq!((report.delivered, report.duplicates), (3, duplicates));
        engine.stop_now();
    }
    assert_eq!(server.stored(), numbers(1..=3));
}

/// With a given epoch "batches are cut only by size, `linger_ms` and flush", so that a replay needs
/// only "flushes at the same places".
#[tokio::test(start_paused = true)]
async fn a_replay_with_flushes_at_the_same_places_loses_nothing() {
    let server = Scripted::default();
    let first = open(&server, Options::new().epoch(7u64));
    write(&first, 1..=1);
    sleep(10).await; // the job is slow today
    write(&first, 2..=2);
    first.flush().await.unwrap();
    first.stop_now(); // and dies before the third
    first.ended().await;
    let second = open(&server, Options::new().epoch(7u64));
    write(&second, 1..=2);
    second.flush().await.unwrap();
    write(&second, 3..=3);
    let report = second.flush().await.unwrap();
    assert!(server.stored() == numbers(1..=3), "{:?}, {report:?}", server.stored());
}

/// "Batches are then cut by size, `linger_ms` and by waiting (flush, close, a receipt)": the same
/// calls cut at the same places, however fast the server is.
#[tokio::test(start_paused = true)]
async fn waiting_for_an_old_receipt_cuts_a_replay_where_it_cut_before() {
    let slow = delay(Fault::None, 0, 100);
    let server = Scripted::new([slow]);
    let options = || Options::new().max_batch_items(2u64);
    let job = |engine: Arc<Engine>| async move {
        write(&engine, 1..=2);
        sleep(50).await;
        write(&engine, 3..=3);
        engine.wait(1).await.unwrap();
        sleep(50).await;
        write(&engine, 4..=4);
        sleep(1_000).await;
        write(&engine, 5..=6);
    };
    run_job(&server, options(), Some(140), job).await; // it dies before the fourth
    assert!(server.stored().len() <= 3, "{:?}", server.stored());
    run_job(&server, options(), None, job).await;
    assert_eq!(server.stored(), numbers(1..=6));
}

/// Nor does a slow answer cut a batch that still gathers.
#[tokio::test(start_paused = true)]
async fn a_slow_answer_cuts_no_replay_before_its_linger() {
    let slow = delay(Fault::None, 0, 1_000);
    let server = Scripted::new([slow]);
    let options =
        || Options::new().max_batch_items(2u64).linger_ms(2_000u64).delivery_timeout_ms(10_000u64);
    let job = |engine: Arc<Engine>| async move {
        write(&engine, 1..=3);
        sleep(1_500).await;
        write(&engine, 4..=6);
    };
    run_job(&server, options(), Some(1_400), job).await; // it dies before the fourth
    run_job(&server, options(), None, job).await;
    assert_eq!(server.stored(), numbers(1..=6));
}

/// Who waits for room waits for what gathers, too: it has to go.
#[tokio::test(start_paused = true)]
async fn a_full_buffer_of_a_replay_is_sent() {
    let server = Scripted::default();
    let engine = open(&server, Options::new().epoch(7u64).max_buffer_items(2u64));
    write(&engine, 1..=2);
    assert!(engine.accept(&[b"3"]).is_err());
    let ready = tokio::time::timeout(Duration::from_secs(1), engine.ready()).await;
    assert!(ready.is_ok(), "the buffer is full and nothing is under way");
}

/// But only where what gathers fills the buffer alone: that something else is still under way is
/// another story in the next run.
#[tokio::test(start_paused = true)]
async fn a_buffer_that_others_fill_cuts_no_replay() {
    let server = Scripted::new([delay(Fault::None, 0, 100)]);
    let options = || Options::new().max_batch_items(2u64).max_buffer_items(3u64);
    let job = |engine: Arc<Engine>| async move {
        write(&engine, 1..=2);
        sleep(50).await;
        write(&engine, 3..=3);
        while engine.accept(&[b"4"]).is_err() {
            sleep(1_000).await;
        }
        engine.flush().await.unwrap();
        write(&engine, 5..=6);
    };
    run_job(&server, options(), Some(500), job).await; // it dies before the fourth
    run_job(&server, options(), None, job).await;
    assert_eq!(server.stored(), numbers(1..=6));
}

/// "A batch that leaves a replay unsent ends its session: what follows never takes its sequence
/// number", under which the server has something of an earlier run.
#[tokio::test(start_paused = true)]
async fn what_follows_an_expired_batch_of_a_replay_is_not_taken_for_it() {
    let server = Scripted::default();
    let first_run = open(&server, single().epoch(7u64));
    write(&first_run, 1..=3);
    first_run.flush().await.unwrap();
    first_run.stop_now();

    lock(&server.model).down = true;
    let options = Options::new().epoch(7u64).delivery_timeout_ms(1_000u64);
    let again = open_creating(&server, Scope::State, options);
    again.accept(&[b"1"]).unwrap();
    assert!(again.flush().await.is_err(), "it expires before the stream is open");
    lock(&server.model).down = false;
    let id = again.accept(&[b"4"]).unwrap();
    again.flush().await.unwrap();
    let outcome = outcome(&again, id).await;
    assert_eq!(server.stored(), ["1", "2", "3", "4"], "{outcome:?}");
}

/// Nor is what still gathers cut where something older expires.
#[tokio::test(start_paused = true)]
async fn what_gathers_is_not_cut_by_what_expires_before_it() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let options = Options::new().epoch(7u64).max_batch_items(2u64).linger_ms(5_000u64);
    let engine = open(&server, options.delivery_timeout_ms(10_000u64));
    write(&engine, 1..=4); // one on the wire, one in the queue
    sleep(9_000).await;
    write(&engine, 5..=5);
    sleep(1_500).await; // the first four expire
    lock(&server.model).down = false;
    assert_eq!(engine.stats().cancelled, 4);
    write(&engine, 6..=6);
    let _ = engine.flush().await; // which tells of the four
    let bodies: Vec<_> = lock(&server.model).seen.iter().map(|(_, _, body)| body.clone()).collect();
    assert_eq!(bodies, ["[5,6]"]);
}

#[tokio::test(start_paused = true)]
async fn a_replay_whose_server_forgets_is_flagged() {
    let server = Scripted::default();
    let run = || open(&server, single().epoch(7u64));
    let first = run();
    write(&first, 1..=4);
    first.flush().await.unwrap();
    first.stop_now();
    let second = run();
    write(&second, 1..=2);
    assert_eq!(second.flush().await.unwrap().duplicates, 2);
    lock(&server.model).producers.clear();
    write(&second, 3..=4);
    assert_eq!(second.flush().await.unwrap().uncertain, 2, "{:?}", server.stored());
}
