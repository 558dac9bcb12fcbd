// What a program with every warning on writes: each template of the header is used, between macros that
// some platforms' headers define.
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define ERROR 0
#define DELETE (0x00010000L)
#define IN
#define OUT
#define OPTIONAL
#define CONST const
#define STRICT 1
#define interface struct
#define near
#define far
#define small char
#define unix 1
#define linux 1
#define TRUE 1
#define FALSE 0
#include <durstream.hpp>
// Twice is once.
#include <durstream.hpp>
#include <durstream_test.hpp>
#include <durstream_test.hpp>

int used();
int second();

/// Uses what is a template only once it is used. No server is needed.
int used() {
    durstream::Options own;
    own.set("max_in_flight", 3).set("linger_ms", 5ULL).set("auto_claim", true);
    own.set("max_batch_items", static_cast<unsigned short>(3));
    try {
        own.set("linger_ms", 0.5).set("linger_ms", 0.5F).set("linger_ms", 0.5L);
    } catch (const durstream::InvalidArgumentError &error) {
        if (error.option() != "linger_ms") return 1;
    }
    own.on_error([](const durstream::Failure &failure) { static_cast<void>(failure.id); });
    own.on_delivery([](const durstream::Delivery &delivery) { static_cast<void>(delivery.tag(0)); });
    durstream::Options options;
    options.set("url", "http://127.0.0.1:9/s").header("a", [] { return std::string("b"); });
    const auto stream = durstream::DurableStream::connect(options);
    const std::vector<std::string> none;
    const auto report = stream.append_stream(none);
    auto reader = stream.read("0");
    const durstream::Reader::Iterator at;
    std::shared_ptr<const durstream::Error> error;
    try {
        durstream::IdempotentProducer(stream, "", own).flush();
    } catch (const durstream::Error &thrown) {
        error = std::make_shared<const durstream::Error>(thrown);
    }
    durstream::StreamSchema schema;
    const auto numbers = schema.collection<int>("numbers", "number", "id", [](const int &id) {
        return "{\"id\":" + std::to_string(id) + "}";
    });
    try {
        durstream::StateProducer state(options, schema);
        const int seven = 7;
        state.upsert(numbers, seven);
        state.try_upsert(numbers, seven);
        state.insert(numbers, seven);
        state.upsert_many(numbers, std::vector<int>{seven});
        state.remove(numbers, "7");
        state.transaction().upsert(numbers, seven);
    } catch (const durstream::Error &thrown) {
        error = std::make_shared<const durstream::Error>(thrown);
    }
    durstream::testing::Recorder recorder;
    recorder.fail();
    if (recorder.events("/s").item_count() != 0) return 3;
    return report.delivered == 0 && at == reader.end() && error ? 0 : 2;
}

int main() { return used() + second(); }
