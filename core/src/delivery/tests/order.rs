//! What is delivered is in the stream once and in the order of the calls (delivery.md 1.2), with at most
//! `max_in_flight` batches on the wire (3.4).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::delivery::tests::*;

#[tokio::test(start_paused = true)]
async fn writes_arrive_once_in_call_order() {
    let server = Scripted::default();
    let engine = open(&server, Options::new());
    write(&engine, 1..=500);
    let report = engine.flush().await.unwrap();
    assert_eq!((report.delivered, report.duplicates), (500, 0));
    assert_eq!(server.stored(), numbers(1..=500));
    let stats = engine.stats();
    assert!(stats.requests < 500 && stats.buffered_bytes == 0 && stats.pending == 0);
}

#[tokio::test(start_paused = true)]
async fn requests_out_of_order_end_in_order() {
    // The second of three arrives last; the server answers the third with a gap.
    let server = Scripted::new([Fault::None, delay(Fault::None, 50, 0), Fault::None]);
    let engine = open(&server, single());
    write(&engine, 1..=6);
    engine.flush().await.unwrap();
    assert_eq!(server.stored(), numbers(1..=6));
    assert_eq!(engine.stats().sessions, 1);
}

/// "At most `max_in_flight` batches are on the wire", and memory is bounded: also where a server
/// acknowledges the last of several requests and never answers those before it.
#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_and_not_answered_is_still_on_the_wire() {
    struct Under(Arc<AtomicU64>);
    impl Drop for Under {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let (under_way, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (count, highest) = (under_way.clone(), most.clone());
    let hanging = move |server: &Scripted, request: Request| -> Sending {
        let seq: u64 = request.headers["producer-seq"].to_str().unwrap().parse().unwrap();
        let answer = server.send(request);
        highest.fetch_max(count.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let under = Under(count.clone());
        Box::pin(async move {
            let _under = under;
            let answer = answer.await;
            if seq > 8 && !seq.is_multiple_of(4) {
                sleep(3_600_000).await; // a body that trickles, say
            }
            answer
        })
    };
    let server = Scripted::default();
    let options = single().max_buffer_items(64u64).delivery_timeout_ms(0u64);
    let engine = open_on(Behind(server.clone(), hanging), &cluster(), options);
    for _ in 0..200 {
        let _ = engine.accept(&[b"1"]);
        sleep(5).await;
    }
    assert!(most.load(Ordering::Relaxed) <= 4, "{} under way", most.load(Ordering::Relaxed));
}
