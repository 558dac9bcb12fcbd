//! A child whose parent's threads held every lock as it was forked: it must not wait for any.
#![cfg(unix)]

use crate::error::Result;
use crate::options::Options;
use crate::options::headers::HeaderAnswer;
use crate::producer::IdempotentProducer;
use crate::runtime::pending::{Pending, pending};
use crate::runtime::threads::lock;
use crate::stream::forked::child::in_child;
use crate::stream::handle::DurableStream;
use crate::stream::sink::{AppendSink, SinkState};

#[path = "../../tests/child/mod.rs"]
mod child;

fn stream() -> DurableStream {
    DurableStream::connect(Options::new().url("http://127.0.0.1:1/s")).unwrap()
}

fn end<T: Send + 'static>(result: Result<T>) -> String {
    result.map_or_else(|error| format!("{:?}", error.kind()), |_| "Ok".to_owned())
}

fn ended<T: Send + 'static>(pending: Pending<T>) -> String {
    end(pending.wait())
}

#[test]
fn it_touches_no_lock_of_its_parents_writer() {
    let stream = stream();
    drop(stream.append("x"));
    let writer = stream.writer().unwrap();
    let sink = AppendSink::new(&stream, None).unwrap();
    assert!(sink.start_send(b"y"));
    let held = (writer.engine().closes(), writer.engine().book());
    let progress = sink.hold();
    let said = in_child(|| {
        assert_eq!(writer.engine().hold(1, 1), Some(0));
        assert!(sink.start_send(b"z"));
        sink.refuse("it is none");
        assert_eq!(sink.state(), SinkState::Failed);
        let sink = [ended(sink.ready()), ended(sink.stopped()), ended(sink.close())];
        let source = end(stream.blocking_append_stream([Ok::<_, String>("x")]));
        let others =
            [ended(stream.append("x")), ended(stream.room()), ended(stream.close(None)), source];
        drop(stream);
        [sink.join(" "), others.join(" ")].join(", ")
    });
    drop((held, progress));
    assert_eq!(said, "Forked Forked Forked, Forked Forked Forked Delivery");
}

#[test]
fn it_waits_for_no_lock_of_an_inherited_handle() {
    let stream = stream();
    let held = (lock(&stream.shared.writer), stream.target().hold_tail());
    let said = in_child(|| {
        // One of its own, on a handle it inherited.
        let producer = IdempotentProducer::open(&stream, "p", Options::new());
        [end(producer), ended(stream.append("x")), ended(stream.close(None))].join(" ")
    });
    drop(held);
    assert_eq!(said, "Ok Forked Forked");
}

#[test]
fn it_touches_no_lock_of_an_answer_that_its_parent_waits_for() {
    let asked = || pending::<String>();
    let ((given, one), (failed, two), (dropped, three)) = (asked(), asked(), asked());
    let mut answers = Some([given, failed, dropped].map(HeaderAnswer::new));
    let held = [one.hold(), two.hold(), three.hold()];
    let said = in_child(|| {
        let [given, failed, dropped] = answers.take().unwrap();
        given.give("value");
        failed.fail("why");
        drop(dropped);
        "it ended".to_owned()
    });
    drop(held);
    assert_eq!(said, "it ended");
}

#[test]
fn it_waits_for_no_request_of_an_inherited_reader() {
    let reader = stream().read(Some("3")).unwrap();
    let chunk = reader.next_chunk();
    let held = reader.hold();
    let said = in_child(|| {
        let shown =
            format!("{:?} {} {}", reader.offset(), reader.up_to_date(), reader.stream_closed());
        [ended(reader.next_chunk()), ended(chunk), shown].join(" ")
    });
    drop(held);
    assert_eq!(said, "Forked Forked None false false");
}
