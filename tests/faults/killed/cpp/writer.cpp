// A writer that is killed, in C++: `tests/faults/README.md` says what it is told and what it says.
#include <durstream.hpp>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr auto id = "kept";
constexpr std::chrono::milliseconds tick(1);
/// Calls in a tick.
constexpr std::uint64_t calls_in_a_tick = 5;
/// Every such write begins a group of so many.
constexpr std::uint64_t group_each = 10, group_at = 7, group_size = 3;
constexpr const char *letters[] = {"\xe2\x86\x92", "\xc3\xa9", "\\\"", "x"};

void accepted(const durstream::Receipt &receipt) {
    if (!receipt.accepted()) throw durstream::Error(*receipt.error());
}

bool deletes(std::uint64_t number) { return number % 5 == 4; }

/// What is written, of one writer.
struct Values {
    std::string writer;

    std::string key(std::uint64_t number) const { return writer + "-" + std::to_string(number); }
    std::string json(std::uint64_t number) const {
        std::string text;
        for (std::uint64_t n = 0; n < number % 97; n++) text += letters[(number + n) % 4];
        return R"({"id":")" + key(number) + R"(","text":")" + text + R"("})";
    }
};

class State {
public:
    State(const std::string &path, const std::string &outbox) : producer(open(path, outbox)) {}

    void write(const Values &values, std::uint64_t n) {
        if (deletes(n)) return accepted(producer.remove("parcels", values.key(n)));
        accepted(producer.upsert("parcels", values.json(n)));
    }
    void write_group(const Values &values, std::uint64_t first) {
        durstream::Transaction changes(producer);
        for (auto n = first; n < first + group_size; n++) {
            if (deletes(n)) changes.remove("parcels", values.key(n));
            else changes.upsert("parcels", values.json(n));
        }
        accepted(changes.commit());
    }
    void end() { producer.close(); }

    durstream::StateProducer producer;

private:
    static durstream::StateProducer open(const std::string &path, const std::string &outbox) {
        durstream::StreamSchema schema;
        schema.add("parcels", "parcel", "id");
        durstream::Options options;
        options.set("stream_path", path).set("producer_id", id).set("outbox_dir", outbox);
        return durstream::create_durable_stream(options, schema);
    }
};

class Messages {
public:
    Messages(const std::string &path, const std::string &outbox) : producer(open(path, outbox)) {}

    void write(const Values &values, std::uint64_t n) { accepted(producer.append(values.json(n))); }
    void write_group(const Values &values, std::uint64_t first) {
        std::vector<std::string> texts;
        for (auto n = first; n < first + group_size; n++) texts.push_back(values.json(n));
        accepted(producer.append_group({texts.begin(), texts.end()}));
    }
    void end() { producer.detach(); }

    durstream::IdempotentProducer producer;

private:
    static durstream::IdempotentProducer open(const std::string &path, const std::string &outbox) {
        durstream::Options place, writing;
        place.set("stream_path", path).set("content_type", "application/json");
        writing.set("outbox_dir", outbox);
        return {durstream::DurableStream::connect(place), id, writing};
    }
};

template <class Producer>
void run(Producer producer, const Values &values, std::uint64_t number, std::uint64_t end) {
    std::uint64_t flagged = 0;
    // Each line goes out at once and whole.
    std::cout << "open " + std::to_string(producer.producer.stats().recovered) + "\n" << std::flush;
    for (std::uint64_t calls = 1; number < end; calls++) {
        if (number % group_each == group_at) {
            producer.write_group(values, number);
            number += group_size;
        } else {
            producer.write(values, number++);
        }
        std::cout << std::to_string(number - 1) + "\n" << std::flush;
        if (calls % calls_in_a_tick == 0) std::this_thread::sleep_for(tick);
        const auto now = producer.producer.stats().uncertain;
        if (now == flagged) continue;
        flagged = now;
        std::cout << "flagged " + std::to_string(flagged) + "\n" << std::flush;
    }
    producer.end();
    const auto stats = producer.producer.stats();
    std::cout << "end " << stats.accepted << " " << stats.delivered << " " << stats.uncertain
              << std::endl;
}

} // namespace

int main(int count, char **words) {
    if (count != 7) {
        std::cerr << "KIND STREAM_PATH OUTBOX WRITER FIRST END\n";
        return 2;
    }
    try {
        const std::string kind = words[1], path = words[2], outbox = words[3];
        const Values values{words[4]};
        const auto first = std::stoull(words[5]), end = std::stoull(words[6]);
        if (kind == "state") run(State(path, outbox), values, first, end);
        else run(Messages(path, outbox), values, first, end);
        return 0;
    } catch (const std::exception &error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
}
