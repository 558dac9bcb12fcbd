// A service that owns shipments and publishes their state: created, in transit, delivered,
// removed. Run it twice under one producer id: every change of both runs is in the stream, once,
// in order.
//
// Before each call it writes down, in its ledger, the event it is about to publish.
#include <durstream.hpp>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>

namespace {

constexpr auto shipment_schema = R"({
    "type": "object",
    "required": ["id", "orderId", "status"],
    "properties": {
        "id": { "type": "string" },
        "orderId": { "type": "string" },
        "status": { "enum": ["created", "in_transit", "delivered"] }
    }
})";

std::string environment(const char *name) {
    const char *value = std::getenv(name);
    if (!value) throw std::runtime_error(std::string(name) + " is not set");
    return value;
}

std::string numbered(const char *prefix, std::uint64_t n) {
    std::ostringstream text;
    text << prefix << std::setw(6) << std::setfill('0') << n;
    return text.str();
}

durstream::StateProducer open_producer() {
    durstream::StreamSchema schema;
    schema.add("shipments", "shipment", "id", shipment_schema);

    durstream::Options options;
    options.set("stream_path", environment("SHIPMENT_STREAM_PATH"))
        .set("producer_id", environment("SHIPMENT_PRODUCER_ID"));
    // With an outbox, what was accepted outlives this process, too.
    if (const char *outbox = std::getenv("SHIPMENT_OUTBOX")) options.set("outbox_dir", outbox);
    return durstream::create_durable_stream(options, schema);
}

/// The shipment service: its producer, and the ledger of what it is about to write.
class Service {
public:
    Service() : producer(open_producer()), ledger_(environment("SHIPMENT_LEDGER"), std::ios::app) {
        ledger_.exceptions(std::ios::failbit | std::ios::badbit);
    }

    void upsert(std::uint64_t n, const std::string &status) {
        const auto key = numbered("ship_", n);
        const auto shipment = R"({"id":")" + key + R"(","orderId":")" + numbered("ord_", n) +
                              R"(","status":")" + status +
                              R"(","updatedAt":"2026-01-01T00:00:00.000Z"})";
        record(R"({"type":"shipment","key":")" + key + R"(","value":)" + shipment +
               R"(,"headers":{"operation":"upsert"}})");
        accepted(producer.upsert("shipments", shipment));
    }

    void remove(std::uint64_t n) {
        const auto key = numbered("ship_", n);
        record(R"({"type":"shipment","key":")" + key + R"(","headers":{"operation":"delete"}})");
        accepted(producer.remove("shipments", key));
    }

    durstream::StateProducer producer;

private:
    void record(const std::string &event) { ledger_ << event << std::endl; }

    /// A refused write is a fault of this program.
    static void accepted(const durstream::Receipt &receipt) {
        if (!receipt.accepted()) throw durstream::Error(*receipt.error());
    }

    std::ofstream ledger_;
};

void run() {
    const std::uint64_t count = std::stoull(environment("SHIPMENT_COUNT"));
    const bool first_run = environment("SHIPMENT_RUN") == "1";
    const auto started = std::chrono::steady_clock::now();

    Service service;
    if (first_run) {
        for (std::uint64_t n = 1; n <= count; n++) service.upsert(n, "created");
        for (std::uint64_t n = 1; n <= count; n++) service.upsert(n, "in_transit");
    } else {
        for (std::uint64_t n = 1; n <= count; n++) service.upsert(n, "delivered");
        for (std::uint64_t n = 2; n <= count; n += 2) service.remove(n);
    }
    service.producer.flush();
    service.producer.close();

    const auto stats = service.producer.stats();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
    std::cout << "{\"accepted\":" << stats.accepted << ",\"delivered\":" << stats.delivered
              << ",\"seconds\":" << std::fixed << took.count() << "}\n";
}

} // namespace

int main() {
    try {
        run();
        durstream::shutdown(std::chrono::seconds(1));
        return 0;
    } catch (const std::exception &error) {
        std::cerr << "shipments: " << error.what() << "\n";
        return 1;
    }
}
