//! A service of the soak, in Rust: six producers at once, two of which stay and four of which come
//! and go. `tests/soak/README.md` says what each service does.
#![allow(clippy::print_stdout, reason = "the soak reads it")]

use std::env;
use std::sync::Arc;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use durstream_core::{
    Collection, DurableStream, HeaderFn, IdempotentProducer, Options, Receipt, Result,
    StateProducer, Stats, StreamSchema, Validator, create_durable_stream,
};
use durstream_tests::numbered::{self, Kind};

const SLOTS: u64 = 6;
/// The first slots have one stream and one producer all the time.
const STAYING: u64 = 2;
/// A stream of the others is written by so many producers, one behind the other.
const PRODUCERS: u64 = 2;
const TICK: Duration = Duration::from_millis(100);
/// Writes in a tick, of a producer that stays and of one that goes.
const WRITES: [usize; 2] = [2, 5];
const TICKS_PER_FLUSH: u64 = 10;
/// Of the creation of a stream: one fault may hit it nine times.
const RETRIES: u64 = 40;

fn main() {
    let end =
        Instant::now() + Duration::from_secs(setting("SOAK_SECONDS").parse().expect("a number"));
    scope(|threads| {
        for slot in 0..SLOTS {
            threads.spawn(move || {
                if let Err(error) = fill(slot, end) {
                    eprintln!("slot {slot}: {error}");
                    std::process::exit(1);
                }
            });
        }
    });
}

/// A stream behind the other, until the end.
fn fill(slot: u64, end: Instant) -> Result<()> {
    let mut stream = 0;
    while Instant::now() < end {
        write_stream(slot, stream, end)?;
        stream += 1;
    }
    Ok(())
}

fn write_stream(slot: u64, stream: u64, end: Instant) -> Result<()> {
    let writer = format!("{}{slot}x{stream}", setting("SOAK_NAME"));
    let (stays, is_state) = (slot < STAYING, slot.is_multiple_of(2));
    let (mut written, mut sum) = (0, Stats::default());
    let producers = if stays { 1 } else { PRODUCERS };
    for number in 0..producers {
        let life = Duration::from_secs(1 + (5 * stream + 3 * slot + number) % 5);
        let until = if stays { end } else { end.min(Instant::now() + life) };
        let producer = Producer::open(&writer, slot, is_state)?;
        let mut ticks = 0;
        while Instant::now() < until {
            for _ in 0..WRITES[usize::from(!stays)] {
                producer.write(&writer, written)?;
                written += 1;
            }
            ticks += 1;
            if !stays && ticks % TICKS_PER_FLUSH == 0 {
                producer.flush()?;
            }
            sleep(TICK);
        }
        let stats = producer.end(number + 1 == producers && stream % 2 == 1)?;
        sum.delivered += stats.delivered;
        sum.uncertain += stats.uncertain;
        sum.retries += stats.retries;
        sum.sessions += stats.sessions;
    }
    let kind = if is_state { "state" } else { "json" };
    let Stats { delivered, uncertain, retries, sessions, .. } = sum;
    println!("{kind} {writer} {written} {delivered} {uncertain} {retries} {sessions}");
    Ok(())
}

enum Producer {
    State(StateProducer),
    Messages(IdempotentProducer),
}

impl Producer {
    fn open(writer: &str, slot: u64, is_state: bool) -> Result<Self> {
        let place = Options::new()
            .stream_path(format!("/soak/{writer}"))
            .request_timeout_ms(2000u64)
            .header_fn("Authorization", token());
        let id = format!("soak-{slot}");
        if is_state {
            let collection = Collection::new(numbered::EVENT_TYPE, "id", Validator::Any);
            let schema = StreamSchema::new().collection(numbered::COLLECTION, collection);
            return create_durable_stream(place.producer_id(id), schema).map(Self::State);
        }
        let stream = {
            let place = place.content_type("application/json").max_retries(RETRIES);
            DurableStream::create(place, "").wait()?
        };
        let options = Options::new().on_uncertain("resend");
        IdempotentProducer::open(&stream, &id, options).map(Self::Messages)
    }

    fn write(&self, writer: &str, number: usize) -> Result<Receipt> {
        match self {
            Self::Messages(producer) => producer.append(Kind::Json.record(writer, number)),
            Self::State(producer) if numbered::deletes(number) => {
                producer.delete(numbered::COLLECTION, &numbered::key(writer, number))
            }
            Self::State(producer) => {
                producer.upsert(numbered::COLLECTION, &numbered::value(writer, number))
            }
        }
    }

    fn flush(&self) -> Result<()> {
        match self {
            Self::State(producer) => producer.flush().wait().map(drop),
            Self::Messages(producer) => producer.flush().wait().map(drop),
        }
    }

    /// Lets it go, and ends its stream where that is asked for.
    fn end(self, ends_stream: bool) -> Result<Stats> {
        match &self {
            Self::State(producer) if ends_stream => drop(producer.close_stream().wait()?),
            Self::State(producer) => drop(producer.close().wait()?),
            Self::Messages(producer) if ends_stream => drop(producer.close(None).wait()?),
            Self::Messages(producer) => drop(producer.detach().wait()?),
        }
        Ok(match &self {
            Self::State(producer) => producer.stats(),
            Self::Messages(producer) => producer.stats(),
        })
    }
}

/// A token that expires: its file always has the newest.
fn token() -> HeaderFn {
    let file = setting("SOAK_TOKEN");
    Arc::new(move |answer| match std::fs::read_to_string(&file) {
        Ok(token) => answer.give(format!("Bearer {token}")),
        Err(error) => answer.fail(error.to_string()),
    })
}

fn setting(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}
