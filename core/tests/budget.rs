//! The budget that the producers of a process share, in a process of its own: it is everybody's.
#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::time::Duration;

use durstream_core::{DurableStream, IdempotentProducer, Options, Pending, set_buffer_budget};

/// Not only once its writes have expired.
fn soon(mut waiting: Pending<()>) {
    waiting.wait_for(Duration::from_secs(30)).expect("it is told").unwrap();
}

#[test]
fn one_that_gathers_much_leaves_the_others_their_share() {
    let nobody = Options::new().url("http://127.0.0.1:1/x").content_type("application/json");
    let stream = DurableStream::connect(nobody).unwrap();
    let open = |id| {
        let small = Options::new().max_batch_bytes(100u64);
        IdempotentProducer::open(&stream, id, small).unwrap()
    };
    let (greedy, modest) = (open("greedy"), open("modest"));
    set_buffer_budget(1_000);
    let fill = |producer: &IdempotentProducer| {
        (0..10_000).take_while(|_| producer.try_append(b"1234").refusal().is_none()).count()
    };
    let (much, little) = (fill(&greedy), fill(&modest));
    assert!(much * 4 <= 1_100 && little >= 1 && little * 4 <= 100, "{much} {little}");
    let waiting = modest.ready();
    set_buffer_budget(20_000); // more than batches have of overhead
    soon(waiting);
    assert!(fill(&modest) > 0);
    let waiting = modest.ready();
    greedy.stop();
    soon(waiting);
    // It is told with the first batch that is given up; the others follow.
    while greedy.stats().pending > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(fill(&modest) > little);
    modest.stop();
}
