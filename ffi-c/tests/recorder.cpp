// The C++ face of the recorder, and of inspect. Needs no server.
#include <durstream_test.hpp>

#include "check.h"

using namespace std::chrono_literals;

namespace {

durstream::StreamSchema orders() {
    durstream::StreamSchema schema;
    schema.add("orders", "order", "id");
    return schema;
}

durstream::Options options_at(const durstream::testing::Recorder &recorder) {
    durstream::Options options;
    options.set("endpoints", recorder.url()).set("stream_path", "/orders");
    options.set("producer_id", "cpp-recorder").set("retry_initial_delay_ms", 1);
    return options;
}

void writes_are_shown_held_rejected_and_repeated() {
    durstream::testing::Recorder recorder;
    recorder.fail(2);
    auto producer = durstream::create_durable_stream(options_at(recorder), orders());
    producer.upsert("orders", R"({"id":"a"})");
    producer.flush();
    CHECK(recorder.events("/orders").items().at(0).find(R"("key":"a")") != std::string_view::npos);
    recorder.clear();

    recorder.hold();
    const auto held = producer.upsert("orders", R"({"id":"b"})");
    try {
        producer.wait(held.id(), 20ms);
        CHECK(false && "it is held");
    } catch (const durstream::TimeoutError &) {
        CHECK(recorder.events("/orders").item_count() == 0);
    }
    recorder.release();
    CHECK(producer.wait(held.id()).status == DURSTREAM_STATUS_DELIVERED);
    try {
        recorder.release();
        CHECK(false && "it holds nothing");
    } catch (const durstream::InvalidArgumentError &error) {
        CHECK(error.option() == "release");
    }

    recorder.reject("\"c\"", DURSTREAM_REASON_TOO_LARGE);
    const auto rejected = producer.upsert("orders", R"({"id":"c"})");
    CHECK(producer.wait(rejected.id()).reason == DURSTREAM_REASON_TOO_LARGE);
    recorder.deliver();
    const auto taken = producer.upsert("orders", R"({"id":"c"})");
    CHECK(producer.wait(taken.id()).status == DURSTREAM_STATUS_DELIVERED);
    CHECK(recorder.events("/orders").item_count() == 2);

    recorder.fence();
    const auto fenced = producer.upsert("orders", R"({"id":"d"})");
    CHECK(producer.wait(fenced.id()).reason == DURSTREAM_REASON_FENCED);
    recorder.fail();
    recorder.deliver();
}

void recorders_move_and_a_moved_one_says_so() {
    durstream::testing::Recorder first;
    const durstream::testing::Recorder second(std::move(first));
    CHECK(second.events("/orders").item_count() == 0 && second.get() != nullptr);
    try {
        durstream::testing::Recorder moved;
        const durstream::testing::Recorder taken(std::move(moved));
        moved.hold();
        CHECK(false && "it was moved");
    } catch (const durstream::InvalidArgumentError &error) {
        CHECK(error.option() == "recorder");
    }
}

void inspect_tells_what_would_be_opened() {
    const durstream::testing::Recorder recorder;
    const auto told = durstream::inspect(options_at(recorder), orders());
    CHECK(told.find("\"url\":\"" + std::string(recorder.url()) + "/orders\"") != std::string::npos);
    CHECK(told.find("\"validator\":\"none\"") != std::string::npos);
    try {
        durstream::inspect(durstream::Options(), orders());
        CHECK(false && "nothing is named");
    } catch (const durstream::InvalidArgumentError &error) {
        CHECK(error.option() == "producer_id");
    }
}

} // namespace

int main() {
    writes_are_shown_held_rejected_and_repeated();
    recorders_move_and_a_moved_one_says_so();
    inspect_tells_what_would_be_opened();
    durstream::shutdown(5s);
    return 0;
}
