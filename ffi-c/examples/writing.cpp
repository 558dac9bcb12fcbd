// The ways of writing: a few appends, a producer for sustained writes, the end of a stream, lines
// in a stream of bytes, and whatever a range gives. Prints what each stream holds then.
//
// WRITING_STREAM_PREFIX is the path the streams are below; the server is found as by every
// producer.
#include <durstream.hpp>

#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

durstream::DurableStream create(const std::string &name, const char *content_type) {
    const char *prefix = std::getenv("WRITING_STREAM_PREFIX");
    if (!prefix) throw std::runtime_error("WRITING_STREAM_PREFIX is not set");
    durstream::Options options;
    options.set("stream_path", prefix + ("/" + name)).set("content_type", content_type);
    return durstream::DurableStream::create(options);
}

/// Prints the stream, read from its start to its end.
void show(const char *name, const durstream::DurableStream &stream) {
    std::cout << name << ": ";
    for (const durstream::Chunk &chunk : stream.read()) std::cout << chunk.data();
    std::cout << '\n';
}

/// A few messages, each waited for. They are repeated through failures and still written once.
void simple_writes() {
    const auto stream = create("events", "application/json");
    stream.append(R"({"type":"order.created","orderId":"123"})");
    stream.append(R"({"type":"order.paid","orderId":"123"})");
    show("events", stream);
}

/// Many small messages: the producer gathers, sends several requests at once, and waits for none.
void high_throughput() {
    const auto stream = create("tokens", "text/plain");
    durstream::Options options;
    options.set("linger_ms", 10).set("max_batch_bytes", 65536).set("max_in_flight", 4);
    options.on_error([](const durstream::Failure &failure) {
        if (dynamic_cast<const durstream::StaleEpochError *>(failure.error.get()))
            std::cerr << "Another producer took over\n";
        else std::cerr << "Write error: " << failure.error->what() << '\n';
    });
    durstream::IdempotentProducer producer(stream, "llm-worker", options);
    for (int n = 0; n < 20; n++)
        for (const char *token : {"To ", "be, ", "or ", "not ", "to ", "be. "})
            producer.append(token);
    producer.flush();
    producer.detach(); // and `close` would end the stream for everybody
    show("tokens", stream);
}

/// Nobody can append any more after this; ending what has ended is fine.
void ending() {
    const auto stream = create("ending", "application/json");
    const auto end = stream.close(R"({"type":"stream.complete"})");
    if (stream.close() != end) throw std::runtime_error("it ended twice");
    show("ending", stream);
}

/// A stream of bytes has no messages: what divides it is up to its writers.
void lines_of_json() {
    const auto stream = create("logs", "text/plain");
    durstream::IdempotentProducer producer(stream, "logger");
    producer.append("{\"level\":\"info\",\"msg\":\"started\"}\n");
    producer.append("{\"level\":\"error\",\"msg\":\"failed\"}\n");
    producer.detach();
    show("logs", stream);
}

/// A range is asked for more only while there is room, however long it is.
void from_a_range() {
    const auto stream = create("import", "application/json");
    std::vector<std::string> rows;
    for (int n = 1; n <= 5; n++) rows.push_back(R"({"row":)" + std::to_string(n) + "}");
    if (stream.append_stream(rows).delivered != 5) throw std::runtime_error("rows are missing");
    show("import", stream);
}

} // namespace

int main() {
    try {
        simple_writes();
        high_throughput();
        ending();
        lines_of_json();
        from_a_range();
        durstream::shutdown(std::chrono::seconds(5));
        return 0;
    } catch (const std::exception &error) {
        std::cerr << "writing: " << error.what() << '\n';
        return 1;
    }
}
