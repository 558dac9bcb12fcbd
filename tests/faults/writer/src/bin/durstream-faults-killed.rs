//! A writer that is killed, in Rust: `tests/faults/README.md` says what it is told and what it says.

use std::error::Error;
use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

use durstream_core::{
    Collection, DurableStream, IdempotentProducer, Operation, Options, Receipt, StateProducer,
    Stats, StreamSchema, Validator, create_durable_stream,
};
use durstream_tests::numbered::{self, Kind};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const ID: &str = "kept";
const TICK: Duration = Duration::from_millis(1);
/// Calls in a tick.
const CALLS: usize = 5;
/// Every such write begins a group of so many.
const GROUP_EACH: usize = 10;
const GROUP_AT: usize = 7;
const GROUP: usize = 3;

fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, path, outbox, writer, first, end] = &arguments[..] else {
        return Err("KIND STREAM_PATH OUTBOX WRITER FIRST END".into());
    };
    let (mut number, end): (usize, usize) = (first.parse()?, end.parse()?);
    let producer = Producer::open(Kind::from_name(kind).map_err(|e| e.to_string())?, path, outbox)?;
    say(&format!("open {}", producer.stats().recovered))?;
    let mut flagged = 0;
    for call in 1.. {
        if number >= end {
            break;
        }
        number += producer.write(writer, number)?;
        say(&(number - 1).to_string())?;
        if call % CALLS == 0 {
            sleep(TICK);
        }
        let now = producer.stats().uncertain;
        if now != flagged {
            flagged = now;
            say(&format!("flagged {flagged}"))?;
        }
    }
    let Stats { accepted, delivered, uncertain, .. } = producer.end()?;
    say(&format!("end {accepted} {delivered} {uncertain}"))
}

/// A line, at once and whole.
fn say(line: &str) -> Result {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())?;
    Ok(out.flush()?)
}

enum Producer {
    State(StateProducer),
    Messages(IdempotentProducer),
}

impl Producer {
    fn open(kind: Kind, path: &str, outbox: &str) -> Result<Self> {
        let place = Options::new().stream_path(path);
        if kind == Kind::State {
            let collection = Collection::new(numbered::EVENT_TYPE, "id", Validator::Any);
            let schema = StreamSchema::new().collection(numbered::COLLECTION, collection);
            let options = place.producer_id(ID).outbox_dir(outbox);
            return Ok(Self::State(create_durable_stream(options, schema)?));
        }
        let stream = DurableStream::connect(place.content_type(kind.content_type()))?;
        let options = Options::new().outbox_dir(outbox);
        Ok(Self::Messages(IdempotentProducer::open(&stream, ID, options)?))
    }

    /// Makes one call; how many writes that were.
    fn write(&self, writer: &str, number: usize) -> Result<usize> {
        let numbers = match number % GROUP_EACH == GROUP_AT {
            true => number..number + GROUP,
            false => number..number + 1,
        };
        let length = numbers.len();
        let receipt = match self {
            Self::Messages(producer) if length > 1 => {
                let records: Vec<String> = numbers.map(|n| Kind::Json.record(writer, n)).collect();
                producer.append_group(&records)?
            }
            Self::Messages(producer) => Some(producer.append(Kind::Json.record(writer, number))?),
            Self::State(producer) if length > 1 => {
                let mut changes = producer.transaction(None)?;
                for n in numbers {
                    if numbered::deletes(n) {
                        changes.delete(numbered::COLLECTION, &numbered::key(writer, n))?;
                    } else {
                        let value = numbered::value(writer, n);
                        changes.change(
                            Operation::Upsert,
                            numbered::COLLECTION,
                            &value,
                            &Default::default(),
                        )?;
                    }
                }
                changes.commit()?
            }
            Self::State(producer) if numbered::deletes(number) => {
                Some(producer.delete(numbered::COLLECTION, &numbered::key(writer, number))?)
            }
            Self::State(producer) => {
                Some(producer.upsert(numbered::COLLECTION, &numbered::value(writer, number))?)
            }
        };
        match receipt.as_ref().and_then(Receipt::refusal) {
            Some(refusal) => Err(format!("write {number} was refused: {refusal:?}").into()),
            None => Ok(length),
        }
    }

    fn stats(&self) -> Stats {
        match self {
            Self::State(producer) => producer.stats(),
            Self::Messages(producer) => producer.stats(),
        }
    }

    /// Waits until everything is delivered, and lets go.
    fn end(self) -> Result<Stats> {
        match &self {
            Self::State(producer) => drop(producer.close().wait()?),
            Self::Messages(producer) => drop(producer.detach().wait()?),
        }
        Ok(self.stats())
    }
}
