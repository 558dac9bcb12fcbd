//! The ways of writing: a few appends, a producer for sustained writes, the end of a stream, lines
//! in a stream of bytes, and whatever an iterator gives. Prints what each stream holds then.
//!
//! `WRITING_STREAM_PREFIX` is the path the streams are below; the server is found as by every
//! producer.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use durstream_core::{Callbacks, DurableStream, ErrorKind, IdempotentProducer, Options};
use serde_json::json;

type Outcome = Result<(), Box<dyn Error>>;

fn create(name: &str, content_type: &str) -> Result<DurableStream, Box<dyn Error>> {
    let path = format!("{}/{name}", std::env::var("WRITING_STREAM_PREFIX")?);
    let options = Options::new().stream_path(path).content_type(content_type);
    Ok(DurableStream::create(options, "").wait()?)
}

/// Prints the stream, read from its start to its end.
fn show(name: &str, stream: &DurableStream) -> Outcome {
    let mut content = Vec::new();
    let reader = stream.read(None)?;
    while let Some(chunk) = reader.next_chunk().wait()? {
        content.extend_from_slice(&chunk.data);
    }
    Ok(writeln!(std::io::stdout(), "{name}: {}", String::from_utf8(content)?)?)
}

/// A few messages, each waited for. They are repeated through failures and still written once.
fn simple_writes() -> Outcome {
    let stream = create("events", "application/json")?;
    for event in ["order.created", "order.paid"] {
        let message = json!({ "type": event, "orderId": "123" });
        stream.append(message.to_string()).wait()?;
    }
    show("events", &stream)
}

/// Many small messages: the producer gathers, sends several requests at once, and waits for none.
fn high_throughput() -> Outcome {
    let stream = create("tokens", "text/plain")?;
    let options = Options::new().linger_ms(10u64).max_batch_bytes(65_536u64).max_in_flight(4u64);
    let callbacks = Callbacks {
        on_error: Some(Arc::new(|failure| match failure.error.kind() {
            ErrorKind::StaleEpoch => eprintln!("Another producer took over"),
            _ => eprintln!("Write error: {}", failure.error),
        })),
        ..Callbacks::default()
    };
    let producer = IdempotentProducer::open_with(&stream, "llm-worker", options, callbacks)?;
    for _ in 0..20 {
        for token in ["To ", "be, ", "or ", "not ", "to ", "be. "] {
            producer.append(token)?;
        }
    }
    producer.flush().wait()?;
    producer.detach().wait()?; // and `close` would end the stream for everybody
    show("tokens", &stream)
}

/// Nobody can append any more after this; ending what has ended is fine.
fn ending() -> Outcome {
    let stream = create("ending", "application/json")?;
    let last = json!({ "type": "stream.complete" }).to_string();
    let end = stream.close(Some(last.as_bytes())).wait()?;
    assert_eq!(stream.close(None).wait()?, end);
    show("ending", &stream)
}

/// A stream of bytes has no messages: what divides it is up to its writers.
fn lines_of_json() -> Outcome {
    let stream = create("logs", "text/plain")?;
    let producer = IdempotentProducer::open(&stream, "logger", Options::new())?;
    for (level, message) in [("info", "started"), ("error", "failed")] {
        let line = json!({ "level": level, "msg": message });
        producer.append(format!("{line}\n"))?;
    }
    producer.detach().wait()?;
    show("logs", &stream)
}

/// A source is asked for more only while there is room, however long it is.
fn from_an_iterator() -> Outcome {
    let stream = create("import", "application/json")?;
    let rows = (1..=5).map(|n| Ok::<_, std::io::Error>(json!({ "row": n }).to_string()));
    let report = stream.blocking_append_stream(rows)?;
    assert_eq!(report.delivered, 5);
    show("import", &stream)
}

fn main() -> Outcome {
    simple_writes()?;
    high_throughput()?;
    ending()?;
    lines_of_json()?;
    from_an_iterator()?;
    durstream_core::shutdown(std::time::Duration::from_secs(5))?;
    Ok(())
}
